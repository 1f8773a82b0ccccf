"""Slots, the queue and the KV cache, as requests and metrics show them."""

import asyncio
import contextlib

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from fake_vllm._engine import Engine

pytestmark = pytest.mark.anyio


async def gauges(client):
    response = await client.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain")
    families = text_string_to_metric_families(response.text)
    return {
        sample.name.removeprefix("vllm:"): sample.value
        for family in families
        for sample in family.samples
        if "finished_reason" not in sample.labels
    }


def endless(client, **changes):
    return client.stream(
        "POST", "/v1/completions", json={"prompt": "hello", "max_tokens": 10_000, "stream": True} | changes
    )


async def test_who_finds_no_slot_waits_and_the_gauges_say_so(serve, eventually):
    async with serve(slots=2, tpot=0.01, kv_blocks=10_000) as (server, client):
        async with endless(client, n=2, max_tokens=1_600):
            waiting = asyncio.create_task(client.post("/v1/completions", json={"prompt": "hello"}))
            await eventually(lambda: server.counts()["waiting"] == 1)
            seen = await gauges(client)
            assert (seen["num_requests_running"], seen["num_requests_waiting"]) == (2, 1)
            assert seen["kv_cache_usage_perc"] == 201 / 10_000  # 3,201 tokens in blocks of 16
            assert not waiting.done()
        assert (await waiting).status_code == 200  # the other client has hung up
        assert server.counts() == {
            "served": 1, "refused": 0, "aborted": 1, "running": 0, "waiting": 0, "most_running": 2, "most_waiting": 1,
        }  # fmt: skip


async def test_the_queue_is_first_come_first_served_even_past_what_would_fit(serve, eventually):
    order = []

    async def ask(client, name, **asked):
        await client.post("/v1/completions", json={"prompt": "hello", "max_tokens": 1} | asked)
        order.append(name)

    async with (
        serve(slots=2, tpot=0.01) as (server, client),
        asyncio.TaskGroup() as tasks,
        endless(client, max_tokens=1_000),
    ):
        for waiting, (name, n) in enumerate([("needs two", 2), ("would fit", 1), ("last", 1)]):
            tasks.create_task(ask(client, name, n=n, max_tokens=1 + waiting))
            await eventually(lambda least=waiting: server.counts()["waiting"] >= 2 + least)
        assert server.counts()["running"] == 1
    assert order == ["needs two", "would fit", "last"]


async def test_a_request_waits_while_blocks_lack(serve, eventually):
    async with serve(slots=8, kv_blocks=10, tpot=0.01) as (server, client):
        async with endless(client, max_tokens=100):  # 7 blocks
            waiting = asyncio.create_task(client.post("/v1/completions", json={"prompt": "hello", "max_tokens": 60}))
            await eventually(lambda: server.counts()["waiting"] == 1)
            assert (await gauges(client))["kv_cache_usage_perc"] == 0.7
            assert server.counts()["running"] == 1
        assert (await waiting).status_code == 200
        assert (await gauges(client))["kv_cache_usage_perc"] == 0.0


async def test_beyond_the_limit_of_the_queue_a_request_is_refused(serve, eventually):
    async with serve(slots=1, max_waiting=1, tpot=0.01) as (server, client):
        async with endless(client), endless(client):
            await eventually(lambda: server.counts()["waiting"] == 1)
            for stream in (False, True):
                response = await client.post("/v1/completions", json={"prompt": "hello", "stream": stream})
                assert response.status_code == 503
                assert "no more than 1 may" in response.json()["error"]["message"]
        await eventually(lambda: server.counts()["running"] == 0)
        assert server.counts()["refused"] == 2
        assert server.counts()["most_waiting"] == 1


