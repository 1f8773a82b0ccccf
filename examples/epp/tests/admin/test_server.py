"""Probes, metrics, state and events over HTTP."""

import asyncio
import json
import socket
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, suppress

import aiohttp
import attrs
import pytest

from flowgate import Request
from flowgate.configfile import ConfigError, load_record
from flowgate_epp.admin import AdminServer, AdminSettings

Scenes = Callable[..., AbstractAsyncContextManager]
LOCAL = AdminSettings(host="127.0.0.1", port=0, interval=0.02)
pytestmark = pytest.mark.anyio


async def next_picture(events: aiohttp.ClientResponse) -> dict[str, object]:
    async with asyncio.timeout(20):
        while not (line := await events.content.readline()).startswith(b"data: "):
            assert line, "the events have ended"
    return dict(json.loads(line[6:]))


async def test_a_probe_hears_that_the_loop_runs(scene: Scenes) -> None:
    async with scene() as here:
        response = await here.get("/healthz")
        assert (response.status, await response.text()) == (200, "ok\n")


async def test_readiness_is_told_with_its_reasons(scene: Scenes) -> None:
    async with scene() as here:
        ready = await here.get("/readyz")
        assert (ready.status, await ready.json()) == (200, {"ready": True, "reasons": []})
        here.reasons.append("the pods are not known yet")
        unready = await here.get("/readyz")
        assert (unready.status, await unready.json()) == (
            503,
            {"ready": False, "reasons": ["the pods are not known yet"]},
        )


async def test_metrics_are_text_that_prometheus_reads(scene: Scenes) -> None:
    async with scene() as here:
        for _ in range(3):
            await here.callers.start(Request("a", 10))
        response = await here.get("/metrics")
        assert response.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        assert await here.metric("flowgate_queue_size", flow="a", priority="10") == 3


async def test_state_metrics_and_controller_say_the_same(scene: Scenes) -> None:
    async with scene(pods=2) as here:
        for flow, priority in [("a", 10), ("a", 10), ("b", 0), ("b", 0), ("c", 0), ("d", -5)]:
            await here.callers.start(Request(flow, priority))
        here.decide(1, status=503, reason="no-pods")
        state, stats = await (await here.get("/state")).json(), here.controller.stats()
        assert state["queued"] == stats.queued_requests == await here.metric("flowgate_queue_size") == 2
        assert state["in_flight"] == stats.in_flight == await here.metric("flowgate_in_flight_requests") == 4
        assert state["saturation"] == await here.metric("flowgate_pool_saturation") == 1
        assert state["dropped"] == await here.metric("flowgate_drops_total") == 1
        assert state["pod_count"] == await here.metric("flowgate_pods") == 2
        for band in state["bands"]:
            assert band["queued"] == await here.metric("flowgate_queue_size", priority=str(band["priority"]))
        for outcome, count in state["outcomes"].items():
            assert count == await here.metric("flowgate_requests_total", outcome=outcome)


async def test_events_tell_the_newest_picture_again_and_again(scene: Scenes) -> None:
    async with scene() as here, here.client.get(here.url + "/events") as events:
        assert events.headers["Content-Type"] == "text/event-stream"
        assert (await events.content.readline()).startswith(b"retry: ")
        assert (await next_picture(events))["queued"] == 0
        await here.callers.start(Request("a"))
        async with asyncio.timeout(20):
            while (await next_picture(events))["queued"] != 1:
                pass


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.005)


async def test_nothing_is_drawn_while_nobody_watches(scene: Scenes) -> None:
    async with scene() as here:
        feed = here.server.feed
        assert not feed.is_ticking
        async with here.client.get(here.url + "/events") as first, here.client.get(here.url + "/events") as second:
            await next_picture(first)
            await next_picture(second)
            assert (feed.watchers, feed.is_ticking) == (2, True)
        await until(lambda: not feed.watchers)
        assert not feed.is_ticking
        async with here.client.get(here.url + "/events") as again:
            await next_picture(again)
            await next_picture(again)


