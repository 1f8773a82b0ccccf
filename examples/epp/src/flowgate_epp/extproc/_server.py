"""The gRPC server: listens, tells its health, and stops without cutting anybody off."""

import asyncio
from typing import Any, Final

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from flowgate_epp.contracts import Decides
from flowgate_epp.extproc._exchange import Exchange
from flowgate_epp.extproc._listening import start_listening
from flowgate_epp.extproc._notices import Notices
from flowgate_epp.extproc._settings import ServerSettings
from flowgate_epp.extproc._stream import Stream

__all__ = ["ExtProcServer"]

_SERVICE: Final = "envoy.service.ext_proc.v3.ExternalProcessor"
_STREAMS: Final = 1_000_000
_PARTING: Final = 1.0
"""Seconds for what gRPC itself has to send after the last stream is done."""


class ExtProcServer:
    """Serves Envoy's external processing filter, one stream a request.

    Not ready at first: health says NOT_SERVING, for the whole server and for the service, until `set_serving`. Streams
    are served all the same.

    Args:
        decides: The director.
        settings: Where to listen, and the bounds.
    """

    def __init__(self, decides: Decides, settings: ServerSettings | None = None) -> None:
        self._decides = decides
        self._settings = settings or ServerSettings()
        self._notices = Notices()
        self._health = health.aio.HealthServicer()
        self._streams: set[Stream] = set()
        self._is_idle = asyncio.Event()
        self._is_stopping = False
        self._port = 0
        self._grpc: Any = None

    @property
    def port(self) -> int:
        """The port that is listened at; 0 before `start`."""
        return self._port

    @property
    def open_streams(self) -> int:
        """How many streams are open now: requests held, and responses not yet ended."""
        return len(self._streams)

    async def start(self) -> None:
        """Listen.

        Raises:
            OSError: The address cannot be had.
            ValueError: The certificate's files cannot be used.
        """
        await self.set_serving(is_serving=False)
        server = grpc.aio.server(options=_options(self._settings))
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        method = grpc.stream_stream_rpc_method_handler(self._process)
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(_SERVICE, {"Process": method}),))
        self._port = await start_listening(server, self._settings, "server")
        self._grpc = server

    async def set_serving(self, *, is_serving: bool) -> None:
        """Tell whoever asks for our health; has no effect on the streams, and none at all once shutting down."""
        statuses = health_pb2.HealthCheckResponse
        for service in ("", _SERVICE):
            await self._health.set(service, statuses.SERVING if is_serving else statuses.NOT_SERVING)

    async def shutdown(self, grace: float | None = None) -> None:
        """Take no new streams, wait for those that are open, and dismiss what is left.

        A request that is still undecided when the grace ends is told 503; a response that still runs goes on without
        us. May be called again, with a shorter grace, while the first call waits.

        Args:
            grace: How long to wait, in seconds; None takes `ServerSettings.drain_timeout`.
        """
        await self._health.enter_graceful_shutdown()
        if self._grpc is None:
            return
        grace = self._settings.drain_timeout if grace is None else grace
        self._is_stopping = True
        stopping = asyncio.ensure_future(self._grpc.stop(grace + _PARTING))
        await self._drain(grace)
        for stream in self._streams:
            stream.dismiss()
        await self._drain(_PARTING)
        # Not before: what gRPC has still to send of a stream that is done would be lost.
        await self._grpc.stop(_PARTING)
        await stopping

    async def _drain(self, patience: float) -> None:
        if self._streams:
            try:
                await asyncio.wait_for(self._is_idle.wait(), patience)
            except TimeoutError:
                return

    async def _process(self, _messages: object, context: Any) -> None:
        settings = self._settings
        exchange = Exchange(settings.max_body_bytes, settings.metadata_namespaces, self._notices)
        stream = Stream(context, exchange, self._decides, self._notices)
        self._streams.add(stream)
        try:
            await stream.run()
        finally:
            self._streams.discard(stream)
            if self._is_stopping and not self._streams:
                self._is_idle.set()


def _options(settings: ServerSettings) -> list[tuple[str, int]]:
    milliseconds = max(1, round(settings.keepalive * 1000))
    return [
        # A burst is thousands of streams in one turn of the loop; gRPC would cancel those beyond a thousand.
        ("grpc.server.max_pending_requests", _STREAMS),
        ("grpc.server.max_pending_requests_hard_limit", _STREAMS),
        # A second process at the same port is a mistake, not a helper.
        ("grpc.so_reuseport", 0),
        # Envoy bounds what it buffers, and a longer body is to be told 413, which gRPC cannot do.
        ("grpc.max_receive_message_length", -1),
        ("grpc.keepalive_time_ms", milliseconds),
        ("grpc.keepalive_timeout_ms", milliseconds),
        ("grpc.keepalive_permit_without_calls", 1),
        # Envoy's own pings, however often, are no abuse.
        ("grpc.http2.min_ping_interval_without_data_ms", 1000),
        ("grpc.http2.max_ping_strikes", 0),
    ]
