"""How a request may end on a real Envoy: clients and pods that go away, Envoy's own timeouts, our shutdown."""

import asyncio
import io
import os

import aiohttp
import pytest

from flowgate_epp.contracts import Refusal


async def post(envoy, path="/echo", **options):
    async with envoy.client.post(path, data=b"{}", **options) as response:
        return response.status, await response.read()


async def start_streaming(envoy, path="/stream"):
    response = await envoy.client.get(path)
    assert await response.content.readuntil(b",") == b"begin,"
    return response


@pytest.mark.parametrize("mode", ["NONE", "BUFFERED", "FULL_DUPLEX_STREAMED"])
def test_a_client_that_hangs_up_while_held_is_forgotten_at_once(gateway, soon, mode):
    async def scenario():
        async with gateway(request_body_mode=mode, request_trailer_mode="SEND") as envoy:
            envoy.director.first = envoy.director.held
            loop, lags = asyncio.get_running_loop(), []
            for attempt in range(8):
                posting = asyncio.ensure_future(post(envoy))
                await envoy.director.asked.wait()
                # Both at once, and after some turns of the loop, when the stream is being read again.
                await asyncio.sleep(0.02 * (attempt % 2))
                posting.cancel()
                hung_up_at = loop.time()
                await soon(lambda count=attempt + 1: len(envoy.director.cancelled_at) == count)
                lags.append(envoy.director.cancelled_at[-1] - hung_up_at)
                await asyncio.wait([posting])
            assert sorted(lags)[4] < 0.05
            assert max(lags) < 0.5
            await soon(lambda: envoy.server.open_streams == 0)
            assert envoy.director.slots == []

    asyncio.run(scenario())


