"""A way to a server that can break in each of the ways in which networks break."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable
from types import TracebackType
from typing import Self

__all__ = ["FaultyPath"]

_READ = 2**16
# SO_LINGER of 0 s: closing sends RST.
_NO_LINGER = struct.pack("ii", 1, 0)

_End = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class FaultyPath:
    """A TCP relay on a free port of loopback.

    Attributes:
        port: Where it listens.
    """

    def __init__(self, target_port: int, *, port: int = 0) -> None:
        """Prepare a relay.

        Args:
            target_port: Where what comes is passed on to, on loopback.
            port: Where to listen; 0 for a free one.
        """
        self.port = port
        self._target_port = target_port
        self._server: asyncio.Server | None = None
        self._swallows = False
        self._is_open = True
        self._connections: set[_Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        """Listen."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End all connections, and listen no more."""
        assert self._server is not None
        self._server.close()
        while self._tasks:
            self.reset()
            await asyncio.wait(self._tasks)
        await self._server.wait_closed()

    @property
    def connections(self) -> int:
        """How many connections there are."""
        return len(self._connections)

    def cut(self) -> None:
        """Close all connections, both ways, as a peer that ends in order does (FIN)."""
        for connection in tuple(self._connections):
            connection.close()

    def reset(self) -> None:
        """Abort all connections, both ways, as a peer that is gone does (RST)."""
        for connection in tuple(self._connections):
            connection.reset()

    def blackhole(self, *, accept: bool = True) -> None:
        """Swallow all that comes, both ways, without a word; connections stay.

        Args:
            accept: Whether new connections are taken, to be swallowed too; otherwise each is reset.
        """
        self._swallows = True
        self._is_open = accept

    def heal(self) -> None:
        """Pass on again what comes; a connection that has lost something stays silent for ever."""
        self._swallows = False
        self._is_open = True

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self._is_open:
            _reset(writer)
            return
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._relay(reader, writer)
        finally:
            self._tasks.discard(task)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            target = await asyncio.open_connection("127.0.0.1", self._target_port)
        except OSError:
            _reset(writer)
            return
        connection = _Connection((reader, writer), target, lambda: self._swallows)
        self._connections.add(connection)
        try:
            await connection.run()
        finally:
            self._connections.discard(connection)


class _Connection:
    """Two ends, and what passes between them."""

    def __init__(self, client: _End, target: _End, swallows: Callable[[], bool]) -> None:
        self._client = client
        self._target = target
        self._swallows = swallows
        self._has_lost = False

    async def run(self) -> None:
        """Pass on, until both ends have said all."""
        (from_client, to_client), (from_target, to_target) = self._client, self._target
        try:
            await asyncio.gather(self._pass(from_client, to_target), self._pass(from_target, to_client))
        finally:
            self.close()

    def close(self) -> None:
        for _, writer in (self._client, self._target):
            writer.close()

    def reset(self) -> None:
        for _, writer in (self._client, self._target):
            _reset(writer)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(_READ):
                if not self._loses():
                    writer.write(data)
                    await writer.drain()
            if not self._loses() and not writer.is_closing():
                writer.write_eof()
        except OSError:
            if not self._loses():
                self.reset()

    def _loses(self) -> bool:
        # What comes after lost bytes would make no sense.
        self._has_lost = self._has_lost or self._swallows()
        return self._has_lost


def _reset(writer: asyncio.StreamWriter) -> None:
    end: socket.socket = writer.get_extra_info("socket")
    with contextlib.suppress(OSError):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
    writer.transport.abort()
