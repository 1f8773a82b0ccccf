"""Pods that an async source tells when it is asked."""

import logging
import math
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from types import TracebackType
from typing import Self

import anyio
import anyio.abc

from flowgate.contracts import ChangeCallback, Pod
from flowgate.locators._checks import check_seconds
from flowgate.locators._static import StaticPodLocator

__all__ = ["PollingPodLocator"]

_logger = logging.getLogger("flowgate.locators")

_SHORTEST_DEFAULT_TIMEOUT = 5.0


class PollingPodLocator:
    """Asks an async source for the pods, again and again, and answers from what it said last.

    An async context manager: it polls while it is entered, in a task of its own; the controller enters and leaves its
    locator. Entering does not wait for the first answer: until then there are no pods. A source that fails, hangs or
    answers nonsense changes nothing: the last good answer stays, `failures` counts, and the first failure of each
    outage is logged. Calls never overlap. What changed is announced as `StaticPodLocator` does.

    Args:
        fetch: The source. It is cancelled when it takes longer than `timeout`, and when the context is left.
        interval: Time from the end of one call to the next, in seconds.
        timeout: Longest time for one call, in seconds; None for `interval`, but at least 5.

    Raises:
        ValueError: A time is not finite, or not more than 0.
        TypeError: A time is no number, or `fetch` cannot be called.

    >>> async def fetch() -> list[Pod]:
    ...     return [Pod("a", "10.0.0.1", 8000)]
    >>> async def first_answer() -> int:
    ...     async with PollingPodLocator(fetch, interval=10) as locator:
    ...         await anyio.sleep(0.01)
    ...         return len(locator.locate({}))
    >>> anyio.run(first_answer)
    1
    """

    def __init__(
        self, fetch: Callable[[], Awaitable[Sequence[Pod]]], interval: float, timeout: float | None = None
    ) -> None:
        if not callable(fetch):
            raise TypeError(f"fetch must be an async callable, not {fetch!r}")
        self._fetch = fetch
        self._interval = check_seconds("interval", interval)
        self._timeout = check_seconds(
            "timeout", max(self._interval, _SHORTEST_DEFAULT_TIMEOUT) if timeout is None else timeout
        )
        self._clock: Callable[[], float] = anyio.current_time
        self._pool = StaticPodLocator()
        self._tasks: anyio.abc.TaskGroup | None = None
        self._answered_at: float | None = None
        self._is_failing = False
        self.failures: int = 0
        """Calls of the source that failed."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._fetch!r}, interval={self._interval}, timeout={self._timeout})"

    async def __aenter__(self) -> Self:
        if self._tasks:
            raise RuntimeError("this locator polls already: enter it once, or leave it first")
        self._tasks = anyio.create_task_group()
        await self._tasks.__aenter__()
        self._tasks.start_soon(self._poll)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._tasks:
            tasks, self._tasks = self._tasks, None
            tasks.cancel_scope.cancel()
            # Without the body's error: told of it, the group would wrap it. It goes on by itself, as we return None.
            await tasks.__aexit__(None, None, None)

    @property
    def staleness(self) -> float:
        """Seconds since the last good answer; infinite before the first. Needs a bound clock, or a running loop."""
        return math.inf if self._answered_at is None else self._clock() - self._answered_at

    def bind(self, clock: Callable[[], float]) -> None:
        """Take the clock (seconds) by which `staleness` is told; until then it is `anyio.current_time`."""
        if self._answered_at is not None:
            self._answered_at += clock() - self._clock()
        self._clock = clock

    def locate(self, metadata: Mapping[str, object]) -> tuple[Pod, ...]:
        """Return the pods of the last good answer; none before the first."""
        return self._pool.locate(metadata)

    def selection_key(self, metadata: Mapping[str, object]) -> Hashable:
        """Return the one selection's name."""
        return self._pool.selection_key(metadata)

    def subscribe(self, callback: ChangeCallback) -> Callable[[], None]:
        """Register a callback for changes; returns a function that takes it back."""
        return self._pool.subscribe(callback)

    async def _poll(self) -> None:
        while True:
            await self._ask()
            await anyio.sleep(self._interval)

    async def _ask(self) -> None:
        try:
            with anyio.fail_after(self._timeout):
                pods = await self._fetch()
            self._pool.set_pods(pods)
        except Exception as error:  # whatever ails the source, its last good answer stands
            self._count_failure(error)
        else:
            self._answered_at = self._clock()
            self._is_failing = False

    def _count_failure(self, error: Exception) -> None:
        self.failures += 1
        if not self._is_failing:
            _logger.warning("no answer from %r; its last good one stays until it answers", self._fetch, exc_info=error)
        self._is_failing = True
