"""The server: its routes, its start and its end."""

import asyncio
import contextlib
import json
import socket
import time
from typing import Self

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

from fake_vllm._completions import Completions, refusal
from fake_vllm._engine import Engine
from fake_vllm._faults import Fault, Faults
from fake_vllm._meters import Meters
from fake_vllm._settings import FakeVllmSettings

__all__ = ["FakeVllm"]

_MOST_BODY = 64 * 2**20  # bytes
_BACKLOG = 4_096
_AT_ONCE = 0.001  # seconds; aiohttp takes 0 for no limit


class FakeVllm:
    """A model server that listens while its context lasts; asyncio only.

    Entering takes the start-up delay: the port is taken at once, and refuses connections until the delay is over.
    Leaving cuts what is still running, as a killed pod does; `drain` first lets it finish.

    Args:
        settings: How big and how fast it is. The default listens on a free port.
    """

    def __init__(self, settings: FakeVllmSettings | None = None) -> None:
        self.settings = settings or FakeVllmSettings(port=0)
        self._engine = Engine(self.settings.slots, self.settings.kv_blocks, self.settings.max_waiting)
        self._faults = Faults(self.settings.seed)
        self._meters = Meters(self.settings, self._engine)
        self._completions = Completions(self.settings, self._engine, self._faults, self._meters)
        self._runner = web.AppRunner(self._app(), access_log=None, handler_cancellation=True, shutdown_timeout=_AT_ONCE)
        self._site: web.SockSite | None = None
        self._port = self.settings.port
        self._made_at = int(time.time())

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        family = socket.AF_INET6 if ":" in self.settings.host else socket.AF_INET
        bound = socket.socket(family, socket.SOCK_STREAM)
        try:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind((self.settings.host, self.settings.port))
            self._port = bound.getsockname()[1]
            await asyncio.sleep(self.settings.startup_delay)
            self._site = web.SockSite(self._runner, bound, backlog=_BACKLOG)
            await self._site.start()
        except BaseException:
            bound.close()
            await self._runner.cleanup()
            raise
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self._runner.cleanup()

    async def drain(self) -> None:
        """Take no more connections and requests, and wait for those that are here, for `grace` seconds at most."""
        if self._site is not None:
            await self._site.stop()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.settings.grace):
                await self._completions.drain()

    @property
    def is_listening(self) -> bool:
        """Whether its start-up delay is over."""
        return self._site is not None

    @property
    def port(self) -> int:
        """The port that it has, or will have when its start-up delay is over."""
        return self._port

    @property
    def address(self) -> str:
        """``host:port``, with brackets around an IPv6 host."""
        host = self.settings.host
        return f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """Where it is, without a slash at the end."""
        return f"http://{self.address}"

    def fail(self, fault: Fault) -> None:
        """Put a fault in force, as ``POST /faults`` does."""
        self._faults.set(fault)

    def counts(self) -> dict[str, int]:
        """Return what it has counted, by name.

        Requests ``served``, ``refused`` and ``aborted``; sequences ``running`` and ``waiting`` now, and at most
        (``most_running``, ``most_waiting``).
        """
        completions, engine = self._completions, self._engine
        return {
            "served": completions.served,
            "refused": completions.refused,
            "aborted": completions.aborted,
            "running": engine.running,
            "waiting": engine.waiting,
            "most_running": engine.most_running,
            "most_waiting": engine.most_waiting,
        }

    def _app(self) -> web.Application:
        app = web.Application(client_max_size=_MOST_BODY)
        app.add_routes(
            [
                web.post("/v1/completions", self._completions.completion),
                web.post("/v1/chat/completions", self._completions.chat),
                web.get("/v1/models", self._models),
                web.get("/health", self._health),
                web.get("/metrics", self._metrics),
                web.get("/faults", self._list_faults),
                web.post("/faults", self._set_fault),
            ]
        )
        app.on_response_prepare.append(self._sign)
        return app

    async def _sign(self, request: web.Request, response: web.StreamResponse) -> None:
        response.headers["x-served-by"] = self.settings.name or self.address
        if request_id := request.headers.get("x-request-id"):
            response.headers["x-request-id"] = request_id

    async def _models(self, _request: web.Request) -> web.Response:
        model = {"id": self.settings.model, "object": "model", "created": self._made_at, "owned_by": "vllm"}
        return web.json_response({"object": "list", "data": [model]})

    async def _health(self, _request: web.Request) -> web.Response:
        return web.Response(status=503 if self._completions.is_stopping else 200)

    async def _metrics(self, _request: web.Request) -> web.Response:
        if fault := self._faults.strike("slow-metrics"):
            await asyncio.sleep(fault.seconds or 0.0)
        return web.Response(body=self._meters.text(), headers={"content-type": CONTENT_TYPE_LATEST})

    async def _list_faults(self, _request: web.Request) -> web.Response:
        return web.json_response(self._faults.in_force())

    async def _set_fault(self, request: web.Request) -> web.Response:
        try:
            self._faults.set(Fault.read(json.loads(await request.read())))
        except (TypeError, ValueError) as error:
            return refusal(400, str(error))
        return web.json_response(self._faults.in_force())
