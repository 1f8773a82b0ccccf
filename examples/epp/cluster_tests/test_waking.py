"""From zero: how long those who wait still wait once a pod is ready."""

import asyncio
import statistics

import pytest

pytestmark = pytest.mark.anyio

WAITING = 200
ROUNDS = 7
LONGEST = 0.050  # seconds; the median's


async def test_those_who_wait_at_zero_pods_arrive_within_50_ms_of_the_pod_turning_ready(open_gateway, pool) -> None:
    """From the API server's answer to the change of the pod's status, to the first request at the pod."""
    firsts, lasts = [], []
    async with open_gateway(WAITING) as gateway:
        for number in range(ROUNDS):
            calls = [gateway.call() for _ in range(WAITING)]
            await gateway.holds(WAITING, seconds=30.0)
            pod = await pool.make_pod(f"pod-{number}")
            ready_at = await pool.turn_ready(pod)
            answers = await asyncio.gather(*(call.answer() for call in calls))
            assert {(answer.status, answer.headers["x-served-by"]) for answer in answers} == {(200, pod.name)}
            # The pod may have its first request before we have our answer.
            firsts.append(min(pod.arrivals) - ready_at)
            lasts.append(max(pod.arrivals) - ready_at)
            await pool.delete(pod)
            await gateway.until(lambda state: not state["pods"], "the pod has gone")
    for what, seconds in (("first", firsts), ("last", lasts)):
        figures = ", ".join(f"{1_000 * each:.1f}" for each in seconds)
        print(f"{what} of {WAITING} at the pod, ms after it turned ready: {figures}", end="; ")
        print(f"median {1_000 * statistics.median(seconds):.1f}")
    assert statistics.median(firsts) < LONGEST
