"""Who runs and who waits: slots, the KV cache, and one queue in order of arrival."""

import asyncio
import contextlib
from collections.abc import Iterator

import attrs

__all__ = ["Engine", "NeverFitsError", "QueueFullError"]


class QueueFullError(Exception):
    """Raised when a request would have to wait and no more may."""


class NeverFitsError(ValueError):
    """Raised when a request needs more than the whole server has."""


@attrs.define(eq=False)  # unfrozen: one for each request
class _Need:
    slots: int
    blocks: int
    granted: "asyncio.Future[None]"


class Engine:
    """Gives slots and blocks of the KV cache to requests, first come first served.

    A request takes, when it starts, the blocks for its prompt and for all tokens that it may generate, and gives them
    back at its end; so nothing is ever preempted, as vLLM does when it has promised too much. While the first in the
    queue does not fit, nobody behind it starts.

    Args:
        slots: Sequences that run at the same time.
        blocks: Blocks of the KV cache.
        max_waiting: Sequences that may wait; None for no limit.

    Attributes:
        running: Sequences that run now.
        waiting: Sequences that wait now.
        most_running: Most that ever ran at the same time.
        most_waiting: Most that ever waited at the same time.
    """

    def __init__(self, slots: int, blocks: int, max_waiting: int | None = None) -> None:
        self._slots, self._blocks, self._max_waiting = slots, blocks, max_waiting
        self._used_blocks = 0
        self._queue: dict[_Need, None] = {}
        self.running = self.waiting = self.most_running = self.most_waiting = 0

    @property
    def cache_usage(self) -> float:
        """The share of the KV cache that is taken, 0.0 to 1.0."""
        return self._used_blocks / self._blocks

    @contextlib.contextmanager
    def place(self, slots: int, blocks: int) -> Iterator["asyncio.Future[None]"]:
        """Stand in the queue, and then hold slots and blocks, while the context lasts.

        Gives a future that is done when the request may run.

        Raises:
            NeverFitsError: The server is too small for it.
            QueueFullError: Too many wait already.
        """
        need = self._join(slots, blocks)
        try:
            yield need.granted
        finally:
            self._leave(need)

    def _join(self, slots: int, blocks: int) -> _Need:
        if slots > self._slots:
            raise NeverFitsError(f"n must be {self._slots} or less here, not {slots}")
        if blocks > self._blocks:
            raise NeverFitsError(f"prompt and output need {blocks} blocks of the KV cache, which has {self._blocks}")
        need = _Need(slots, blocks, asyncio.get_running_loop().create_future())
        self._queue[need] = None
        self.waiting += slots
        self._start_those_who_fit()
        if not need.granted.done() and self._max_waiting is not None and self.waiting > self._max_waiting:
            self._leave(need)
            raise QueueFullError(f"{self.waiting} sequences wait already, and no more than {self._max_waiting} may")
        self.most_waiting = max(self.most_waiting, self.waiting)
        return need

    def _leave(self, need: _Need) -> None:
        if need in self._queue:
            del self._queue[need]
            self.waiting -= need.slots
        else:
            self.running -= need.slots
            self._used_blocks -= need.blocks
        self._start_those_who_fit()

    def _start_those_who_fit(self) -> None:
        while self._queue:
            need = next(iter(self._queue))
            if need.granted.cancelled():  # its request is about to leave, and will ask again for those behind it
                return
            if self.running + need.slots > self._slots or self._used_blocks + need.blocks > self._blocks:
                return
            del self._queue[need]
            self.waiting -= need.slots
            self.running += need.slots
            self._used_blocks += need.blocks
            self.most_running = max(self.most_running, self.running)
            need.granted.set_result(None)
