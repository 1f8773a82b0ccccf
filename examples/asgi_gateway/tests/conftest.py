"""What the tests share: one raw ASGI connection, and an application that does as it is told."""

from collections import deque
from collections.abc import Callable
from typing import Any

import anyio
import pytest


class Connection:
    """One HTTP request as a server sees it: a test sends its messages, hangs up, and reads what comes back."""

    def __init__(self, path: str = "/", headers: dict[str, str] | None = None, **scope: Any) -> None:
        raw = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
        self.scope: dict[str, Any] = {
            "type": "http",
            "method": "POST",
            "path": path,
            "query_string": b"",
            "headers": raw,
            **scope,
        }
        self.sent: list[dict[str, Any]] = []
        self._messages: deque[dict[str, Any]] = deque()
        self._news = anyio.Event()
        self.error: Exception | None = None
        self.is_over = False

    def say(self, body: bytes, *, more: bool = False) -> None:
        self._arrive({"type": "http.request", "body": body, "more_body": more})

    def hang_up(self) -> None:
        self._arrive({"type": "http.disconnect"})

    def _arrive(self, message: dict[str, Any]) -> None:
        self._messages.append(message)
        self._news.set()

    async def receive(self) -> dict[str, Any]:
        while not self._messages:
            self._news = anyio.Event()
            await self._news.wait()
        return self._messages.popleft()

    async def send(self, message: dict[str, Any]) -> None:
        self.sent.append(message)

    async def run(self, app: Callable[..., Any]) -> None:
        try:
            await app(self.scope, self.receive, self.send)
        except Exception as error:  # a server would log it
            self.error = error
        self.is_over = True

    @property
    def status(self) -> int | None:
        return self.sent[0]["status"] if self.sent else None

    @property
    def headers(self) -> dict[str, str]:
        return {name.decode(): value.decode() for name, value in self.sent[0]["headers"]}

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent[1:])


class Application:
    """Answers when a test says so, and remembers what it was given."""

    def __init__(self) -> None:
        self.may_answer = anyio.Event()
        self.tickets: list[Any] = []
        self.paths: list[str] = []
        self.was_cancelled = 0
        self.status = 200

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.paths.append(scope["path"])
        self.tickets.append(scope.get("flowgate.ticket"))
        try:
            await self.may_answer.wait()
        except anyio.get_cancelled_exc_class():
            self.was_cancelled += 1
            raise
        await send({"type": "http.response.start", "status": self.status, "headers": []})
        await send({"type": "http.response.body", "body": b"done"})


@pytest.fixture
def connect() -> type[Connection]:
    return Connection


@pytest.fixture
def application() -> type[Application]:
    """To be made inside the event loop."""
    return Application
