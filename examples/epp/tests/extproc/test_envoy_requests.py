"""Requests through a real Envoy: each body mode, trailers, refusals, the picked endpoint."""

import asyncio
import io
import json
import os

import pytest

from flowgate_epp.contracts import Refusal

MEBIBYTE = 1 << 20


def test_a_request_goes_where_the_pick_says(gateway):
    async def scenario():
        async with gateway() as envoy:
            spoofed = {"x-gateway-destination-endpoint": "127.0.0.1:1"}
            for path in ("/by-header", "/by-metadata"):
                async with envoy.client.post(path, data=b"hello", headers=spoofed) as response:
                    assert (response.status, await response.read()) == (200, b"hello")
                    assert response.headers["x-seen-destination"] == envoy.upstream.endpoint
            inbound = envoy.director.inbounds[0]
            assert (inbound.headers[":path"], inbound.headers[":method"], inbound.body) == ("/by-header", "POST", None)

    asyncio.run(scenario())


def test_the_slot_hears_of_the_response_and_is_given_back_once(gateway):
    async def scenario():
        async with gateway() as envoy:
            async with envoy.client.get("/hello") as response:
                assert response.status == 200
            slot = await envoy.director.slot()
            await slot.closed.wait()
            envoy.director.endpoint = "127.0.0.1:1"
            async with envoy.client.get("/hello") as response:
                assert response.status == 503
            gone = await envoy.director.slot(1)
            await gone.closed.wait()
        assert slot.heard == [(200, None), True]
        assert gone.heard == [(503, None), True]

    asyncio.run(scenario())


def test_the_endpoint_served_is_read_back(gateway, wiring):
    rule = {
        "header": "x-seen-destination",
        "on_header_present": {"metadata_namespace": "envoy.lb", "key": "x-gateway-destination-endpoint-served"},
    }
    after = {
        "name": "served",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.header_to_metadata.v3.Config",
            "response_rules": [rule],
        },
    }

    async def scenario():
        async with gateway(wiring(after=(after,))) as envoy:
            async with envoy.client.get("/hello") as response:
                assert response.status == 200
            slot = await envoy.director.slot()
            assert slot.heard[0] == (200, envoy.upstream.endpoint)

    asyncio.run(scenario())


def test_the_subset_hint_arrives(gateway, wiring):
    key = "x-gateway-destination-endpoint-subset"
    value = {key: ["10.0.0.1:80", "10.0.0.2:80"], "nested": {"deep": True, "number": 1.5, "nothing": None}}
    before = {
        "name": "hint",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.set_metadata.v3.Config",
            "metadata": [{"metadata_namespace": "envoy.lb.subset_hint", "value": value}],
        },
    }

    async def scenario():
        async with gateway(wiring(before=(before,))) as envoy:
            async with envoy.client.get("/hello") as response:
                assert response.status == 200
            assert envoy.director.inbounds[0].metadata == {"envoy.lb.subset_hint": value}

    asyncio.run(scenario())


@pytest.mark.parametrize("mode", ["BUFFERED", "BUFFERED_PARTIAL", "FULL_DUPLEX_STREAMED"])
def test_the_body_is_shown_and_goes_on_unchanged(gateway, mode):
    trailers = {"request_trailer_mode": "SEND"} if mode == "FULL_DUPLEX_STREAMED" else {}
    sizes = [0, 2, 61_999, 62_000, 62_001, 900_000, *([3 * MEBIBYTE] if trailers else [])]

    async def scenario():
        async with gateway(request_body_mode=mode, **trailers) as envoy:
            for size in sizes:
                body = os.urandom(size)
                async with envoy.client.post("/echo", data=io.BytesIO(body)) as response:
                    assert (response.status, await response.read()) == (200, body)
                    assert response.headers["x-seen-destination"] == envoy.upstream.endpoint
                assert envoy.director.inbounds[-1].body == (body or None)
            async with envoy.client.get("/get") as response:
                assert response.status == 200
            assert envoy.director.inbounds[-1].body is None

    asyncio.run(scenario())


@pytest.mark.parametrize("mode", ["NONE", "BUFFERED", "BUFFERED_PARTIAL", "STREAMED", "FULL_DUPLEX_STREAMED"])
@pytest.mark.parametrize(("size", "has_empty_piece"), [(0, False), (0, True), (5, False), (300_000, False)])
def test_a_body_that_trailers_end_goes_on_unchanged(gateway, with_trailers, mode, size, has_empty_piece):
    async def scenario():
        async with gateway(request_body_mode=mode, request_trailer_mode="SEND") as envoy:
            body = os.urandom(size)
            # Where nothing but trailers comes, no answer can change the headers any more.
            path = "/by-metadata" if size == 0 else "/echo"
            answer = await with_trailers(envoy.url, path, body, has_empty_piece=has_empty_piece)
            assert (answer.status, answer.body) == (200, body)
            await (await envoy.director.slot()).closed.wait()
            seen = envoy.director.inbounds[0].body
            if mode in {"BUFFERED", "FULL_DUPLEX_STREAMED"}:
                assert seen == body

    asyncio.run(scenario())


