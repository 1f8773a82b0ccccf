"""Many requests at once over one connection, each of which can be given up alone."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Self
from urllib.parse import urlsplit

import attrs
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    RemoteSettingsChanged,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
    WindowUpdated,
)

__all__ = ["Answer", "Broken", "Http2Connection", "Http2Request"]

_ROOM = 2**31 - 1 - 65_535


class Broken(Exception):  # noqa: N818 - what is so, not what went wrong
    """Raised when a request ends without an answer that is whole."""


@attrs.frozen
class Answer:
    """What came back.

    Attributes:
        status: The HTTP status.
        headers: By lower-case name; of one that came more than once the last.
        body: All of it.
        trailers: After the body.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    trailers: Mapping[str, str] = attrs.field(factory=dict)


class Http2Request:
    """One request under way.

    Args:
        connection: Where it was sent.
        stream: Its number there.
        body: What is still to be sent of its body.
        trailers: What is to be sent after that.
    """

    def __init__(self, connection: "Http2Connection", stream: int, body: bytes, trailers: Mapping[str, str]) -> None:
        self._connection = connection
        self._body = memoryview(body)
        self._trailers = trailers
        self._is_sent = False
        self._headers: dict[str, str] = {}
        self._received = bytearray()
        self._trailing: dict[str, str] = {}
        self._answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        # One that nobody waits for may well break.
        self._answer.add_done_callback(lambda done: done.cancelled() or done.exception())
        self.stream = stream

    @property
    def is_over(self) -> bool:
        """Whether it was answered, or broke."""
        return self._answer.done()

    async def answer(self) -> Answer:
        """Wait for the whole answer.

        Raises:
            Broken: The stream was reset, or the connection ended.
        """
        return await asyncio.shield(self._answer)

    def give_up(self) -> None:
        """Reset the stream, as a client does whose user has gone."""
        self.broke("given up")
        self._connection.reset(self.stream)

    def broke(self, why: str) -> None:
        """Hear that there will be no answer."""
        if not self._answer.done():
            self._answer.set_exception(Broken(why))

    def send(self, http: H2Connection) -> None:
        """Send as much as there is room for."""
        while self._body and (room := min(http.local_flow_control_window(self.stream), http.max_outbound_frame_size)):
            http.send_data(self.stream, self._body[:room].tobytes())
            self._body = self._body[room:]
        if self._body or self._is_sent:
            return
        self._is_sent = True
        if self._trailers:
            http.send_headers(self.stream, list(self._trailers.items()), end_stream=True)
        else:
            http.end_stream(self.stream)

    def heard(self, event: Event) -> None:
        """Take what concerns this stream."""
        match event:
            case ResponseReceived():
                self._headers.update(_text(event.headers))
            case DataReceived():
                self._received += event.data
            case TrailersReceived():
                self._trailing.update(_text(event.headers))
            case StreamEnded() if not self._answer.done():
                status = int(self._headers.get(":status", 0))
                self._answer.set_result(Answer(status, self._headers, bytes(self._received), self._trailing))
            case StreamReset():
                self.broke(f"reset with {event.error_code!r}")
            case _:
                pass


class Http2Connection(asyncio.Protocol):
    """One connection without TLS, by prior knowledge.

    Use `connect`. As a context manager it closes itself; requests that are under way break then.
    """

    def __init__(self, authority: str) -> None:
        self._authority = authority
        self._http = H2Connection(
            H2Configuration(client_side=True, header_encoding=None, validate_outbound_headers=False)
        )
        self._requests: dict[int, Http2Request] = {}
        self._transport: asyncio.Transport | None = None
        self._settled = asyncio.Event()

    @classmethod
    async def connect(cls, url: str) -> Self:
        """Connect to a server.

        Raises:
            OSError: Nobody listens there.
        """
        parts = urlsplit(url)
        loop = asyncio.get_running_loop()
        host, port = parts.hostname or "127.0.0.1", parts.port or 80
        _, connection = await loop.create_connection(lambda: cls(parts.netloc), host, port)
        await connection._settled.wait()
        return connection

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_error: object) -> None:
        self.close()

    @property
    def room(self) -> int:
        """How many more requests the server takes on this connection."""
        return self._http.remote_settings.max_concurrent_streams - self._http.open_outbound_streams

    def post(
        self,
        path: str,
        body: bytes,
        headers: Sequence[tuple[str | bytes, str | bytes]] = (),
        *,
        trailers: Mapping[str, str] | None = None,
    ) -> Http2Request:
        """Send a request, and do not wait for its answer."""
        stream = self._http.get_next_available_stream_id()
        pseudo = [(":method", "POST"), (":scheme", "http"), (":authority", self._authority), (":path", path)]
        self._http.send_headers(stream, [*pseudo, ("content-type", "application/json"), *headers])
        request = self._requests[stream] = Http2Request(self, stream, body, trailers or {})
        request.send(self._http)
        self._flush()
        return request

    def reset(self, stream: int) -> None:
        """Give up on a stream."""
        if self._requests.pop(stream, None) is not None:
            self._http.reset_stream(stream, ErrorCodes.CANCEL)
            self._flush()

    def close(self) -> None:
        """Close the connection, without a word."""
        if self._transport is not None:
            self._transport.abort()

    # -- what asyncio tells

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet the server."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._http.initiate_connection()
        self._http.increment_flow_control_window(_ROOM)
        self._flush()

    def data_received(self, data: bytes) -> None:
        """Take what the server says."""
        for event in self._http.receive_data(data):
            if isinstance(event, RemoteSettingsChanged):
                self._settled.set()
            elif isinstance(event, ConnectionTerminated):
                self._break(f"the server has closed the connection: {event.error_code!r}")
            else:
                self._heard(event)
        self._flush()

    def connection_lost(self, error: Exception | None) -> None:
        """Tell all requests that nothing more will come."""
        self._settled.set()
        self._break(f"the connection was lost: {error}")

    def _heard(self, event: Event) -> None:
        stream: int = getattr(event, "stream_id", None) or 0  # 0: the connection itself
        if isinstance(event, WindowUpdated):
            for number, request in self._requests.items():
                if stream in {0, number}:
                    request.send(self._http)
            return
        found = self._requests.get(stream)
        if found is not None:
            found.heard(event)
            if isinstance(event, DataReceived) and event.flow_controlled_length:
                self._http.acknowledge_received_data(event.flow_controlled_length, stream)
            if found.is_over:
                del self._requests[stream]

    def _break(self, why: str) -> None:
        for request in self._requests.values():
            request.broke(why)
        self._requests.clear()

    def _flush(self) -> None:
        if self._transport is not None and (data := self._http.data_to_send()):
            self._transport.write(data)


def _text(headers: Sequence[tuple[bytes, bytes]]) -> dict[str, str]:
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in headers}
