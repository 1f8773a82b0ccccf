"""Many requests held for long, on few connections and on many; and each gets its answer."""

import asyncio
import collections
import itertools
import json
import time

import httpx
import pytest

pytestmark = pytest.mark.anyio

SMALL = json.dumps({"prompt": "hello", "max_tokens": 1}).encode()


async def test_a_hold_outlasts_envoys_own_timeouts(envoy):
    async with envoy() as world:
        world.picker.seconds = 1.5
        for client in ("http1", "http2"):
            async with httpx.AsyncClient(base_url=world.url, http1=client == "http1", http2=True, timeout=20) as asks:
                start = time.monotonic()
                assert (await world.ask(client=asks)).status_code == 200
                assert time.monotonic() - start >= 1.5


async def status(port):
    """Ask over a connection of its own, and wait for the status."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = f"POST /v1/completions HTTP/1.1\r\nhost: envoy\r\ncontent-length: {len(SMALL)}\r\n\r\n"
    writer.write(head.encode() + SMALL)
    try:
        return int((await reader.readline()).split()[1])
    finally:
        writer.close()


async def test_two_thousand_connections_are_held_at_once_and_all_served(envoy, eventually):
    async with envoy() as world:
        world.picker.is_open.clear()
        asking = [asyncio.create_task(status(world.port)) for _ in range(2_000)]
        await eventually(lambda: world.picker.held == 2_000)
        world.picker.is_open.set()
        assert collections.Counter(await asyncio.gather(*asking)) == {200: 2_000}


async def test_one_connection_holds_more_than_envoys_default_of_1024(envoy, h2_client, eventually):
    async with envoy() as world:
        world.picker.is_open.clear()
        client = h2_client()
        await client.open(world.port)
        for _ in range(1_200):
            client.send(SMALL)
        await eventually(lambda: world.picker.held == 1_200)
        world.picker.is_open.set()
        await eventually(lambda: len(client.status) == 1_200)
        assert collections.Counter(client.status.values()) == {200: 1_200}
        await client.close()


async def test_held_uploads_do_not_stop_the_other_requests_of_their_connection(envoy, h2_client, eventually):
    big = json.dumps({"prompt": "x" * 300_000, "max_tokens": 1}).encode()
    async with envoy() as world:
        world.picker.is_open.clear()
        client = h2_client()
        await client.open(world.port)
        uploads = [client.send(big) for _ in range(50)]
        small = client.send(SMALL)
        await eventually(lambda: world.picker.held == 51 and small not in client.unsent)
        assert client.unsent.keys() == set(uploads)
        world.picker.is_open.set()
        await eventually(lambda: len(client.status) == 51)
        assert collections.Counter(client.status.values()) == {200: 51}
        await client.close()


async def test_beyond_the_limit_a_request_is_refused_at_once(envoy, eventually):
    async with envoy(max_held=20) as world:
        world.picker.is_open.clear()
        held = [asyncio.create_task(world.ask()) for _ in range(20)]
        await eventually(lambda: world.picker.held == 20)
        assert (await world.ask()).status_code == 503
        world.picker.is_open.set()
        assert {(await each).status_code for each in held} == {200}


async def test_a_client_that_hangs_up_is_told_to_the_picker(envoy, eventually):
    async with envoy() as world:
        world.picker.is_open.clear()
        asking = asyncio.create_task(world.ask())
        await eventually(lambda: world.picker.held == 1)
        asking.cancel()
        await eventually(lambda: world.picker.held == 0)


async def test_tokens_pass_as_they_are_made_and_the_stream_to_the_picker_ends_with_them(envoy, eventually):
    async with envoy(pod={"ttft": 0.1, "tpot": 0.2}) as world:
        asked = {"prompt": "hello", "max_tokens": 4, "stream": True}
        async with world.client.stream("POST", "/v1/completions", json=asked) as response:
            at = [time.monotonic() async for line in response.aiter_lines() if '"finish_reason": null' in line]
        gaps = [later - earlier for earlier, later in itertools.pairwise(at)]
        assert len(gaps) == 3
        assert min(gaps) >= 0.1
        await eventually(lambda: world.picker.ended == 1)


async def test_a_client_that_hangs_up_while_tokens_come_ends_the_stream_and_the_work(envoy, eventually):
    async with envoy(pod={"tpot": 0.05}) as world:
        asked = {"prompt": "hello", "max_tokens": 10_000, "stream": True}
        async with world.client.stream("POST", "/v1/completions", json=asked) as response:
            read = response.aiter_lines()
            for _ in range(20):  # ten tokens, half a second
                await anext(read)
            assert world.picker.ended == 0
        await eventually(lambda: world.picker.ended == 1)
        await eventually(lambda: world.pod.counts()["running"] == 0)
