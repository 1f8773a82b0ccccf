"""The client's side of one HTTP request: what it sends, and whether it is still there."""

from collections.abc import Callable

import anyio

from flowgate_asgi._types import Message, Receive

__all__ = ["Client"]

_AHEAD = 16
"""Messages read ahead of the application: with them a hang-up is seen while nobody reads. Servers cut bodies into
messages of 64 KiB or so, and feel the pressure of what is not read."""


class Client:
    """Reads what a client sends, ahead of whoever wants it, so that its hang-up is noticed meanwhile.

    Args:
        receive: The server's.
    """

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._put, self._take = anyio.create_memory_object_stream[Message](_AHEAD)
        self._on_hang_up: Callable[[], None] | None = None
        self.has_hung_up = False

    def call_when_gone(self, callback: Callable[[], None]) -> None:
        """Call this when the client hangs up, and nothing that was to be called before; at once if it has already."""
        self._on_hang_up = callback
        if self.has_hung_up:
            callback()

    async def listen(self) -> None:
        """Read on until the client hangs up."""
        while (message := await self._receive())["type"] != "http.disconnect":
            await self._put.send(message)
        self._put.close()
        self.has_hung_up = True
        if self._on_hang_up is not None:
            self._on_hang_up()

    async def receive(self) -> Message:
        """Give the application the next message: ASGI's `receive`."""
        try:
            return await self._take.receive()
        except anyio.EndOfStream:
            return {"type": "http.disconnect"}

    def close(self) -> None:
        """Drop what nobody read."""
        self._put.close()
        self._take.close()