async def test_no_queue_at_all_serves_who_finds_a_slot(serve):
    async with serve(slots=1, max_waiting=0) as (_, client):
        assert (await client.post("/v1/completions", json={"prompt": "hello"})).status_code == 200


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_hangs_up_frees_its_slot_at_once(serve, eventually, stream):
    async with serve(slots=1, ttft=30.0) as (server, client):
        clock = asyncio.get_running_loop().time
        asked = {"prompt": "hello", "stream": stream}
        running = asyncio.create_task(client.post("/v1/completions", json=asked))
        await eventually(lambda: server.counts()["running"] == 1)
        queued = asyncio.create_task(client.post("/v1/completions", json=asked))
        await eventually(lambda: server.counts()["waiting"] == 1)
        left_at = clock()
        queued.cancel()
        await eventually(lambda: server.counts()["waiting"] == 0)
        running.cancel()
        await eventually(lambda: server.counts()["running"] == 0)
        assert clock() - left_at < 1.0
        assert server.counts()["aborted"] == 2


async def test_the_head_of_the_queue_leaves_and_the_next_starts(serve, eventually):
    async with serve(slots=1, ttft=0.05, kv_blocks=100) as (server, client):
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(client.post("/v1/completions", json={"prompt": "hello"}))
            await eventually(lambda: server.counts()["running"] == 1)
            head = asyncio.create_task(client.post("/v1/completions", json={"prompt": "hello"}))
            await eventually(lambda: server.counts()["waiting"] == 1)
            tasks.create_task(client.post("/v1/completions", json={"prompt": "hello"}))
            await eventually(lambda: server.counts()["waiting"] == 2)
            head.cancel()
        assert server.counts()["served"] == 2
        assert server.counts()["most_running"] == 1


async def test_a_slot_that_comes_free_while_the_head_is_leaving_goes_to_the_next():
    engine = Engine(slots=1, blocks=10)
    with contextlib.ExitStack() as runs, contextlib.ExitStack() as leaves, contextlib.ExitStack() as waits:
        runs.enter_context(engine.place(1, 1))
        head, following = leaves.enter_context(engine.place(1, 1)), waits.enter_context(engine.place(1, 1))
        head.cancel()
        runs.close()
        assert not following.done()
        leaves.close()
        assert following.done()
        assert (engine.running, engine.waiting) == (1, 0)
    assert (engine.running, engine.waiting, engine.cache_usage) == (0, 0, 0.0)


async def test_an_answered_client_finds_its_slot_free(serve):
    async with serve(slots=1, max_waiting=0) as (server, client):
        for stream in [False, True] * 50:
            response = await client.post("/v1/completions", json={"prompt": "hello", "stream": stream})
            assert response.status_code == 200
        assert server.counts()["served"] == 100


async def test_counters_and_histograms_count_tokens_and_requests(serve):
    async with serve(model="m", block_tokens=32, kv_blocks=77) as (_, client):
        for _ in range(2):
            await client.post("/v1/completions", json={"prompt": "x" * 40, "max_tokens": 5})
        seen, text = await gauges(client), (await client.get("/metrics")).text
    assert (seen["prompt_tokens_total"], seen["generation_tokens_total"]) == (20, 10)
    for name in ("request_queue_time_seconds", "time_to_first_token_seconds", "e2e_request_latency_seconds"):
        assert seen[f"{name}_count"] == 2
    assert 'vllm:num_requests_waiting{engine="0",model_name="m"} 0.0' in text
    assert 'vllm:request_success_total{engine="0",finished_reason="length",model_name="m"} 2.0' in text
    assert 'vllm:request_success_total{engine="0",finished_reason="abort",model_name="m"} 0.0' in text
    assert 'vllm:cache_config_info{block_size="32",engine="0",num_gpu_blocks="77"} 1.0' in text


async def test_hundreds_of_requests_are_all_served_and_never_more_run_than_slots(serve):
    async with serve(slots=4, ttft=0.001, tpot=0.0005) as (server, _):
        limits = httpx.Limits(max_connections=20)
        async with httpx.AsyncClient(base_url=server.url, limits=limits, timeout=20) as client:
            asked = {"prompt": "hello", "max_tokens": 3}
            answers = await asyncio.gather(
                *(client.post("/v1/completions", json=asked | {"stream": bool(each % 2)}) for each in range(200))
            )
        assert {answer.status_code for answer in answers} == {200}
        assert server.counts()["served"] == 200
        assert server.counts()["most_running"] == 4
