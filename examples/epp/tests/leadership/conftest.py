"""Time that jumps, an API server as bad as wished, and processes that stall."""

import asyncio
import copy
import selectors
import sys
import types
from collections.abc import Callable, Coroutine, Generator
from pathlib import Path
from typing import Any

import attrs
import pytest

from flowgate_epp.kubernetes import ApiError, ClusterSettings

# The stage lives beside the package, not in it.
ROOT = str(Path(__file__).parents[4])
if ROOT not in sys.path:
    sys.path.append(ROOT)


class _Jumping(selectors.DefaultSelector):
    """Never waits: time goes on instead."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        ready = super().select(0)
        if not ready and timeout is None:
            raise RuntimeError("everybody waits for ever")
        if not ready and timeout:
            self.now += timeout
        return ready


class JumpingLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._jumping = _Jumping()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now


def run_jumping(main: Coroutine[Any, Any, Any]) -> Any:
    """Run to the end in no time, however long it takes."""
    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        return runner.run(main)


@attrs.define
class Server:
    """One Lease, and how long and how well the way to it works; each candidate has a way of its own."""

    lease: dict[str, Any] | None = None
    version: int = 0

    def put(self, lease: dict[str, Any]) -> dict[str, Any]:
        self.version += 1
        lease = copy.deepcopy(lease)
        lease.setdefault("metadata", {})["resourceVersion"] = str(self.version)
        self.lease = lease
        return copy.deepcopy(lease)

    def delete(self) -> None:
        self.lease = None


@attrs.define
class Way:
    """A candidate's client: to the server and back, each with its delay; either may be lost."""

    server: Server
    namespace: str = "here"
    settings: ClusterSettings = attrs.field(factory=ClusterSettings)
    delay: Callable[[], float] = lambda: 0.001
    loses: Callable[[], bool] = lambda: False
    calls: list[str] = attrs.field(factory=list)
    error: ApiError | None = None

    async def get(self, path: str, query: Any = None) -> Any:
        if path.endswith("/leases"):
            raise ApiError(403, "Forbidden", "lists are not for us")
        return await self._over("get", self._get)

    async def create(self, path: str, body: Any) -> Any:
        return await self._over("create", lambda: self._create(body))

    async def replace(self, path: str, body: Any) -> Any:
        return await self._over("replace", lambda: self._replace(body))

    async def _over(self, verb: str, act: Callable[[], Any]) -> Any:
        """Carry it there, even when the caller gives up meanwhile; and the answer back."""
        self.calls.append(verb)
        if self.error is not None:
            await asyncio.sleep(self.delay())
            raise self.error
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        def arrive() -> None:
            try:
                result, error = act(), None
            except ApiError as raised:
                result, error = None, raised
            if not self.loses():
                asyncio.get_running_loop().call_later(self.delay(), finish, result, error)

        def finish(result: Any, error: ApiError | None) -> None:
            if answer.done():
                return
            if error is None:
                answer.set_result(result)
            else:
                answer.set_exception(error)

        if not self.loses():
            asyncio.get_running_loop().call_later(self.delay(), arrive)
        async with asyncio.timeout(10.0):
            return await answer

    def _get(self) -> Any:
        if self.server.lease is None:
            raise ApiError(404, "NotFound", "no such lease")
        return copy.deepcopy(self.server.lease)

    def _create(self, body: Any) -> Any:
        if self.server.lease is not None:
            raise ApiError(409, "AlreadyExists", "there is one")
        return self.server.put(body)

    def _replace(self, body: Any) -> Any:
        lease = self._get()
        if body["metadata"].get("resourceVersion") != lease["metadata"]["resourceVersion"]:
            raise ApiError(409, "Conflict", "it has changed")
        return self.server.put(body)


class Stall:
    """Holds a process up: nothing of it runs while it is closed."""

    def __init__(self) -> None:
        self.is_open = asyncio.Event()
        self.is_open.set()

    @types.coroutine
    def through(self, inner: Coroutine[Any, Any, Any]) -> Generator[Any, Any, Any]:
        error: BaseException | None = None
        while True:
            try:
                waits_for = inner.send(None) if error is None else inner.throw(error)
            except StopIteration as end:
                return end.value
            error = None
            try:
                yield waits_for
            except BaseException as raised:
                error = raised
            while not self.is_open.is_set():
                try:
                    yield from self.is_open.wait().__await__()
                except BaseException as raised:
                    error = error or raised


@pytest.fixture
def jump() -> Callable[[Coroutine[Any, Any, Any]], Any]:
    return run_jumping


@pytest.fixture
def new_server() -> type[Server]:
    return Server


@pytest.fixture
def new_way() -> type[Way]:
    return Way


@pytest.fixture
def new_stall() -> type[Stall]:
    return Stall
