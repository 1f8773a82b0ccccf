"""Requests that wait: until a pod comes, in the order of their importance, and for as long as they may."""

import asyncio
import json

import pytest

from examples.stage.gateway import completion

pytestmark = pytest.mark.anyio

PRIORITIES = {"objectives": {"priorities": {"interactive": 10, "standard": 0, "batch": -10}}}


async def test_from_zero_a_request_is_held_until_a_pod_appears(open_gateway, slots) -> None:
    """No pod, so it waits; the pod comes, and the client gets its answer."""
    async with open_gateway(slots(8)) as gateway:
        pod = await gateway.start_pod(name="first")
        call = gateway.call()
        state = await gateway.holds(1)
        assert state["pods"] == []
        assert not call.is_over
        await gateway.announce(pod)
        answer = await call.answer()
        assert answer.status == 200
        assert answer.headers["x-served-by"] == "first"
        assert json.loads(answer.body)["usage"]["completion_tokens"] == 1


async def test_the_pods_own_metrics_let_requests_go(open_gateway) -> None:
    """As the program is by default: a pod that was never scraped is full, and one that says it is idle is open."""
    async with open_gateway() as gateway:
        call = gateway.call()
        await gateway.holds(1)
        await gateway.announce(await gateway.start_pod())
        assert (await call.answer()).status == 200


async def test_who_is_more_important_overtakes(open_gateway, slots) -> None:
    """Batch came first and interactive last; they are served the other way round, and in order among themselves."""
    async with open_gateway({**slots(1), **PRIORITIES}) as gateway:
        pod = await gateway.start_pod(slots=1, ttft=0.02)
        calls = []
        for objective in ("batch", "standard", "interactive"):
            for _ in range(3):
                calls.append((objective, gateway.call(x_gateway_inference_objective=objective)))
                await gateway.holds(len(calls))
        await gateway.announce(pod)
        answers = await asyncio.gather(*[call.answer() for _, call in calls])
        assert {answer.status for answer in answers} == {200}
        batch, standard, interactive = calls[:3], calls[3:6], calls[6:]
        assert sorted(calls, key=lambda call: call[1].ended_at) == interactive + standard + batch


async def test_a_request_runs_out_of_time_without_pods_with_503(open_gateway, slots) -> None:
    """Its own time to live, to the point."""
    async with open_gateway(slots(8)) as gateway:
        call = gateway.call(x_request_ttl_seconds="0.3")
        answer = await call.answer()
        assert answer.status == 503
        assert answer.headers["x-flowgate-dropped-reason"] == "no-pods"
        assert json.loads(answer.body)["error"]["code"] == "no-pods"
        assert 0.3 <= call.seconds < 0.8


async def test_a_request_runs_out_of_time_with_pods_with_429(open_gateway, slots) -> None:
    """There is a pod, and it is busy: the client is told to come again."""
    async with open_gateway(slots(1)) as gateway:
        await gateway.announce(await gateway.start_pod(slots=1, ttft=1.0))
        first = gateway.call()
        await gateway.serves(1)
        late = await gateway.ask(x_request_ttl_seconds="0.3")
        assert late.status == 429
        assert late.headers["x-flowgate-dropped-reason"] == "ttl-expired"
        assert (await first.answer()).status == 200


async def test_the_budgets_of_flow_control_end_a_wait(open_gateway, slots) -> None:
    """Without a time to live of their own requests have the pool's, one with pods and one without."""
    async with open_gateway(slots(1, default_ttl=0.3, no_pods_ttl=0.6)) as gateway:
        empty = gateway.call()
        assert (await empty.answer()).status == 503
        assert 0.6 <= empty.seconds < 1.1
        await gateway.announce(await gateway.start_pod(slots=1, ttft=1.0))
        busy = gateway.call()
        await gateway.serves(1)
        full = gateway.call()
        assert (await full.answer()).status == 429
        assert 0.3 <= full.seconds < 0.8
        assert (await busy.answer()).status == 200


async def test_a_full_queue_answers_429_and_says_when_to_come_again(open_gateway, slots) -> None:
    """Once it is known how fast the queue drains, a client that finds it full is told how long that takes."""
    config = slots(1, max_requests=3, retry_after={"least": 2, "most": 9, "jitter": 0})
    async with open_gateway(config) as gateway:
        await gateway.announce(await gateway.start_pod(slots=1, tpot=0.05))
        for _ in range(3):
            drained = [gateway.call() for _ in range(4)]
            assert {(await call.answer()).status for call in drained} == {200}
        served = gateway.call(completion(tokens=1_000))
        await gateway.serves(1)
        waiting = [gateway.call() for _ in range(3)]
        await gateway.holds(3)
        refused = await gateway.ask()
        assert refused.status == 429
        assert refused.headers["x-flowgate-dropped-reason"] == "saturated"
        assert 2 <= int(refused.headers["retry-after"]) <= 9
        assert not served.is_over
        for call in [served, *waiting]:
            call.hang_up()


async def test_a_full_queue_without_pods_answers_503(open_gateway, slots) -> None:
    """To come again at once would not help: there is nobody to serve."""
    async with open_gateway(slots(1, max_requests=1)) as gateway:
        gateway.call()
        await gateway.holds(1)
        refused = await gateway.ask()
        assert refused.status == 503
        assert refused.headers["x-flowgate-dropped-reason"] == "no-pods"


async def test_a_bad_time_to_live_is_the_clients_mistake(open_gateway, slots) -> None:
    """It is answered 400, and nothing waits."""
    async with open_gateway(slots(1)) as gateway:
        answer = await gateway.ask(x_request_ttl_seconds="soon")
        assert answer.status == 400
        assert "x-request-ttl-seconds must be a number of seconds" in json.loads(answer.body)["error"]["message"]