async def test_all_pages_share_one_picture_a_tick(scene: Scenes) -> None:
    async with scene(attrs.evolve(LOCAL, interval=0.2)) as here:
        pages = [await here.client.get(here.url + "/events") for _ in range(20)]
        for _ in range(3):
            await asyncio.gather(*map(next_picture, pages))
        assert here.server.feed.drawn <= 6
        for page in pages:
            page.close()


async def test_a_page_that_does_not_read_costs_no_memory_and_holds_nobody_up(scene: Scenes) -> None:
    async with scene(attrs.evolve(LOCAL, interval=0.001)) as here:
        for number in range(60):
            here.decide(number, flow_id="f" * 100)
        with socket.create_connection(("127.0.0.1", here.server.port)) as slow:
            slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
            slow.sendall(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n")
            await until(lambda: here.server.feed.drawn > 200)  # more than fits into any buffer
            async with here.client.get(here.url + "/events") as quick:
                drawn = here.server.feed.drawn
                for _ in range(5):
                    await next_picture(quick)
                assert here.server.feed.drawn > drawn
            transports = [each.transport for each in here.server._runner.server.connections]
            assert max(transport.get_write_buffer_size() for transport in transports if transport) < 200_000


async def test_one_page_too_many_is_told_so_and_others_go_on(scene: Scenes) -> None:
    async with scene(attrs.evolve(LOCAL, max_watchers=1)) as here, here.client.get(here.url + "/events") as first:
        await next_picture(first)
        assert (await here.get("/events")).status == 503
        await next_picture(first)


async def test_stopping_ends_watched_pages_at_once(scene: Scenes) -> None:
    async with scene() as here, here.client.get(here.url + "/events") as events:
        await next_picture(events)
        loop = asyncio.get_running_loop()
        began = loop.time()
        await here.server.stop()
        await events.content.read()
        assert loop.time() - began < 1.0
        await here.server.stop()  # once more does no harm
        with pytest.raises(aiohttp.ClientConnectionError):
            await here.client.get(f"http://127.0.0.1:{events.url.port}/healthz")


async def test_a_picture_that_cannot_be_drawn_is_not_the_last(scene: Scenes, caplog: pytest.LogCaptureFixture) -> None:
    async with scene() as here, here.client.get(here.url + "/events") as events:
        await next_picture(events)
        errors: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(context["exception"]))
        here.reasons.append(object())  # JSON has no word for it
        await until(lambda: bool(errors))
        here.reasons.clear()
        await next_picture(events)
        await next_picture(events)


async def test_the_page_s_files_come_with_headers_that_keep_it_to_them(scene: Scenes) -> None:
    async with scene() as here:
        for path, kind in [
            ("/", "text/html"),
            ("/page.css", "text/css"),
            ("/page.js", "text/javascript"),
            ("/icon.svg", "image/svg+xml"),
        ]:
            response = await here.get(path)
            assert (response.status, response.content_type) == (200, kind)
            policy = response.headers["Content-Security-Policy"]
            assert "default-src 'none'" in policy
            assert "unsafe" not in policy
            assert "//" not in (await response.text()).replace("http://www.w3.org/2000/svg", "").replace("// ", "")


async def test_without_the_page_probes_and_metrics_stay(scene: Scenes) -> None:
    async with scene(attrs.evolve(LOCAL, page=False)) as here:
        statuses = [(await here.get(path)).status for path in ("/", "/state", "/events", "/healthz", "/metrics")]
        assert statuses == [404, 404, 404, 200, 200]


