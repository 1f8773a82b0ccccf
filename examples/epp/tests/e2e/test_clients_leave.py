"""Clients that hang up: their place, or their slot, is free at once."""

import asyncio
import json
import time
from itertools import pairwise
from typing import Any

import pytest

from examples.stage import wait_until
from examples.stage.gateway import Broken, completion

pytestmark = pytest.mark.anyio

AT_ONCE = 0.1
"""Seconds within which a client that hangs up has left the queue."""


def left_after(state: dict[str, Any], hung_up_at: float) -> float:
    """Return how long after their clients had hung up the last requests left the queue, by the clock of both."""
    gone = [decision for decision in state["decisions"] if decision["outcome"] == "evicted_cancelled"]
    assert gone
    return max(decision["arrived_at"] + decision["queue_wait"] for decision in gone) - hung_up_at


async def stream_over_http1(gateway) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await gateway.connect_raw()
    body = completion(tokens=10_000, stream=True, ignore_eos=True)
    head = f"POST /v1/completions HTTP/1.1\r\nhost: models\r\ncontent-length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    return reader, writer


async def test_who_hangs_up_while_held_leaves_the_queue_over_http1(open_gateway, slots) -> None:
    """Its connection closes, and within a tenth of a second nobody waits any more."""
    async with open_gateway(slots(1)) as gateway:
        calls = [gateway.call() for _ in range(3)]
        await gateway.holds(3)
        hung_up_at = time.time()
        calls[1].hang_up()
        state = await gateway.holds(2)
        assert left_after(state, hung_up_at) < AT_ONCE
        assert state["outcomes"] == {"evicted_cancelled": 1}
        await gateway.announce(await gateway.start_pod())
        assert [(await calls[number].answer()).status for number in (0, 2)] == [200, 200]


async def test_who_resets_a_stream_while_held_leaves_the_queue_over_http2(open_gateway, slots) -> None:
    """Only that stream: its neighbours on the connection wait on, and are served."""
    async with open_gateway(slots(8)) as gateway, await gateway.connect() as connection:
        requests = [connection.post("/v1/completions", completion()) for _ in range(3)]
        await gateway.holds(3)
        hung_up_at = time.time()
        requests[1].give_up()
        assert left_after(await gateway.holds(2), hung_up_at) < AT_ONCE
        await gateway.announce(await gateway.start_pod())
        assert [(await requests[number].answer()).status for number in (0, 2)] == [200, 200]


async def test_a_lost_http2_connection_takes_all_its_requests_with_it(open_gateway, slots) -> None:
    """Fifty requests, one connection: when it is gone, nobody waits."""
    async with open_gateway(slots(8)) as gateway:
        connection = await gateway.connect()
        requests = [connection.post("/v1/completions", completion()) for _ in range(50)]
        await gateway.holds(50)
        hung_up_at = time.time()
        connection.close()
        assert left_after(await gateway.holds(0), hung_up_at) < AT_ONCE
        with pytest.raises(Broken):
            await requests[0].answer()


async def test_who_hangs_up_while_streaming_frees_its_slot(open_gateway, slots) -> None:
    """The pod has one slot: when the client goes away, the pod stops, and the next request gets it."""
    async with open_gateway(slots(1)) as gateway:
        pod = await gateway.start_pod(slots=1, tpot=0.02)
        await gateway.announce(pod)
        reader, writer = await stream_over_http1(gateway)
        await reader.readuntil(b"data: ")
        await gateway.serves(1)
        waiting = gateway.call()
        await gateway.holds(1)
        writer.transport.abort()
        assert (await waiting.answer()).status == 200
        await gateway.serves(0)


async def test_who_resets_a_stream_while_it_is_served_frees_its_slot(open_gateway, slots) -> None:
    """The same over HTTP/2, where the connection lives on."""
    async with open_gateway(slots(1)) as gateway, await gateway.connect() as connection:
        await gateway.announce(await gateway.start_pod(slots=1, tpot=0.02))
        served = connection.post("/v1/completions", completion(tokens=10_000, stream=True, ignore_eos=True))
        await gateway.serves(1)
        waiting = connection.post("/v1/completions", completion())
        await gateway.holds(1)
        served.give_up()
        assert (await waiting.answer()).status == 200
        await gateway.serves(0)


async def test_a_stream_reaches_its_client_token_by_token_and_whole(open_gateway, slots) -> None:
    """Nothing between pod and client gathers it up: the first token comes long before the last."""
    async with open_gateway(slots(1)) as gateway:
        await gateway.announce(await gateway.start_pod(slots=1, tpot=0.05))
        now = asyncio.get_running_loop().time
        url = f"{gateway.envoy.url}/v1/completions"
        body = completion(tokens=10, stream=True, ignore_eos=True)
        came: list[float] = []
        events: list[bytes] = []
        async with gateway.stage.http.post(url, data=body) as response:
            async for line in response.content:
                if line.strip():
                    came.append(now())
                    events.append(line.removeprefix(b"data: ").strip())
            await gateway.serves(0)
        assert events[-1] == b"[DONE]"
        assert json.loads(events[-2])["usage"]["completion_tokens"] == 10
        assert came[-1] - came[0] > 0.3
        assert max(later - sooner for sooner, later in pairwise(came)) < 0.25


async def test_the_slot_of_a_streamed_response_is_held_until_its_end(open_gateway, slots) -> None:
    """Two requests, one slot: the second begins when the first stream has ended, not when its headers have."""
    async with open_gateway(slots(1)) as gateway:
        pod = await gateway.start_pod(slots=8, tpot=0.02)
        await gateway.announce(pod)
        body = completion(tokens=20, stream=True, ignore_eos=True)
        calls = [gateway.call(body), gateway.call(body)]
        await wait_until(lambda: all(call.is_over for call in calls), 10, "both are served")
        first, second = sorted(call.ended_at for call in calls)
        assert second - first > 0.3
        pod.process.terminate()
        assert await pod.process.wait() == 0
        assert json.loads(pod.process.said()[-1])["most_running"] == 1
