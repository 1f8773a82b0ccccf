"""The API server, and the way to it: whatever happens, what the Endpoint Picker knows is true again soon."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from examples.stage.kubernetes import FaultyPath
from examples.stage.kubernetes.pool import Pool

pytestmark = pytest.mark.anyio

Change = Callable[[], Awaitable[None]]

# Short, so that a silent network is noticed while the test waits.
PATIENCE = {"silence": 2.0, "request_timeout": 2.0, "max_pause": 1.0}
SOON = 15.0


async def restart(pool: Pool, _path: FaultyPath, change: Change) -> None:
    await pool.cluster.stop()
    await pool.cluster.start()
    await change()


async def long_outage(pool: Pool, path: FaultyPath, change: Change) -> None:
    await pool.cluster.stop()
    await asyncio.sleep(3.0)  # several attempts fail
    await pool.cluster.start()
    await change()
    path.reset()


async def reset(_pool: Pool, path: FaultyPath, change: Change) -> None:
    path.reset()
    await change()


async def cut(_pool: Pool, path: FaultyPath, change: Change) -> None:
    path.cut()
    await change()


async def blackhole(_pool: Pool, path: FaultyPath, change: Change) -> None:
    path.blackhole()
    await change()
    path.heal()  # new connections only: those that have lost something stay silent


async def compaction(pool: Pool, path: FaultyPath, change: Change) -> None:
    path.blackhole(accept=False)
    await change()
    await pool.cluster.compact()
    path.reset()
    path.heal()


@pytest.mark.parametrize("misfortune", [restart, long_outage, reset, cut, blackhole, compaction])
async def test_what_changed_meanwhile_is_known_soon_after_it_and_those_who_wait_go_on(
    misfortune, open_gateway, pool, path
) -> None:
    """A pod went and another came: the picker has the API's own list again, and whoever waited for the new one goes."""
    async with open_gateway(8, kubernetes=PATIENCE) as gateway:
        stays, goes = await asyncio.gather(pool.run_pod("stays"), pool.run_pod("goes"))
        comes = await pool.make_pod("comes")
        await gateway.until(lambda state: len(state["pods"]) == 2, "both pods are known")
        waiting = [gateway.call(x_subset=comes.endpoint) for _ in range(5)]
        await gateway.holds(5)

        async def change() -> None:
            await pool.delete(goes)
            await pool.turn_ready(comes)

        await misfortune(pool, path, change)
        listed = await pool.listed()
        assert listed == {"stays", "comes"}
        await gateway.until(lambda state: {pod["name"] for pod in state["pods"]} == listed, "it knows the pods", SOON)
        answers = await asyncio.gather(*(call.answer() for call in waiting))
        assert {(answer.status, answer.headers["x-served-by"]) for answer in answers} == {(200, "comes")}
        assert (await gateway.ask(x_subset=stays.endpoint)).status == 200
        assert not goes.arrivals
        # And it follows what comes after that.
        await pool.delete(stays)
        await gateway.until(lambda state: {pod["name"] for pod in state["pods"]} == {"comes"}, "it follows", SOON)


async def test_pods_are_served_from_what_is_known_while_the_api_server_is_down(open_gateway, pool) -> None:
    """Nobody's request needs the API server."""
    async with open_gateway(8, kubernetes=PATIENCE) as gateway:
        await pool.run_pod("pod")
        await gateway.until(lambda state: len(state["pods"]) == 1, "the pod is known")
        await pool.cluster.stop()
        try:
            for _ in range(3):
                assert (await gateway.ask()).headers["x-served-by"] == "pod"
            await gateway.until(lambda state: len(state["pods"]) == 1, "the pod is still known")
        finally:
            await pool.cluster.start()