async def test_a_port_that_is_taken_is_an_error_that_leaves_nothing_behind(scene: Scenes) -> None:
    async with scene() as here:
        second = AdminServer(here.board, bytes, list, AdminSettings(host="127.0.0.1", port=here.server.port))
        with pytest.raises(OSError, match="address already in use"):
            await second.start()
        with pytest.raises(RuntimeError, match="was not started"):
            _ = second.port


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"port": 65_536}, "port: must lie in 0..65535, not 65536"),
        ({"port": -1}, "port: must be 0 or more, not -1"),
        ({"interval": 0}, "interval: must be more than 0 seconds, not 0"),
    ],
)
async def test_what_is_wrong_in_settings_is_told(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        load_record(AdminSettings, wrong)
    assert message in str(error.value)


async def test_who_does_not_read_loses_its_connection(scene: Scenes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not its place alone: what it was sent would be kept for ever."""
    monkeypatch.setattr("flowgate_epp.admin._server._SECONDS_TO_WRITE", 0.1)
    async with scene(attrs.evolve(LOCAL, interval=0.001)) as here:
        for number in range(60):
            here.decide(number, flow_id="x" * 128, model="y" * 128)
        reader, writer = await asyncio.open_connection("127.0.0.1", here.server.port, limit=1)
        writer.write(b"GET /events HTTP/1.1\r\nHost: here\r\n\r\n")
        await until(lambda: here.server.feed.watchers == 1)
        await until(lambda: here.server.feed.watchers == 0)
        async with asyncio.timeout(20):
            received = b""
            with suppress(ConnectionError):
                received = await reader.read()
        assert not received.endswith(b"0\r\n\r\n"), "all that was left was sent after all"
        writer.close()


async def test_who_cannot_be_shown_the_first_picture_sets_nothing_going(scene: Scenes) -> None:
    async with scene() as here:
        here.reasons.append(object())  # JSON has no word for it
        for _ in range(3):
            assert (await here.get("/events")).status == 500
        assert (here.server.feed.watchers, here.server.feed.is_ticking) == (0, False)
        here.reasons.clear()
        async with here.client.get(here.url + "/events") as events:
            await next_picture(events)


async def test_a_request_is_explained_while_it_waits_and_after_it_went(scene: Scenes) -> None:
    """As JSON, with the text that people read; all that share an id."""
    async with scene() as here:
        for flow in ("a", "b"):
            await here.callers.start(Request(flow, 10, request_id="r 1&2"))
        response = await here.get("/explain?request_id=r%201%262")
        told = await response.json()
        assert (response.status, told["request_id"]) == (200, "r 1&2")
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        first, second = told["explanations"]
        assert (first["state"], first["reason"], first["flow"], first["band"]) == ("waiting", "no-pods", "a", "premium")
        assert (second["flow"], second["place"], second["ahead"]) == ("b", 1, ["r 1&2"])
        assert first["text"].startswith("request r 1&2 has waited ")
        here.pool.add()
        await here.callers.finish()
        went = (await (await here.get("/explain?request_id=r%201%262")).json())["explanations"]
        assert [(each["state"], each["pod"]["name"]) for each in went] == [("dispatched", "pod-1")] * 2


@pytest.mark.parametrize("request_id", ["nobody", "", "%1b%5b31m%e2%80%ae" + "x" * 4_000])
async def test_a_request_that_is_not_known_is_told_in_a_sentence(scene: Scenes, request_id: str) -> None:
    """404, in JSON; what was asked for is quoted, escaped and cut."""
    async with scene() as here:
        response = await here.get(f"/explain?request_id={request_id}")
        error = (await response.json())["error"]
        assert response.status == 404
        assert error.startswith("no request '")
        assert error.endswith(" waits, and none is among those that left lately")
        assert error.isprintable()
        assert len(error) < 300


async def test_to_ask_for_no_request_is_a_mistake(scene: Scenes) -> None:
    """400, and how to ask."""
    async with scene() as here:
        response = await here.get("/explain")
        assert (response.status, await response.json()) == (
            400,
            {"error": "no request is named: ask for /explain?request_id=ID"},
        )


async def test_without_the_page_nobody_is_told_of_requests(scene: Scenes) -> None:
    """Explanations name flows, pods and other requests, as the page does."""
    async with scene(attrs.evolve(LOCAL, page=False)) as here:
        assert (await here.get("/explain?request_id=r")).status == 404


async def test_a_server_that_was_given_nothing_to_ask_knows_no_request(scene: Scenes) -> None:
    async with scene() as here:
        other = AdminServer(here.board, bytes, list, LOCAL)
        await other.start()
        async with here.client.get(f"http://127.0.0.1:{other.port}/explain?request_id=r") as response:
            assert response.status == 404
        await other.stop()
