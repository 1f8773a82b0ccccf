"""Tasks that wait for admission, hold their tickets and let go, as a test says."""

from types import TracebackType
from typing import Self

import anyio
import anyio.abc

from flowgate.contracts import AdmissionController, AdmissionTicket, FlowControlRequest, ReleaseResult
from flowgate.controller import FlowController
from flowgate.errors import FlowControlError
from flowgate.outcomes import QueueOutcome
from flowgate.testing._clock import until_blocked

__all__ = ["Caller", "Callers", "assert_idle"]

_LEFT = ("queued_requests", "queued_bytes", "in_flight", "overcommitted", "lanes")


class Caller:
    """One task that waits for admission, and then holds its ticket until it is told to let go; `Callers` starts it.

    Attributes:
        request: What it asks with.
        ticket: What it holds, or held; None while it waits, and when it was not admitted.
        error: Why it was not admitted; None while it waits, and when it was.
        ended_at: When its wait was over, in seconds of the loop's clock; None while it waits.
        is_cancelled: Whether it ended by a cancellation, while it waited or with its ticket.
    """

    def __init__(self, controller: FlowController | AdmissionController, request: FlowControlRequest) -> None:
        self.request: FlowControlRequest = request
        self.ticket: AdmissionTicket | None = None
        self.error: FlowControlError | None = None
        self.ended_at: float | None = None
        self.is_cancelled: bool = False
        self._controller = controller
        self._scope = anyio.CancelScope()
        self._let_go = anyio.Event()
        self._ended = anyio.Event()

    def __repr__(self) -> str:
        state = "waiting" if self.is_waiting else "cancelled" if self.outcome is None else self.outcome.value
        return f"<Caller {self.request!r}: {state}>"

    async def run(self) -> None:
        """Ask, hold, let go: the whole life of the task."""
        try:
            with self._scope:
                await self._ask_and_hold()
        finally:
            self._end()

    async def _ask_and_hold(self) -> None:
        try:
            self.ticket = await self._ask()
            self._end()
            await self._let_go.wait()
        except FlowControlError as error:
            self.error = error
        except anyio.get_cancelled_exc_class():
            self.is_cancelled = True
            raise
        finally:
            if self.ticket is not None:
                self.ticket.release("ignored")  # if nobody did before

    async def _ask(self) -> AdmissionTicket:
        if isinstance(self._controller, FlowController):
            return await self._controller.enqueue_and_wait(self.request)
        return await self._controller.admit(self.request)

    def _end(self) -> None:
        if self.ended_at is None:
            self.ended_at = anyio.current_time()
            self._ended.set()

    @property
    def is_waiting(self) -> bool:
        """Whether its request has no outcome yet."""
        return not self._ended.is_set()

    @property
    def is_holding(self) -> bool:
        """Whether it was admitted, and nobody let it go."""
        return self.ticket is not None and not (self._let_go.is_set() or self.is_cancelled)

    @property
    def outcome(self) -> QueueOutcome | None:
        """How its wait ended; None while it waits, and when it was cancelled."""
        if self.ticket is not None:
            return QueueOutcome.DISPATCHED
        return None if self.error is None else self.error.outcome

    async def admitted(self) -> AdmissionTicket:
        """Wait until it is admitted.

        Returns:
            Its ticket.

        Raises:
            FlowControlError: Its request was rejected or evicted.
            RuntimeError: It was cancelled while it waited.
        """
        await self._ended.wait()
        if self.error is not None:
            raise self.error
        if self.ticket is None:
            raise RuntimeError(f"the caller of {self.request!r} was cancelled while it waited")
        return self.ticket

    def release(self, result: ReleaseResult = "ok") -> None:
        """Give the slot back at once, and let the task end.

        Raises:
            RuntimeError: It holds no ticket.
        """
        if self.ticket is None:
            raise RuntimeError(f"the caller of {self.request!r} has no ticket to release")
        self.ticket.release(result)
        self._let_go.set()

    def cancel(self) -> None:
        """Cancel the task: its wait, or its work with the ticket."""
        self._scope.cancel()


class Callers:
    """Starts callers of one controller, in a task group of its own; leaving it cancels whoever waits or holds.

    Args:
        controller: The `FlowController` or `AdmissionController` that they ask.

    Attributes:
        all: Every caller started, in order.

    >>> from flowgate import FlowController, Request
    >>> from flowgate.saturation import ConcurrencyDetector
    >>> from flowgate.testing import PodPool, run_in_virtual_time
    >>> async def main() -> None:
    ...     controller = FlowController(locator=(pods := PodPool()), detector=ConcurrencyDetector(1))
    ...     async with controller, Callers(controller) as callers:
    ...         caller = await callers.start(Request("tenant-a"))
    ...         print(caller)
    ...         pods.add()
    ...         print((await caller.admitted()).candidates[0].name)
    >>> run_in_virtual_time(main)
    <Caller Request('tenant-a', priority=0, byte_size=0, ttl=None): waiting>
    pod-1
    """

    def __init__(self, controller: FlowController | AdmissionController) -> None:
        self.all: list[Caller] = []
        self._controller = controller
        self._tasks: anyio.abc.TaskGroup | None = None

    async def __aenter__(self) -> Self:
        self._tasks = await anyio.create_task_group().__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        assert self._tasks is not None  # it was entered
        self._tasks.cancel_scope.cancel()
        if isinstance(error, anyio.get_cancelled_exc_class()):
            return await self._tasks.__aexit__(kind, error, trace)
        # A failed assertion comes out as it is, not in a group.
        await self._tasks.__aexit__(None, None, None)
        return None

    def begin(self, request: FlowControlRequest) -> Caller:
        """Start a caller; its task runs when the loop does.

        Raises:
            RuntimeError: These callers are not entered.
        """
        if self._tasks is None:
            raise RuntimeError("Callers is not entered: use it as an async context manager")
        caller = Caller(self._controller, request)
        self.all.append(caller)
        self._tasks.start_soon(caller.run)
        return caller

    async def start(self, request: FlowControlRequest) -> Caller:
        """Start a caller, and let it come as far as it can at this instant."""
        caller = self.begin(request)
        await until_blocked()
        return caller

    async def finish(self) -> None:
        """Release whatever is held, again and again, until nobody can be admitted any more.

        Raises:
            AssertionError: Somebody still waits then.
        """
        await until_blocked()
        while held := [caller for caller in self.all if caller.is_holding]:
            for caller in held:
                caller.release()
            await until_blocked()
        waiting = [caller for caller in self.all if caller.is_waiting]
        if waiting:
            raise AssertionError(f"{len(waiting)} callers still wait, first of them {waiting[0]!r}")


def assert_idle(controller: FlowController) -> None:
    """Hold that nothing waits at a controller, and every slot was given back.

    Raises:
        AssertionError: It says what is left.
    """
    stats = controller.stats()
    left = {name: getattr(stats, name) for name in _LEFT if getattr(stats, name)}
    if left:
        raise AssertionError(f"the controller is not idle: {', '.join(f'{name}={n}' for name, n in left.items())}")
