"""The Endpoint Picker and Envoy: killed, restarted and stopped while there is work."""

import asyncio
import time

import pytest

from examples.stage.gateway import Broken, Call, Gateway, completion

pytestmark = pytest.mark.anyio


async def held_at_last(gateway: Gateway) -> Call:
    """Ask until a request is held: Envoy has two seconds to find the Endpoint Picker again."""
    deadline = time.monotonic() + 2.0
    while True:
        call = gateway.call()
        await gateway.until(lambda state, call=call: call.is_over or state["queued"] == 1, "it is held, or told 503")
        if not call.is_over:
            return call
        assert (await call.answer()).status == 503
        assert time.monotonic() < deadline


async def test_an_epp_that_is_killed_while_it_holds_500_costs_503_within_a_second(open_gateway, slots) -> None:
    """Nothing hangs and nothing passes unasked; once it is back, so is the traffic."""
    async with open_gateway(slots(64)) as gateway, await gateway.connect() as connection:
        pod = await gateway.start_pod(slots=64)
        requests = [connection.post("/v1/completions", completion()) for _ in range(500)]
        await gateway.holds(500)
        gateway.epp.process.kill()
        killed_at = time.monotonic()
        answers = await asyncio.gather(*[request.answer() for request in requests])
        assert time.monotonic() - killed_at < 1.0
        assert {answer.status for answer in answers} == {503}
        meanwhile = gateway.call()
        assert (await meanwhile.answer()).status == 503
        assert meanwhile.seconds < 2.0
        await gateway.epp.process.wait()
        await gateway.restart_epp()
        held = await held_at_last(gateway)
        await gateway.announce(pod)
        assert (await held.answer()).status == 200


async def test_an_envoy_that_is_killed_leaves_nothing_behind_in_the_queue(open_gateway, slots) -> None:
    """Its clients' connections break, what they had waiting is forgotten, and the next Envoy is served."""
    async with open_gateway(slots(8)) as gateway:
        pod = await gateway.start_pod()
        connection = await gateway.connect()
        requests = [connection.post("/v1/completions", completion()) for _ in range(100)]
        await gateway.holds(100)
        gateway.envoy.process.kill()
        for request in requests:
            with pytest.raises(Broken):
                await request.answer()
        await gateway.holds(0, seconds=0.5)
        await gateway.envoy.process.wait()
        await gateway.restart_envoy()
        held = await held_at_last(gateway)
        await gateway.announce(pod)
        assert (await held.answer()).status == 200


async def test_an_epp_that_is_stopped_lets_what_waits_go_and_cuts_no_stream(open_gateway, slots) -> None:
    """Told to end, it ends when the last request has its answer: all served, all streams whole, exit code 0."""
    async with open_gateway({**slots(4), "server": {"drain_timeout": 10}}) as gateway:
        await gateway.announce(await gateway.start_pod(slots=8, ttft=0.02, tpot=0.02))
        body = completion(tokens=10, stream=True, ignore_eos=True)
        calls = [gateway.call(body) for _ in range(20)]
        await gateway.holds(16)
        gateway.epp.process.terminate()
        answers = await asyncio.gather(*[call.answer() for call in calls])
        assert [answer.status for answer in answers] == [200] * 20
        assert all(answer.body.endswith(b"data: [DONE]\n\n") for answer in answers)
        assert await gateway.epp.process.wait() == 0


async def test_an_epp_that_is_stopped_tells_503_to_whom_it_cannot_serve_in_time(open_gateway, slots) -> None:
    """No pod will come: when the grace is over, everybody who waits is told why."""
    async with open_gateway({**slots(4), "server": {"drain_timeout": 0.3}}) as gateway:
        calls = [gateway.call() for _ in range(20)]
        await gateway.holds(20)
        gateway.epp.process.terminate()
        answers = await asyncio.gather(*[call.answer() for call in calls])
        assert {answer.status for answer in answers} == {503}
        assert {answer.headers["x-flowgate-dropped-reason"] for answer in answers} == {"shutting-down"}
        assert max(call.seconds for call in calls) < 5.0
        assert await gateway.epp.process.wait() == 0


async def test_a_stream_that_outlives_the_grace_reaches_its_end_without_the_epp(open_gateway, slots) -> None:
    """The Endpoint Picker goes; Envoy and the pod need it no more for what has begun."""
    async with open_gateway({**slots(4), "server": {"drain_timeout": 0.2}}) as gateway:
        await gateway.announce(await gateway.start_pod(tpot=0.02))
        call = gateway.call(completion(tokens=150, stream=True, ignore_eos=True))
        await gateway.serves(1)
        gateway.epp.process.terminate()
        assert await gateway.epp.process.wait() == 0
        assert not call.is_over
        answer = await call.answer()
        assert answer.status == 200
        assert answer.body.endswith(b"data: [DONE]\n\n")


async def test_an_epp_that_drains_says_so_and_takes_nothing_new(open_gateway, slots) -> None:
    """Whoever watches over it sees that it is not ready; a new request is told 503 at once."""
    async with open_gateway({**slots(1), "server": {"drain_timeout": 10}}) as gateway:
        await gateway.announce(await gateway.start_pod(slots=1, ttft=1.5))
        served = gateway.call()
        await gateway.serves(1)
        gateway.epp.process.terminate()
        await gateway.until(lambda state: not state["ready"], "it is not ready")
        assert (await gateway.state())["reasons"] == ["shutting down"]
        late = gateway.call()
        assert (await late.answer()).status == 503
        assert late.seconds < 1.0
        assert (await served.answer()).status == 200
        assert await gateway.epp.process.wait() == 0
