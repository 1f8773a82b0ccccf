"""Pods that are deleted while requests wait for them and for no other."""

import asyncio

import pytest

pytestmark = pytest.mark.anyio


async def test_requests_for_a_pod_that_is_deleted_wait_for_its_return_and_hold_back_nobody(open_gateway, pool) -> None:
    """The same address comes back with another pod: they go there, and those for another pod never waited."""
    async with open_gateway(8) as gateway:
        gone, other = await asyncio.gather(pool.run_pod("gone"), pool.run_pod("other"))
        await gateway.until(lambda state: len(state["pods"]) == 2, "both pods are known")
        await pool.delete(gone)
        await gateway.until(lambda state: len(state["pods"]) == 1, "one pod is known")
        waiting = [gateway.call(x_subset=gone.endpoint) for _ in range(5)]
        await gateway.holds(5)
        assert (await gateway.ask(x_subset=other.endpoint)).headers["x-served-by"] == "other"
        assert not any(call.is_over for call in waiting)
        await pool.run_pod("back", address=gone.address)
        answers = await asyncio.gather(*(call.answer() for call in waiting))
        assert {(answer.status, answer.headers["x-served-by"]) for answer in answers} == {(200, "gone")}


async def test_a_pod_that_is_deleted_under_those_who_wait_for_a_slot_gets_none_of_them(open_gateway, pool) -> None:
    """It is not ready any more, or gone: either way what waits for it is told so when its time is over."""
    async with open_gateway(8) as gateway:
        pod = await pool.run_pod("pod")
        await gateway.until(lambda state: len(state["pods"]) == 1, "the pod is known")
        await pool.turn_ready(pod, is_ready=False)
        await gateway.until(lambda state: not state["pods"], "it is not ready")
        call = gateway.call(x_subset=pod.endpoint, x_request_ttl_seconds="1")
        await gateway.holds(1)
        await pool.delete(pod)
        assert (await call.answer()).status == 503
        assert not pod.arrivals
