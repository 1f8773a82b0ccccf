"""Pods that die: at the worst moment, and in the middle of an answer."""

import asyncio
import socket
import time

import pytest

from examples.stage.gateway import completion

pytestmark = pytest.mark.anyio


async def test_a_pod_that_died_between_pick_and_connect_costs_a_503_and_nothing_else(open_gateway, slots) -> None:
    """The file still names it, so requests are sent there: they are told so quickly, and the slot comes back."""
    async with open_gateway(slots(1)) as gateway:
        dead, alive = await asyncio.gather(gateway.start_pod("dead"), gateway.start_pod("alive"))
        await gateway.announce(dead)
        assert (await gateway.ask()).status == 200
        dead.process.kill()
        await dead.process.wait()
        for _ in range(3):
            call = gateway.call()
            assert (await call.answer()).status == 503
            assert call.seconds < 2.0
            await gateway.serves(0)
        await gateway.announce(alive)
        answers = await asyncio.gather(*[gateway.ask() for _ in range(5)])
        assert [(answer.status, answer.headers["x-served-by"]) for answer in answers] == [(200, "alive")] * 5


async def test_a_pod_that_does_not_answer_the_phone_costs_a_503(open_gateway, slots) -> None:
    """Its port neither takes nor refuses the connection: the time to connect is short."""
    async with open_gateway(slots(4)) as gateway:
        with socket.socket() as mute:
            mute.bind(("127.0.0.1", 0))
            mute.listen(0)
            port = mute.getsockname()[1]
            with socket.create_connection(("127.0.0.1", port)):  # the only one that the port has room for
                await gateway.announce({"name": "mute", "address": "127.0.0.1", "port": port})
                call = gateway.call()
                assert (await call.answer()).status == 503
                assert 0.5 < call.seconds < 5.0
                await gateway.serves(0)


async def test_a_pod_that_vanishes_while_it_answers_breaks_that_answer_and_frees_the_slot(open_gateway, slots) -> None:
    """Half a stream is no answer; the client sees that it is cut, and the slot comes back."""
    async with open_gateway(slots(1)) as gateway, await gateway.connect() as connection:
        pod = await gateway.start_pod(tpot=0.02)
        await gateway.announce(pod)
        request = connection.post("/v1/completions", completion(tokens=10_000, stream=True, ignore_eos=True))
        await gateway.serves(1)
        pod.process.kill()
        began = time.monotonic()
        with pytest.raises(Exception, match="reset"):
            await request.answer()
        assert time.monotonic() - began < 1.0
        await gateway.serves(0)


async def test_a_pod_that_leaves_the_file_finishes_what_it_has(open_gateway, slots) -> None:
    """It gets nothing new; the request that it works on is answered, and what waits goes to the other one."""
    async with open_gateway(slots(1)) as gateway:
        old, new = await asyncio.gather(gateway.start_pod("old", ttft=1.0), gateway.start_pod("new"))
        await gateway.announce(old)
        served = gateway.call()
        await gateway.serves(1)
        waiting = gateway.call()
        await gateway.holds(1)
        await gateway.announce(new)
        assert (await waiting.answer()).headers["x-served-by"] == "new"
        assert not served.is_over
        assert (await served.answer()).headers["x-served-by"] == "old"


async def test_a_pods_own_refusal_reaches_the_client(open_gateway, slots) -> None:
    """A 500 of the pod's stays a 500 of the pod's, body and all."""
    async with open_gateway(slots(1)) as gateway:
        pod = await gateway.start_pod()
        await gateway.announce(pod)
        async with gateway.stage.http.post(f"{pod.url}/faults", json={"kind": "error", "status": 500}) as response:
            assert response.status == 200
        answer = await gateway.ask()
        assert answer.status == 500
        assert b"a fault was asked for" in answer.body