def test_a_streamed_body_is_decided_at_its_headers(gateway):
    async def scenario():
        async with gateway(request_body_mode="STREAMED") as envoy:
            body = os.urandom(3 * MEBIBYTE)
            async with envoy.client.post("/echo", data=io.BytesIO(body)) as response:
                assert (response.status, await response.read()) == (200, body)
            assert envoy.director.inbounds[0].body is None

    asyncio.run(scenario())


def test_a_body_that_streams_while_the_request_is_held_waits_its_turn(gateway, wiring, soon):
    eager = wiring(ext_proc={"send_body_without_waiting_for_header_response": True})

    async def scenario():
        async with gateway(eager, request_body_mode="STREAMED", request_trailer_mode="SEND") as envoy:
            envoy.director.first = envoy.director.held
            body = os.urandom(200_000)
            posting = asyncio.ensure_future(envoy.client.post("/echo", data=io.BytesIO(body)))
            await envoy.director.asked.wait()
            envoy.director.let_go.set()
            async with await posting as response:
                assert (response.status, await response.read()) == (200, body)

    asyncio.run(scenario())


def test_a_long_body_partly_buffered_is_not_shown(gateway, wiring):
    async def scenario():
        async with gateway(request_body_mode="BUFFERED_PARTIAL") as envoy:
            body = os.urandom(3 * MEBIBYTE)
            async with envoy.client.post("/echo", data=io.BytesIO(body)) as response:
                assert (response.status, await response.read()) == (200, body)
            assert envoy.director.inbounds[0].body is None

    asyncio.run(scenario())


@pytest.mark.parametrize("mode", ["BUFFERED", "FULL_DUPLEX_STREAMED"])
def test_too_long_a_body_is_told_413(gateway, mode):
    async def scenario():
        settings = {"max_body_bytes": 100_000}
        async with gateway(request_body_mode=mode, request_trailer_mode="SEND", settings=settings) as envoy:
            async with envoy.client.post("/echo", data=bytes(100_000)) as response:
                assert response.status == 200
            async with envoy.client.post("/echo", data=bytes(100_001)) as response:
                assert (response.status, (await response.json())["error"]["code"]) == (413, "body-too-large")
            assert len(envoy.director.inbounds) == 1

    asyncio.run(scenario())


@pytest.mark.parametrize("mode", ["NONE", "BUFFERED", "FULL_DUPLEX_STREAMED"])
@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, "invalid_request_error"), (429, "rate_limit_error"), (499, "invalid_request_error"), (503, "server_error")],
)
def test_a_refusal_reaches_the_client(gateway, mode, status, kind):
    async def scenario():
        async def refuse(_inbound):
            return Refusal(status, "rejected-for-a-test", "It is a test: é.", {"retry-after": "7", "x-why": "test"})

        async with gateway(request_body_mode=mode, request_trailer_mode="SEND") as envoy:
            envoy.director.first = refuse
            async with envoy.client.post("/echo", data=b"{}") as response:
                assert response.status == status
                assert (response.headers["retry-after"], response.headers["x-why"]) == ("7", "test")
                assert response.headers["content-type"] == "application/json"
                error = {"message": "It is a test: é.", "type": kind, "code": "rejected-for-a-test"}
                assert json.loads(await response.read()) == {"error": error}

    asyncio.run(scenario())


@pytest.mark.parametrize("mode", ["NONE", "BUFFERED", "FULL_DUPLEX_STREAMED"])
def test_a_director_that_fails_fails_one_request(gateway, mode, caplog):
    async def scenario():
        async def fail(_inbound):
            raise RuntimeError("out of order")

        async with gateway(request_body_mode=mode, request_trailer_mode="SEND") as envoy:
            envoy.director.first = fail
            async with envoy.client.post("/echo", data=b"{}") as response:
                assert (response.status, (await response.json())["error"]["type"]) == (500, "server_error")
            envoy.director.first = None
            async with envoy.client.post("/echo", data=b"{}") as response:
                assert response.status == 200

    asyncio.run(scenario())
    assert "out of order" in caplog.text
