"""What goes wrong on purpose: no answer, refusals, and callers whom the server does not know."""

import asyncio
from collections import deque
from collections.abc import Mapping, MutableMapping

import attrs
from aiohttp import web

from examples.stage.kubernetes._fake_status import StatusError

__all__ = ["Asked", "Faults"]

_REMEMBERED = 10_000


@attrs.frozen
class Asked:
    """A request that has come.

    Attributes:
        method: Its HTTP method.
        path: Its path, without the query.
        query: Its query.
        user: Whose it is; "" when the server does not ask.
    """

    method: str
    path: str
    query: Mapping[str, str]
    user: str


@attrs.define(eq=False)
class _Failure:
    status: int
    left: int
    retry_after: int | None
    method: str
    path: str

    def is_about(self, request: web.Request) -> bool:
        return self.method in {"", request.method} and self.path in request.path


class Faults:
    """Stands before each request.

    Attributes:
        tokens: Users by bearer token; None when everyone may ask.
        running: Cleared while the server pauses.
        requests: The last requests that were let through or refused, oldest first.
    """

    def __init__(self, tokens: MutableMapping[str, str] | None) -> None:
        self.tokens = tokens
        self.running = asyncio.Event()
        self.running.set()
        self.requests: deque[Asked] = deque(maxlen=_REMEMBERED)
        self._failures: list[_Failure] = []

    def fail_next(self, status: int, count: int, retry_after: int | None, method: str, path: str) -> None:
        """Refuse the next requests; an empty method or path means any."""
        self._failures.append(_Failure(status, count, retry_after, method, path))

    def heal(self) -> None:
        """Refuse nothing any more, and go on."""
        self._failures.clear()
        self.running.set()

    async def pass_(self, request: web.Request) -> None:
        """Let a request through, hold it, or refuse it.

        Raises:
            StatusError: It is refused.
        """
        await self.running.wait()
        user = self._user(request)
        self.requests.append(Asked(request.method, request.path, dict(request.query), user or ""))
        failure = next((failure for failure in self._failures if failure.is_about(request)), None)
        if failure is not None:
            failure.left -= 1
            if failure.left <= 0:
                self._failures.remove(failure)
            refusal = StatusError.plain(failure.status)
            refusal.retry_after = failure.retry_after
            raise refusal
        if user is None:
            raise StatusError.plain(401)

    def _user(self, request: web.Request) -> str | None:
        """Return whose request it is; None if nobody knows."""
        if self.tokens is None:
            return ""
        certificate = request.get_extra_info("peercert")
        if certificate:
            subject = dict(pair for relative in certificate["subject"] for pair in relative)
            return str(subject.get("commonName", ""))
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        return self.tokens.get(token) if scheme.lower() == "bearer" else None