def test_a_client_that_hangs_up_while_sending_is_never_decided(gateway, soon):
    async def scenario():
        async with gateway(request_body_mode="FULL_DUPLEX_STREAMED", request_trailer_mode="SEND") as envoy:
            _, writer = await asyncio.open_connection(*envoy.url.removeprefix("http://").split(":"))
            writer.write(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\nbegin")
            await soon(lambda: envoy.server.open_streams == 1)
            writer.close()
            await writer.wait_closed()
            await soon(lambda: envoy.server.open_streams == 0)
            assert envoy.director.inbounds == []

    asyncio.run(scenario())


@pytest.mark.parametrize("response_body_mode", ["NONE", "STREAMED", "FULL_DUPLEX_STREAMED"])
def test_a_client_that_hangs_up_while_streaming_frees_the_slot(gateway, response_body_mode):
    async def scenario():
        async with gateway(response_body_mode=response_body_mode) as envoy:
            response = await start_streaming(envoy)
            slot = await envoy.director.slot()
            assert not slot.closed.is_set()
            response.close()
            async with asyncio.timeout(1):
                await slot.closed.wait()
            # Only with the body in sight can it be told from a response that is whole.
            assert slot.heard == [(200, None), response_body_mode == "NONE"]

    asyncio.run(scenario())


@pytest.mark.parametrize("response_body_mode", ["STREAMED", "FULL_DUPLEX_STREAMED"])
def test_with_the_body_in_sight_a_broken_response_is_known(gateway, response_body_mode):
    async def scenario():
        async with gateway(response_body_mode=response_body_mode) as envoy:
            whole, broken = await start_streaming(envoy), await start_streaming(envoy, "/broken")
            envoy.upstream.gate.set()
            assert await whole.content.read() == b"end"
            with pytest.raises(aiohttp.ClientError):
                await broken.content.read()
            broken.close()
            for number, is_complete in ((0, True), (1, False)):
                slot = await envoy.director.slot(number)
                await slot.closed.wait()
                assert slot.heard == [(200, None), is_complete]

    asyncio.run(scenario())


@pytest.mark.parametrize("mode", ["STREAMED", "BUFFERED_PARTIAL", "FULL_DUPLEX_STREAMED"])
def test_a_long_response_passes_through_unchanged(gateway, mode):
    async def scenario():
        async with gateway(response_body_mode=mode) as envoy:
            body = os.urandom(3 << 20)
            async with envoy.client.post("/echo", data=io.BytesIO(body)) as response:
                assert (response.status, await response.read()) == (200, body)

    asyncio.run(scenario())


def test_an_answer_of_envoys_own_ends_the_hold(gateway, wiring, soon):
    async def scenario():
        short = wiring(manager={"common_http_protocol_options": {"max_stream_duration": "0.2s"}})
        async with gateway(short) as envoy:
            envoy.director.first = envoy.director.held
            status, _ = await post(envoy)
            assert status == 504
            await soon(lambda: len(envoy.director.cancelled_at) == 1)
            await soon(lambda: envoy.server.open_streams == 0)
            assert envoy.director.slots == []

    asyncio.run(scenario())


def test_too_much_for_envoy_to_buffer_is_its_own_413(gateway, soon):
    async def scenario():
        async with gateway(request_body_mode="BUFFERED") as envoy:
            async with envoy.client.post("/echo", data=io.BytesIO(bytes(3 << 20))) as response:
                assert response.status == 413
            await soon(lambda: envoy.server.open_streams == 0)
            assert envoy.director.inbounds == []

    asyncio.run(scenario())


def test_slots_that_are_given_back_at_the_pick_are_told_of_once(gateway, caplog):
    async def scenario():
        async with gateway(response_header_mode="SKIP", response_trailer_mode="SKIP") as envoy:
            for number in range(5):
                assert await post(envoy) == (200, b"{}")
                slot = await envoy.director.slot(number)
                await slot.closed.wait()
                assert slot.heard == [False]

    asyncio.run(scenario())
    assert caplog.text.count("response_header_mode") == 1


def test_a_response_that_outlives_the_grace_reaches_its_client_whole(gateway):
    async def scenario():
        async with gateway() as envoy:
            response = await start_streaming(envoy)
            slot = await envoy.director.slot()
            await envoy.server.shutdown(0.05)
            assert slot.closed.is_set()
            assert not response.content.at_eof()
            envoy.upstream.gate.set()
            assert await response.content.read() == b"end"

    asyncio.run(scenario())


def test_a_shutdown_waits_for_responses_that_end_in_time(gateway, soon):
    async def scenario():
        async with gateway() as envoy:
            response = await start_streaming(envoy)
            stopping = asyncio.ensure_future(envoy.server.shutdown(30))
            await asyncio.wait([stopping], timeout=0.05)
            assert not stopping.done()
            envoy.upstream.gate.set()
            assert await response.content.read() == b"end"
            await asyncio.wait_for(stopping, 3)
            slot = await envoy.director.slot()
            assert slot.heard == [(200, None), True]

    asyncio.run(scenario())


def test_held_requests_are_answered_during_the_grace(gateway, soon):
    async def scenario():
        async def refuse_later(_inbound):
            await envoy.director.let_go.wait()
            return Refusal(503, "shutting-down", "Later.", {})

        async with gateway() as envoy:
            envoy.director.first = refuse_later
            refused = [asyncio.ensure_future(post(envoy)) for _ in range(20)]
            await soon(lambda: len(envoy.director.inbounds) == 20)
            envoy.director.first = envoy.director.held
            served = [asyncio.ensure_future(post(envoy)) for _ in range(20)]
            await soon(lambda: len(envoy.director.inbounds) == 40)
            stopping = asyncio.ensure_future(envoy.server.shutdown(5))
            await asyncio.sleep(0)
            envoy.director.let_go.set()
            assert {status for status, _ in await asyncio.gather(*served)} == {200}
            assert {status for status, _ in await asyncio.gather(*refused)} == {503}
            await asyncio.wait_for(stopping, 3)
            status, _ = await post(envoy)
            assert status == 503

    asyncio.run(scenario())


@pytest.mark.parametrize("mode", ["NONE", "BUFFERED", "FULL_DUPLEX_STREAMED"])
def test_a_request_still_held_when_the_grace_ends_is_told_503(gateway, soon, mode):
    async def scenario():
        async with gateway(request_body_mode=mode, request_trailer_mode="SEND") as envoy:
            envoy.director.first = envoy.director.held
            posting = asyncio.ensure_future(envoy.client.post("/echo", data=b"{}"))
            await envoy.director.asked.wait()
            await envoy.server.shutdown(0.05)
            async with await posting as response:
                assert response.status == 503
                assert response.headers["retry-after"] == "2"
                assert response.headers["x-flowgate-dropped-reason"] == "shutting-down"
                assert b"shutting-down" in await response.read()
            assert len(envoy.director.cancelled_at) == 1

    asyncio.run(scenario())


@pytest.mark.parametrize("mode", ["NONE", "BUFFERED", "FULL_DUPLEX_STREAMED"])
def test_a_director_that_refuses_all_is_heard_before_a_body_is_read(gateway, mode):
    """A client that has sent no more than its headers has its answer; once all is well nothing is in the way."""
    refusal = Refusal(503, "not-leading", "Later.", {"retry-after": "1"})

    async def scenario():
        async with gateway(request_body_mode=mode, request_trailer_mode="SEND") as envoy:
            envoy.director.refusal = refusal
            reader, writer = await asyncio.open_connection(*envoy.url.removeprefix("http://").split(":"))
            writer.write(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\n")
            async with asyncio.timeout(5):
                head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
            assert b"retry-after: 1\r\n" in head
            assert envoy.director.inbounds == []
            writer.close()
            await writer.wait_closed()
            envoy.director.refusal = None
            assert (await post(envoy))[0] == 200

    asyncio.run(scenario())


@pytest.mark.parametrize("mode", ["BUFFERED", "FULL_DUPLEX_STREAMED"])
def test_a_request_still_being_sent_when_the_grace_ends_is_told_503(gateway, soon, mode):
    async def scenario():
        async with gateway(request_body_mode=mode, request_trailer_mode="SEND") as envoy:
            reader, writer = await asyncio.open_connection(*envoy.url.removeprefix("http://").split(":"))
            writer.write(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\nbegin")
            await soon(lambda: envoy.server.open_streams == 1)
            await envoy.server.shutdown(0)
            assert await reader.readline() == b"HTTP/1.1 503 Service Unavailable\r\n"
            writer.close()
            await writer.wait_closed()

    asyncio.run(scenario())


def test_a_second_shutdown_may_shorten_the_first(gateway, soon):
    async def scenario():
        async with gateway() as envoy:
            envoy.director.first = envoy.director.held
            posting = asyncio.ensure_future(post(envoy))
            await envoy.director.asked.wait()
            patient = asyncio.ensure_future(envoy.server.shutdown())
            await asyncio.sleep(0)
            await asyncio.wait_for(envoy.server.shutdown(0), 5)
            await asyncio.wait_for(patient, 5)
            assert (await posting)[0] == 503

    asyncio.run(scenario())


def test_an_envoy_that_vanishes_gives_its_slots_back(gateway, wiring, tmp_path, soon):
    async def scenario():
        async with gateway() as envoy:
            response = await start_streaming(envoy)
            envoy.director.first = envoy.director.held
            held = asyncio.ensure_future(post(envoy))
            await soon(lambda: len(envoy.director.inbounds) == 2)
            slot = await envoy.director.slot()
            envoy.kill()
            async with asyncio.timeout(2):
                await slot.closed.wait()
            await soon(lambda: len(envoy.director.cancelled_at) == 1)
            response.close()
            with pytest.raises(aiohttp.ClientError):
                await held

    asyncio.run(scenario())
