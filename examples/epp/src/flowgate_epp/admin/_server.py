"""The admin server: probes, metrics, and the page with its events and explanations."""

import asyncio
import json
from collections.abc import Callable, Sequence
from contextlib import suppress

from aiohttp import web

from flowgate import Explanation
from flowgate_epp.admin._board import Board
from flowgate_epp.admin._feed import Feed
from flowgate_epp.admin._page import PAGE_HEADERS, page_routes
from flowgate_epp.admin._settings import AdminSettings
from flowgate_epp.telemetry import CONTENT_TYPE

__all__ = ["AdminServer"]

_SECONDS_TO_WRITE = 30.0  # a watcher that takes longer for one frame is gone
_SECONDS_TO_STOP = 1.0
_LONGEST = 120
_encode = json.JSONEncoder(separators=(",", ":")).encode

Reasons = Callable[[], Sequence[str]]
Explain = Callable[[str], Sequence[Explanation]]


def _know_nothing(_request_id: str) -> Sequence[Explanation]:
    return ()


class AdminServer:
    """Answers operators, probes and scrapers over HTTP.

    Args:
        board: Draws what the page shows.
        metrics: Writes the metrics as text, as `Exposition.render` does.
        not_ready: Says why the program is not ready, a sentence each; nothing when it is.
        settings: Where it listens, and what it shows.
        explain: Says of an id why its requests wait, or how they went, as `FlowController.explain` does.
    """

    def __init__(
        self,
        board: Board,
        metrics: Callable[[], bytes],
        not_ready: Reasons,
        settings: AdminSettings | None = None,
        *,
        explain: Explain = _know_nothing,
    ) -> None:
        self._settings = AdminSettings() if settings is None else settings
        self._board = board
        self._metrics = metrics
        self._not_ready = not_ready
        self._explain = explain
        self._runner: web.AppRunner | None = None
        self.feed: Feed = Feed(self._frame, self._settings.interval)

    @property
    def port(self) -> int:
        """The port it listens on.

        Raises:
            RuntimeError: It was not started.
        """
        if self._runner is None:
            raise RuntimeError("the admin server was not started")
        port: int = self._runner.addresses[0][1]
        return port

    async def start(self) -> None:
        """Begin to listen.

        Raises:
            OSError: The address is taken, or is none of this machine's.
        """
        app = web.Application()
        app.add_routes(
            [
                web.get("/healthz", self._healthz),
                web.get("/readyz", self._readyz),
                web.get("/metrics", self._tell_metrics),
            ]
        )
        if self._settings.page:
            app.add_routes(page_routes())
            for path, answer in (("/state", self._state), ("/events", self._events), ("/explain", self._tell_why)):
                app.add_routes([web.get(path, answer)])
        runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=_SECONDS_TO_STOP)
        await runner.setup()
        try:
            await web.TCPSite(runner, self._settings.host, self._settings.port).start()
        except OSError as error:
            await runner.cleanup()
            address = f"{self._settings.host}:{self._settings.port}"
            raise OSError(error.errno, f"admin: {address} cannot be listened at: {error.strerror}") from error
        except BaseException:
            await runner.cleanup()
            raise
        self._runner = runner

    async def stop(self) -> None:
        """Close every connection, those of watched pages at once. Nothing happens if it does not run."""
        self.feed.close()
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    # -- for probes and scrapers

    async def _healthz(self, _request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _readyz(self, _request: web.Request) -> web.Response:
        reasons = list(self._not_ready())
        return web.json_response({"ready": not reasons, "reasons": reasons}, status=503 if reasons else 200)

    async def _tell_metrics(self, _request: web.Request) -> web.Response:
        return web.Response(body=self._metrics(), headers={"Content-Type": CONTENT_TYPE})

    # -- for the page

    def _picture(self) -> str:
        reasons = list(self._not_ready())
        return _encode({"ready": not reasons, "reasons": reasons, **self._board.picture()})

    def _frame(self) -> bytes:
        return f"data: {self._picture()}\n\n".encode()

    async def _state(self, _request: web.Request) -> web.Response:
        return web.Response(text=self._picture(), content_type="application/json", headers=PAGE_HEADERS)

    async def _tell_why(self, request: web.Request) -> web.Response:
        request_id = request.query.get("request_id")
        if request_id is None:
            return _json({"error": "no request is named: ask for /explain?request_id=ID"}, 400)
        told = self._explain(request_id)
        if not told:
            error = f"no request {request_id[:_LONGEST]!r} waits, and none is among those that left lately"
            return _json({"error": error}, 404)
        explanations = [{**each.as_dict(), "text": each.text()} for each in told]
        return _json({"request_id": request_id, "explanations": explanations}, 200)

    async def _events(self, request: web.Request) -> web.StreamResponse:
        if self.feed.watchers >= self._settings.max_watchers:
            return web.Response(status=503, text="too many pages are watched already\n")
        response = web.StreamResponse(headers={**PAGE_HEADERS, "Content-Type": "text/event-stream"})
        with self.feed.watch() as watch, suppress(ConnectionError):
            await response.prepare(request)
            await response.write(b"retry: 1000\n\n")
            while (frame := await watch.next()) is not None:
                try:
                    async with asyncio.timeout(_SECONDS_TO_WRITE):
                        await response.write(frame)
                except TimeoutError:
                    _hang_up(request)
                    break
        return response


def _json(content: object, status: int) -> web.Response:
    return web.Response(text=_encode(content), status=status, content_type="application/json", headers=PAGE_HEADERS)


def _hang_up(request: web.Request) -> None:
    """Drop a connection with all that it has still to send, which whoever does not read would keep for ever."""
    if request.transport is not None:
        request.transport.abort()
