"""The shell's hold on its event loop: parked callers, one timer, and the next turn. asyncio or trio.

Everything else in flowgate is the same on both. Native futures are used on asyncio and `wait_task_rescheduled` on trio,
without a cancel scope or a timer for each caller: that is what makes a queued request cheap.

Two promises need care, and both are kept here. *Nobody is woken twice or never*: a caller that was cancelled can no
longer be woken, and `wake` says so, for the controller to give its slot to the next. *Callers of one pass resume in
dispatch order*: asyncio runs them in the order of waking; trio deals each batch of tasks in order or in reverse, at
random, so a trio caller that resumes before its turn parks again until the one before it has run.
"""

import asyncio
import math
import sys
import time
from collections import deque
from collections.abc import Awaitable, Callable, Generator
from typing import TYPE_CHECKING, Any, Protocol, cast

from flowgate.items import Item
from flowgate.outcomes import QueueOutcome

if TYPE_CHECKING:
    import trio

__all__ = ["EventLoop", "in_trio", "open_loop"]

_ROUNDS = 4


class EventLoop(Protocol):
    """What the controller asks of an event loop; all but `threadsafe` on its thread."""

    is_due: bool
    """Whether the controller's turn comes in the next turn of the loop."""

    def time(self) -> float:
        """Return the loop's time in seconds."""
        ...

    def soon(self) -> None:
        """Run the controller's turn in the next turn of the loop, once."""
        ...

    def arm(self, due: float) -> None:
        """Run the controller's turn at this time, or earlier; infinite for never. Replaces what was armed."""
        ...

    def threadsafe(self, call: Callable[[], None]) -> None:
        """Call a function on the loop's thread, soon; from any thread. Nothing happens once the loop is over."""
        ...

    def park(self, item: Item) -> Awaitable[None]:
        """Return what the caller of a waiting item awaits; it may be woken from now on."""
        ...

    def wake(self, item: Item) -> bool:
        """Resume the caller of an item that has its outcome; False when it was cancelled and cannot hear."""
        ...

    def checkpoint(self) -> Awaitable[None]:
        """Let the loop run."""
        ...

    def close(self) -> None:
        """Run no turn any more."""
        ...


def in_trio() -> bool:
    """Return whether this is a task of trio; of any trio, as old as anyio takes."""
    library = sys.modules.get("trio")
    if library is None:
        return False
    try:
        library.lowlevel.current_task()
    except RuntimeError:
        return False
    return True


def open_loop(turn: Callable[[], None], withdraw: Callable[[Item], None]) -> EventLoop:
    """Take hold of the running event loop.

    Args:
        turn: The controller's turn.
        withdraw: Called with an item whose caller was cancelled while it waited, where the loop tells at that moment.
    """
    if in_trio():
        return _TrioLoop(turn, withdraw)
    return _AsyncioLoop(turn)


