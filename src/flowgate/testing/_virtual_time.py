"""An asyncio event loop whose clock stands still while callbacks run, and jumps when nothing is left to do."""

import asyncio
import math
import selectors
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["VirtualTimeLoop"]

_LONGEST_SILENCE = 20.0
"""Real seconds to wait for a thread or a socket, with no timer set, before the loop calls it a deadlock."""


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """Runs hours of timers in no time, as `trio.testing.MockClock(autojump_threshold=0)` does for trio.

    The clock starts at 0.0. Where another loop would sleep until its next timer, this one sets its clock to exactly
    that timer. Work in threads is not waited for while a timer is armed. With no timer, or none but at infinity, it
    waits for threads and sockets really, and raises RuntimeError after 20 real seconds in which nothing came: a test
    that would hang fails.

    >>> with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
    ...     runner.run(asyncio.sleep(3600))
    ...     runner.get_loop().time()
    3600.0
    """

    # What asyncio's loops are made of, and its stubs do not tell.
    _ready: deque[asyncio.Handle]
    _scheduled: list[asyncio.TimerHandle]
    _clock_resolution: float

    def __init__(self) -> None:
        self._now = 0.0
        super().__init__(_JumpingSelector(self._next_timer, self._jump))
        self._ready = self._counted = _CountedHandles()
        self._clock_resolution = math.ulp(0.0)

    def time(self) -> float:
        """Return the virtual time in seconds."""
        return self._now

    @property
    def callbacks(self) -> int:
        """Callbacks run since the loop was made, the steps of tasks among them."""
        return self._counted.taken

    @property
    def timers(self) -> int:
        """Timers armed and not cancelled."""
        return sum(not handle.cancelled() for handle in self._scheduled)

    def _next_timer(self) -> float:
        return self._scheduled[0].when()

    def _jump(self) -> None:
        self._now = max(self._now, self._next_timer())
        # The loop runs what is due before time() + resolution: with one ulp, what is due now and nothing later.
        self._clock_resolution = math.ulp(self._now)


class _CountedHandles(deque[asyncio.Handle]):
    """The loop's ready callbacks; the loop takes one out only to run it, or to skip it when cancelled."""

    taken = 0

    def popleft(self) -> asyncio.Handle:
        handle = super().popleft()
        self.taken += not handle.cancelled()
        return handle


class _JumpingSelector(selectors.BaseSelector):
    """Polls where it is asked to sleep, and tells the loop to jump when the poll found nothing."""

    def __init__(self, next_timer: Callable[[], float], jump: Callable[[], None]) -> None:
        self._real = selectors.DefaultSelector()
        self._next_timer = next_timer
        self._jump = jump

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout and self._next_timer() == math.inf:
            timeout = None  # whoever sleeps for ever waits for no time
        events = self._real.select(_LONGEST_SILENCE if timeout is None else 0)
        if timeout is None and not events:
            raise RuntimeError(f"deadlock: no callback, no timer, and no I/O for {_LONGEST_SILENCE} real seconds")
        if timeout and not events:
            self._jump()
        return events

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._real.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._real.unregister(fileobj)

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._real.modify(fileobj, events, data)

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._real.get_map()

    def close(self) -> None:
        self._real.close()
