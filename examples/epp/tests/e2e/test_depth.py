"""How much may wait."""

import asyncio
import time

import psutil
import pytest

from examples.stage.gateway import completion

pytestmark = pytest.mark.anyio

DEPTH = 5_000


async def test_5000_requests_wait_at_once_and_all_are_served(open_gateway, slots) -> None:
    """No limit on the way is lower than that, nobody is cut or forgotten, and memory stays in bounds."""
    band = {"priority": 0, "max_requests": DEPTH}
    async with open_gateway(slots(64, bands=[band])) as gateway:
        pods = await asyncio.gather(*[gateway.start_pod(f"pod-{number}", slots=64) for number in range(2)])
        connections = [await gateway.connect()]
        requests = []
        for _ in range(DEPTH):
            if not connections[-1].room:
                connections.append(await gateway.connect())
            requests.append(connections[-1].post("/v1/completions", completion()))
        state = await gateway.holds(DEPTH, seconds=30)
        assert state["outcomes"] == {}
        assert psutil.Process(gateway.epp.process.pid).memory_info().rss < 300e6
        assert psutil.Process(gateway.envoy.process.pid).memory_info().rss < 1e9
        began = time.monotonic()
        await gateway.announce(*pods)
        answers = await asyncio.gather(*[request.answer() for request in requests])
        assert [answer.status for answer in answers] == [200] * DEPTH
        assert time.monotonic() - began < 30
        state = await gateway.serves(0)
        assert state["outcomes"] == {"dispatched": DEPTH}
        for connection in connections:
            connection.close()
