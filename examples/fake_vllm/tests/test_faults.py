"""Faults: each does what it says, to the share that it says."""

import asyncio

import httpx
import pytest

from fake_vllm import Fault

pytestmark = pytest.mark.anyio

ASKED = {"prompt": "hello", "max_tokens": 4}


async def fail(client, **fault):
    response = await client.post("/faults", json=fault)
    assert response.status_code == 200
    return response.json()


async def test_an_error_has_its_status_and_none_ends_it(serve):
    async with serve() as (server, client):
        in_force = await fail(client, kind="error", status=502)
        assert in_force == [{"kind": "error", "share": 1.0, "status": 502, "seconds": None}]
        assert (await client.post("/v1/completions", json=ASKED)).status_code == 502
        assert (await client.get("/faults")).json() == in_force
        assert await fail(client, kind="none") == []
        assert (await client.post("/v1/completions", json=ASKED)).status_code == 200
        assert server.counts()["served"] == 1


async def read_lines(response, into):
    async for each in response.aiter_lines():
        into.append(each)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_hung_request_keeps_its_slot_until_its_client_goes(serve, eventually, stream):
    async with serve() as (server, client):
        server.fail(Fault("hang"))
        hung = asyncio.create_task(client.post("/v1/completions", json=ASKED | {"stream": stream}))
        await eventually(lambda: server.counts()["running"] == 1)
        assert (await client.get("/health")).status_code == 200
        assert not hung.done()
        hung.cancel()
        await eventually(lambda: server.counts()["running"] == 0)


async def test_a_hang_may_end(serve):
    async with serve() as (server, client):
        server.fail(Fault("hang", seconds=0.1))
        start = asyncio.get_running_loop().time()
        assert (await client.post("/v1/completions", json=ASKED)).status_code == 200
        assert asyncio.get_running_loop().time() - start >= 0.1


async def test_a_dropped_answer_never_begins(serve):
    async with serve() as (server, client):
        server.fail(Fault("drop"))
        with pytest.raises(httpx.TransportError):
            await client.post("/v1/completions", json=ASKED)
        assert server.counts()["aborted"] == 1


async def test_a_dropped_stream_ends_in_the_middle(serve, eventually):
    async with serve() as (server, client):
        server.fail(Fault("drop"))
        async with client.stream("POST", "/v1/completions", json=ASKED | {"stream": True}) as response:
            assert response.status_code == 200
            lines = []
            with pytest.raises(httpx.TransportError):
                await read_lines(response, lines)
        assert len(lines) == 4  # two tokens of four, and the empty line after each
        assert not any("[DONE]" in line or 'finish_reason": "' in line for line in lines)
        await eventually(lambda: server.counts()["running"] == 0)


async def test_slow_tokens_take_longer(serve):
    async with serve() as (server, client):
        server.fail(Fault("slow-tokens", seconds=0.05))
        start = asyncio.get_running_loop().time()
        await client.post("/v1/completions", json=ASKED)
        assert asyncio.get_running_loop().time() - start >= 0.2


async def test_slow_metrics_leave_the_rest_alone(serve):
    async with serve() as (server, client):
        server.fail(Fault("slow-metrics", seconds=0.3))
        start = asyncio.get_running_loop().time()
        metrics = asyncio.create_task(client.get("/metrics"))
        await client.post("/v1/completions", json=ASKED)
        assert not metrics.done()
        assert (await metrics).status_code == 200
        assert asyncio.get_running_loop().time() - start >= 0.3


async def test_a_share_hits_as_many_and_the_same_ones_with_the_same_seed(serve):
    async def statuses(seed):
        async with serve(seed=seed) as (server, client):
            server.fail(Fault("error", share=0.3))
            return [(await client.post("/v1/completions", json=ASKED)).status_code for _ in range(100)]

    first = await statuses(1)
    assert 15 <= first.count(500) <= 45
    assert first == await statuses(1)
    assert first != await statuses(2)


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ({"kind": "explode"}, "kind must be one of hang, error, drop, slow-metrics, slow-tokens, none, not 'explode'"),
        ({"kind": "hang", "share": 1.5}, "share must be in 0..1, not 1.5"),
        ({"kind": "hang", "share": "all"}, "share must be a number, not 'all'"),
        ({"kind": "error", "status": 200}, "status must be in 400..599, not 200"),
        ({"kind": "error", "status": True}, "status must be an int, not True"),
        ({"kind": "hang", "seconds": -1}, "seconds must be 0 or more, not -1"),
        ({"kind": "slow-metrics"}, "seconds must be given for slow-metrics"),
        ({"kind": "hang", "often": 1}, "'often' is no field of a fault; those are kind, seconds, share, status"),
        ({"share": 1}, "kind must be given"),
        ([], "a fault must be an object, not []"),
    ],
)
async def test_a_bad_fault_is_told_why_and_changes_nothing(serve, fault, says):
    async with serve() as (_, client):
        await fail(client, kind="error", status=502)
        response = await client.post("/faults", json=fault)
        assert response.status_code == 400
        assert response.json()["error"]["message"] == says
        assert len((await client.get("/faults")).json()) == 1


async def test_a_fault_that_is_no_json_is_told_so(serve):
    async with serve() as (_, client):
        assert (await client.post("/faults", content="{")).status_code == 400