class _AsyncioLoop:
    def __init__(self, turn: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        # asyncio's own loops ask this clock, by a function in Python: 2 % of the price of a request that need not wait.
        is_own = getattr(type(self._loop), "time", None) is asyncio.BaseEventLoop.time
        self.time: Callable[[], float] = time.monotonic if is_own else self._loop.time
        self._turn = turn
        self._timer: asyncio.TimerHandle | None = None
        self.is_due = False
        self._is_closed = False

    def soon(self) -> None:
        if not self.is_due and not self._is_closed:
            self.is_due = True
            self._loop.call_soon(self._run)

    def _run(self) -> None:
        self.is_due = False
        if not self._is_closed:
            self._turn()

    def arm(self, due: float) -> None:
        timer = self._timer
        if timer is not None:
            if timer.when() <= due < math.inf:
                return  # it comes early, finds nothing due, and is armed again: cheaper than one timer for each request
            timer.cancel()
            self._timer = None
        if due < math.inf and not self._is_closed:
            self._timer = self._loop.call_at(due, self._ring)

    def _ring(self) -> None:
        self._timer = None
        self._turn()

    def threadsafe(self, call: Callable[[], None]) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(call)

    def park(self, item: Item) -> Awaitable[None]:
        item.waiter = future = self._loop.create_future()
        return future

    def wake(self, item: Item) -> bool:
        future: asyncio.Future[None] = item.waiter  # type: ignore[assignment] # park() put it there
        if future.done():
            return False
        future.set_result(None)
        return True

    def checkpoint(self) -> Awaitable[None]:
        return asyncio.sleep(0)

    def close(self) -> None:
        self.arm(math.inf)
        self._is_closed = True


class _TrioWaiter:
    """One parked caller on trio."""

    __slots__ = ("is_gone", "is_woken", "item", "loop", "place", "task")

    def __init__(self, loop: "_TrioLoop", item: Item) -> None:
        self.loop = loop
        self.item = item
        self.task: trio.lowlevel.Task | None = None  # set while it is parked
        self.is_woken = False
        self.is_gone = False
        self.place = 0

    def __await__(self) -> Generator[Any, Any, None]:
        return self._wait().__await__()

    async def _wait(self) -> None:
        try:
            if not self.is_woken:
                await self._park(self._abort)
            if self.place:
                while not self.loop.is_turn_of(self):
                    await self._park(self._refuse)
        except BaseException:
            self.is_gone = True
            if self.place:
                self.loop.leave_line(self)  # its coroutine was closed: nobody may wait for its turn
            raise

    async def _park(self, abort: "Callable[[Any], trio.lowlevel.Abort]") -> None:
        self.task = self.loop.lowlevel.current_task()
        await self.loop.lowlevel.wait_task_rescheduled(abort)

    def resume(self) -> None:
        task, self.task = self.task, None
        if task is not None:
            self.loop.lowlevel.reschedule(task)

    def _abort(self, _raise_cancel: object) -> "trio.lowlevel.Abort":
        self.is_gone = True
        self.task = None
        self.loop.withdraw(self.item)
        return cast("trio.lowlevel.Abort", self.loop.lowlevel.Abort.SUCCEEDED)

    def _refuse(self, _raise_cancel: object) -> "trio.lowlevel.Abort":
        # The grant is delivered; the cancellation comes at the caller's next checkpoint.
        return cast("trio.lowlevel.Abort", self.loop.lowlevel.Abort.FAILED)


class _TrioLoop:
    def __init__(self, turn: Callable[[], None], withdraw: Callable[[Item], None]) -> None:
        import trio  # noqa: PLC0415 - optional; and loaded already, or open_loop would not be here

        self.lowlevel = trio.lowlevel
        self.withdraw = withdraw
        self.time = trio.current_time
        self._turn = turn
        self._token = trio.lowlevel.current_trio_token()
        self._run_finished = trio.RunFinishedError
        self._scope = trio.CancelScope
        self._deadline = math.inf
        self._current: trio.CancelScope | None = None
        self._sleeper: trio.lowlevel.Task | None = None
        self.is_due = False
        self._is_closed = False
        self._line: deque[_TrioWaiter] = deque()
        self._early: dict[_TrioWaiter, None] = {}
        self._rounds = 0
        self._dealt = 0
        self._places = 0
        # A system task, not a nursery: whatever the body of the controller raises must not come out as a group.
        trio.lowlevel.spawn_system_task(self._pump, name="flowgate controller")

    async def _pump(self) -> None:
        while not self._is_closed:
            with self._scope(deadline=self._deadline) as self._current:
                if self.is_due:
                    await self.lowlevel.checkpoint()
                else:
                    self._sleeper = self.lowlevel.current_task()
                    await self.lowlevel.wait_task_rescheduled(self._oversleep)
            self._current = None
            self.is_due = False
            if not self._is_closed:
                self._turn()

    def _oversleep(self, _raise_cancel: object) -> "trio.lowlevel.Abort":
        self._sleeper = None
        return self.lowlevel.Abort.SUCCEEDED

    def _rouse(self) -> None:
        sleeper, self._sleeper = self._sleeper, None
        if sleeper is not None:
            self.lowlevel.reschedule(sleeper)

    def soon(self) -> None:
        if not self.is_due:
            self.is_due = True
            self._rouse()

    def arm(self, due: float) -> None:
        self._deadline = due
        if self._current is not None:
            self._current.deadline = due

    def threadsafe(self, call: Callable[[], None]) -> None:
        try:
            self._token.run_sync_soon(call)
        except self._run_finished:
            return

    def park(self, item: Item) -> Awaitable[None]:
        item.waiter = waiter = _TrioWaiter(self, item)
        return waiter

    def wake(self, item: Item) -> bool:
        waiter = item.waiter
        assert isinstance(waiter, _TrioWaiter)  # noqa: S101 - park() put it there
        if waiter.is_gone:
            return False
        waiter.is_woken = True
        if item.outcome is QueueOutcome.DISPATCHED:
            self._places += 1
            waiter.place = self._places
            self._line.append(waiter)
        waiter.resume()
        return True

    def is_turn_of(self, waiter: _TrioWaiter) -> bool:
        """Say whether a granted caller is the next in line; one that is steps out of it, one that is early is noted."""
        if self._line[0] is not waiter:
            self._early[waiter] = None
            return False
        self._line.popleft()
        if waiter.place >= self._dealt:
            self._rounds = 0  # all of those that were in line at the first deal are through
        self._call_next()
        return True

    def leave_line(self, waiter: _TrioWaiter) -> None:
        """Take a granted caller that will never resume out of the line."""
        self._line.remove(waiter)
        self._early.pop(waiter, None)
        self._call_next()

    def _call_next(self) -> None:
        if not self._line:
            self._rounds = 0
            return
        head = self._line[0]
        if head.task is None:
            return  # it will run by itself
        if not self._rounds:
            self._dealt = self._places
        if self._rounds < _ROUNDS:
            # A batch that trio reversed comes right with even odds if all of it is dealt again.
            self._rounds += 1
            early, self._early = sorted(self._early, key=lambda other: other.place), {}
            for other in early:
                other.resume()
        else:
            # Hypothesis makes trio shuffle: then one at a time is what ends.
            del self._early[head]
            head.resume()

    def checkpoint(self) -> Awaitable[None]:
        return self.lowlevel.checkpoint()

    def close(self) -> None:
        self._is_closed = True
        self._rouse()
