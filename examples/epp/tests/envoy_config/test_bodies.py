"""Bodies: as large as they are, in each mode, and no slower than they may be."""

import asyncio
import json

import httpx
import pytest

pytestmark = pytest.mark.anyio

MODES = ["none", "buffered", "streamed"]
BIG = {"prompt": "x" * 3_000_000}


@pytest.mark.parametrize("http2", [False, True])
@pytest.mark.parametrize("body_mode", MODES)
async def test_three_megabytes_pass(envoy, body_mode, http2):
    async with envoy(body_mode=body_mode) as world:
        world.picker.seconds = 0.2
        async with httpx.AsyncClient(base_url=world.url, http1=not http2, http2=http2, timeout=30) as client:
            response = await world.ask(client=client, **BIG)
        assert response.json()["usage"]["prompt_tokens"] == 750_000
        if body_mode == "none":
            assert world.picker.body == b""
        else:
            assert json.loads(world.picker.body)["prompt"] == BIG["prompt"]


@pytest.mark.parametrize("body_mode", MODES)
async def test_the_picker_answers_a_request_without_a_body(envoy, body_mode):
    async with envoy(body_mode=body_mode) as world:
        assert (await world.client.get("/v1/models")).status_code == 200
        assert world.picker.streams == 1


async def test_a_body_beyond_the_limit_gets_413_where_it_is_buffered(envoy):
    async with envoy(body_mode="buffered", max_body=1_000_000) as world:
        assert (await world.ask(**BIG)).status_code == 413
        assert (await world.ask(prompt="x" * 900_000)).status_code == 200


@pytest.mark.parametrize("body_mode", MODES)
async def test_the_hold_does_not_count_as_a_slow_upload(envoy, body_mode):
    async with envoy(body_mode=body_mode, longest_upload=1.0, longest_hold=20.0) as world:
        world.picker.seconds = 2.0
        assert (await world.ask(**BIG)).status_code == 200


async def trickle(path, port, pause):
    """Send headers that promise more than comes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"POST {path} HTTP/1.1\r\nhost: envoy\r\ncontent-length: 100\r\n\r\n{{".encode())
    try:
        return int((await reader.readline()).split()[1])
    finally:
        writer.close()


@pytest.mark.parametrize(("body_mode", "longest_hold"), [("none", 0.5), ("buffered", 500.0), ("streamed", 500.0)])
async def test_an_upload_that_never_ends_gets_408(envoy, body_mode, longest_hold, eventually):
    async with envoy(body_mode=body_mode, longest_upload=0.5, longest_hold=longest_hold) as world:
        assert await trickle("/v1/completions", world.port, 5.0) == 408
        await eventually(lambda: world.picker.ended == world.picker.streams)
