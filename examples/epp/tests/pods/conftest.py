import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress

import pytest

from flowgate import Pod
from flowgate_epp.contracts import PodSource
from flowgate_epp.pods import PodStore

DEADLINE = 10.0


class Followed:
    """A store that a source fills, and the names that it had after each telling."""

    def __init__(self) -> None:
        self.store = PodStore()
        self.told: list[list[str]] = []
        self._changed = asyncio.Event()

    def set_pods(self, pods: Sequence[Pod]) -> None:
        self.store.set_pods(pods)
        self.told.append(self.names)
        self._changed.set()

    @property
    def names(self) -> list[str]:
        return [pod.name for pod in self.store.pods]

    async def until(self, names: Sequence[str]) -> None:
        async with asyncio.timeout(DEADLINE):
            await self.store.synced()
            while self.names != list(names):
                self._changed.clear()
                await self._changed.wait()


@asynccontextmanager
async def _follow(source: PodSource) -> AsyncIterator[Followed]:
    followed = Followed()
    task = asyncio.create_task(source.run(followed))
    try:
        yield followed
        assert not task.done()
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@pytest.fixture
def follow() -> Callable[[PodSource], AbstractAsyncContextManager[Followed]]:
    return _follow


async def _logged(caplog: pytest.LogCaptureFixture, text: str) -> str:
    async with asyncio.timeout(DEADLINE):
        while True:
            for record in caplog.records:
                if text in record.getMessage():
                    return record.getMessage()
            await asyncio.sleep(0.005)


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> Callable[[str], Awaitable[str]]:
    """Wait for a line of the log that holds a text."""
    caplog.set_level("INFO")
    return lambda text: _logged(caplog, text)
