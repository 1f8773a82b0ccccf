"""The life of the process: the controller is entered before the first request, and drained after the last."""

from flowgate import FlowController
from flowgate_asgi._types import Application, Message, Receive, Scope, Send

__all__ = ["run_lifespan"]


async def run_lifespan(
    app: Application, controller: FlowController, drain: float, scope: Scope, receive: Receive, send: Send
) -> None:
    """Enter the controller around the application's own lifespan; an application without one is spoken for."""
    events = _Events(controller, drain, receive, send)
    async with controller:
        try:
            await app(scope, events.receive, events.send)
        except Exception:
            if events.is_answered:
                raise  # it has a lifespan, and that failed
        if not events.is_answered:
            await events.answer_both()


class _Events:
    """The server's lifespan events on their way to the application."""

    def __init__(self, controller: FlowController, drain: float, receive: Receive, send: Send) -> None:
        self._controller = controller
        self._drain = drain
        self._receive = receive
        self._send = send
        self._is_begun = False
        self.is_answered = False

    async def receive(self) -> Message:
        message = await self._receive()
        self._is_begun = True
        if message["type"] == "lifespan.shutdown":
            # What waits may still use what the application opened, so it goes first.
            await self._controller.drain(self._drain)
        return message

    async def send(self, message: Message) -> None:
        self.is_answered = True
        await self._send(message)

    async def answer_both(self) -> None:
        if not self._is_begun:
            await self.receive()
        await self._send({"type": "lifespan.startup.complete"})
        await self.receive()
        await self._send({"type": "lifespan.shutdown.complete"})
