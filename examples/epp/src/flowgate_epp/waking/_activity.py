"""Whether a pool is active: it has demand, or had some a moment ago."""

import asyncio

from flowgate_epp.waking._demand import Demand

__all__ = ["Activity"]


class Activity:
    """Remembers demand for a while, so that a burst that came and went between two polls still counts.

    Nothing is timed: whoever asks is told by the loop's clock.

    Args:
        latch: For how many seconds.

    Attributes:
        is_busy: Whether there is demand.
    """

    def __init__(self, latch: float) -> None:
        self._latch = latch
        self._ended: float | None = None
        self.is_busy: bool = False

    @property
    def is_active(self) -> bool:
        """Whether there is demand, or was within the latch."""
        if self.is_busy:
            return True
        return self._ended is not None and asyncio.get_running_loop().time() - self._ended < self._latch

    def note(self, demand: Demand) -> bool:
        """Take a change of demand in, and return whether the pool has become active by it."""
        if demand.is_idle:
            if self.is_busy:
                self.is_busy, self._ended = False, asyncio.get_running_loop().time()
            return False
        was_active = self.is_active
        self.is_busy = True
        return not was_active
