"""Clients: keep-alive connections, each with one request at a time."""

import asyncio
from functools import partial
from statistics import median
from typing import Any

import attrs

__all__ = ["Taken", "Wrong", "run_load"]

_REQUEST = (
    b"POST /v1/completions HTTP/1.1\r\nhost: models\r\ncontent-type: application/json\r\n"
    b"x-gateway-inference-fairness-id: tenant-%d\r\ncontent-length: 2\r\n\r\n{}"
)
_HEAD_END = b"\r\n\r\n"
_LENGTH = b"content-length: "
_TENANTS = 10
_PATIENCE = 60.0


class Wrong(Exception):  # noqa: N818 - what is so, not what went wrong
    """Raised when a request is not answered with 200."""


@attrs.frozen
class Taken:
    """What a round took.

    Attributes:
        seconds: From the first request to the last answer.
        median: The median of the requests' times, in seconds.
        slow: The time that one request in a hundred exceeds, in seconds.
    """

    seconds: float
    median: float
    slow: float


class _Client(asyncio.Protocol):
    """Sends the next request when the answer to the one before is whole."""

    def __init__(self, number: int, round_: "_Round") -> None:
        self._request = _REQUEST % (number % _TENANTS)
        self._round = round_
        self._buffer = b""
        self._sent_at = 0.0
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def send(self) -> None:
        """Send a request, if there is one left to send."""
        if self._round.left:
            self._round.left -= 1
            self._sent_at = self._round.time()
            self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer = self._buffer + data
        head = buffer.find(_HEAD_END)
        if head < 0:
            return
        at = buffer.find(_LENGTH, 0, head)
        length = int(buffer[at + len(_LENGTH) : buffer.find(b"\r\n", at)]) if at >= 0 else 0
        if len(buffer) < head + len(_HEAD_END) + length:
            return
        if not buffer.startswith(b"HTTP/1.1 200 "):
            self._round.fail(Wrong(buffer.decode(errors="replace")))
            return
        self._buffer = b""
        self._round.answered(self._round.time() - self._sent_at)
        self.send()

    def connection_lost(self, error: Exception | None) -> None:
        self._round.fail(error or Wrong("the connection was closed"))

    def close(self) -> None:
        """Close the connection."""
        self._transport.abort()


class _Round:
    """Counts the requests of all clients."""

    def __init__(self, requests: int) -> None:
        loop = asyncio.get_running_loop()
        self.time = loop.time
        self.left = requests
        self.times: list[float] = []
        self._requests = requests
        self.done: asyncio.Future[None] = loop.create_future()

    def answered(self, seconds: float) -> None:
        self.times.append(seconds)
        if len(self.times) == self._requests and not self.done.done():
            self.done.set_result(None)

    def fail(self, error: Exception) -> None:
        if not self.done.done():
            self.done.set_exception(error)


async def run_load(port: int, requests: int, connections: int) -> Taken:
    """Send requests over connections made beforehand.

    Raises:
        Wrong: One is not answered, or not with 200.
    """
    loop, round_ = asyncio.get_running_loop(), _Round(requests)
    clients = []
    for number in range(connections):
        _, client = await loop.create_connection(partial(_Client, number, round_), "127.0.0.1", port)
        clients.append(client)
    began = loop.time()
    for client in clients:
        client.send()
    try:
        async with asyncio.timeout(_PATIENCE):
            await round_.done
    finally:
        seconds = loop.time() - began
        for client in clients:
            client.close()
    times = sorted(round_.times)
    return Taken(seconds, median(times), times[len(times) * 99 // 100])
