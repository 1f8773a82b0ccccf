"""The asynchronous shell: callers wait, the core decides.

One `FlowController` holds one `ShardProcessor` and one event loop. Each of its methods is a step of the core, followed
by what the step caused: callers are woken, observers told, the next pass and the one timer planned.
"""

import time
from collections.abc import Iterable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from threading import get_ident
from types import TracebackType
from typing import Self, cast

import anyio

from flowgate.audience import Audience
from flowgate.config import FlowControlConfig
from flowgate.contracts import (
    Dispatched,
    Dropped,
    Enqueued,
    FlowControlRequest,
    PassEnded,
    Pod,
    PodLocator,
    ReleaseResult,
    SaturationDetector,
    UsageLimitPolicy,
)
from flowgate.errors import error_of
from flowgate.explanation import Explanation
from flowgate.items import Item
from flowgate.pods import PodState
from flowgate.processor import ShardProcessor
from flowgate.stats import ControllerStats, PodStats
from flowgate.ticket import Ticket
from flowgate.waiters import EventLoop, open_loop

__all__ = ["FlowController"]

_DECISIONS = frozenset({Enqueued, Dispatched, Dropped})
"""The events that the ring of recent decisions goes by."""


class FlowController:
    """Holds each request until it may go on, and says to which pods.

    Use it as an async context manager, on asyncio or trio. Everything runs on the event loop's thread; from other
    threads only `notify_threadsafe` may be called.

    Args:
        config: Limits, budgets and policies; None for the defaults.
        locator: Resolves a request's metadata to pods.
        detector: Says how full a pod is.
        observers: Receive events; each has some of `Observer`'s methods.
        usage_limit: Holds lower bands back; None lets every band fill a pod.

    Raises:
        TypeError: A part does not have the methods of its contract.
    """

    def __init__(
        self,
        config: FlowControlConfig | None = None,
        *,
        locator: PodLocator,
        detector: SaturationDetector,
        observers: Iterable[object] = (),
        usage_limit: UsageLimitPolicy | None = None,
    ) -> None:
        config = FlowControlConfig() if config is None else config
        _check("config", config, FlowControlConfig)
        _check("locator", locator, PodLocator)
        _check("detector", detector, SaturationDetector)
        if usage_limit is not None:
            _check("usage_limit", usage_limit, UsageLimitPolicy)
        self._loop: EventLoop | None = None  # plug-ins may look at their clock as soon as they are bound
        self._processor = ShardProcessor(
            config,
            locator=locator,
            detector=detector,
            usage_limit=usage_limit,
            owner=self,
            clock=self._time,
            wake=self._announced,
        )
        self._ledger = self._processor.ledger
        self._waiting = self._processor.shard.lanes.waiting  # not empty: somebody waits
        self._audience = Audience(observers, self._observer_failed)
        self._listen()
        if PassEnded in self._audience.hears:
            self._processor.ledger.stopwatch = time.perf_counter
        self._plugins = (locator, detector)
        self._entered = AsyncExitStack()
        self._thread = 0
        self._is_settling = False
        self._is_planned = False
        self._is_closed = False
        self._empty: anyio.Event | None = None
        self._until_yield = config.yield_every

    # -- life

    async def __aenter__(self) -> Self:
        if self._loop is not None:
            raise RuntimeError("a FlowController can be entered only once")
        self._thread = get_ident()
        self._loop = open_loop(self._turn, self._withdraw)
        try:
            for plugin in self._plugins:
                if isinstance(plugin, AbstractAsyncContextManager):
                    await self._entered.enter_async_context(cast("AbstractAsyncContextManager[object]", plugin))
        except BaseException:
            self._close()
            await self._entered.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()
        await self._entered.aclose()

    async def aclose(self) -> None:
        """Refuse new requests, and evict what waits. Live tickets may still be released afterwards."""
        self._running()
        self._close()

    async def drain(self, timeout: float | None = None) -> None:  # noqa: ASYNC109 - a drain that is cut short is no error
        """Refuse new requests, go on dispatching what waits, then close.

        Args:
            timeout: Seconds after which what still waits is evicted; None for as long as it takes.

        Raises:
            ValueError: The timeout is negative or NaN.
        """
        if timeout is not None and not timeout >= 0:
            raise ValueError(f"timeout must be 0 seconds or more, not {timeout!r}")
        self._running()
        self._processor.is_closing = True
        try:
            if self._processor.has_waiting:
                self._empty = self._empty or anyio.Event()
                with anyio.move_on_after(timeout):
                    await self._empty.wait()
        finally:
            self._close()

    def _close(self) -> None:
        if self._loop is not None and not self._is_closed:
            self._processor.close(self._time())
            self._settle()
            self._is_closed = True
            self._loop.close()
            if self._empty is not None:
                self._empty.set()

    # -- requests

    async def enqueue_and_wait(self, request: FlowControlRequest) -> Ticket:
        """Wait until a request may go on.

        A request that can go at once does not suspend its caller.

        Returns:
            A ticket that must be released: use it as a context manager.

        Raises:
            RequestRejected: It was refused before it was queued.
            RequestEvicted: It was queued, and left the queue without being dispatched.
            RuntimeError: The controller is not entered, or this is another thread.
        """
        loop = self._loop
        if loop is None or get_ident() != self._thread:
            loop = self._running()  # which says what is wrong
        result = self._processor.submit(request, loop.time())
        if isinstance(result, Ticket):
            if self._ledger.events or self._waiting or self._ledger.finished:
                self._settle()
            if self._until_yield:
                await self._count_down(result, loop)
            return result
        if isinstance(result, Dropped):
            self._settle()
            raise error_of(result)
        waiter = loop.park(result)
        try:
            if not loop.is_due or self._ledger.events or self._ledger.finished:
                self._settle()
            await waiter
        except BaseException:
            self._abandon(result)
            raise
        if isinstance(result.result, Ticket):
            return result.result
        assert result.result is not None  # noqa: S101 - nobody is woken without an outcome
        raise error_of(result.result)

    def admitted(self, request: FlowControlRequest) -> "Admitted":
        """Wait and release in one line: ``async with controller.admitted(request) as ticket``."""
        return Admitted(self, request)

    def refresh(self, request: FlowControlRequest) -> None:
        """Look at the metadata of a waiting request again: its candidates may be others now.

        The item moves to its new lane and keeps arrival and deadline. Nothing happens if the request does not wait.

        Args:
            request: The same object that was submitted.
        """
        self._processor.refresh(request, self._running().time())
        self._settle()

    async def _count_down(self, ticket: Ticket, loop: EventLoop) -> None:
        self._until_yield -= 1
        if self._until_yield:
            return
        self._until_yield = self._processor.shard.config.yield_every
        try:
            await loop.checkpoint()
        except BaseException:
            ticket.release("ignored")
            raise

    def _abandon(self, item: Item) -> None:
        """Undo whatever was done for a caller that is gone, and hand its slot on."""
        if isinstance(item.result, Ticket):
            item.result.release("ignored")
        elif item.result is None:
            self._withdraw(item)

    def _withdraw(self, item: Item) -> None:
        self._processor.cancel(item, self._time())
        self._settle()

    # -- changes

    def notify(self) -> None:
        """Look at all pods again, soon: anything about them may have changed."""
        self._processor.notify(self._running().time())
        self._settle()

    def notify_threadsafe(self) -> None:
        """Do the same from any thread."""
        if self._loop is None:
            raise RuntimeError("the FlowController is not entered: use it as an async context manager")
        self._loop.threadsafe(self.notify)

    def reconfigure(self, config: FlowControlConfig) -> None:
        """Take over another configuration, at once and whole.

        Waiting requests keep their arrival, their place and the TTL that they stated; those that stated none follow the
        new budgets. Those over a new limit stay, and a band that vanishes serves out what it holds.

        Raises:
            TypeError: It is no `FlowControlConfig`.
        """
        _check("config", config, FlowControlConfig)
        self._processor.reconfigure(config, self._running().time())
        self._until_yield = config.yield_every
        self._listen()
        self._settle()

    def stats(self) -> ControllerStats:
        """Take a snapshot of the counts. O(bands)."""
        if self._loop is not None:
            self._running()
        return self._processor.stats()

    def pod_stats(self, pods: Iterable[Pod]) -> Sequence[PodStats]:
        """Say of these pods what is in flight to each, and how full it is now; strangers have nothing in flight.

        O(pods): the detector is asked about each.
        """
        if self._loop is not None:
            self._running()
        return tuple(map(self._processor.shard.pods.stats, pods))

    def explain(self, request_id: str) -> tuple[Explanation, ...]:
        """Say why a request waits, or how it went: its band, lane, place, pods, ceiling, deadline and expected wait.

        Of those that left, the last `FlowControlConfig.explain_last` decisions are known; by default none. Several
        requests may have one id: all that wait are told first, in order of arrival, then those that left, newest first;
        at most 100. O(waiting requests + kept decisions), and nothing is changed.

        Args:
            request_id: As the request told it.

        Returns:
            What is known of each; empty for an id that was never seen, or so long ago that it is forgotten.
        """
        if self._loop is not None:
            self._running()
        return self._processor.explain(request_id, self._time())

    # -- tickets report here

    def release_ticket(self, ticket: Ticket, result: ReleaseResult) -> None:
        """Take a ticket's slot back; `Ticket.release` calls it."""
        if get_ident() != self._thread:
            self._running()
        self._processor.release(ticket, result, self._time())
        if self._ledger.events or (self._waiting and not self._loop.is_due):  # type: ignore[union-attr] # or there would be no ticket
            self._settle()

    def is_open(self, ticket: Ticket, state: PodState) -> bool:
        """Say whether a pod has room for a ticket's request now; `Ticket.open_candidates` asks."""
        self._running()
        return self._processor.is_open(ticket, state)

    def assign_ticket(self, ticket: Ticket, pod: Pod) -> None:
        """Charge a ticket to another pod; `Ticket.assign` calls it."""
        self._running()
        self._processor.assign(ticket, pod, self._time())
        self._settle()

    def settle_ticket(self, ticket: Ticket, cost: float) -> None:
        """Correct what fairness charged for a ticket's request; `Ticket.settle` calls it."""
        self._running()
        self._processor.settle(ticket, cost, self._time())
        self._settle()

    def explain_ticket(self, ticket: Ticket) -> Explanation | None:
        """Say why and how a ticket's request went; `Ticket.explanation` asks."""
        self._running()
        return self._processor.explain_ticket(ticket)

    def lose_ticket(self, ticket: Ticket) -> None:
        """Take the slot of a collected ticket back, in the next turn; safe in any thread, at any point."""
        self._processor.lose(ticket)
        assert self._loop is not None  # noqa: S101 - or there would be no ticket
        self._loop.threadsafe(self._turn)

    # -- after each step

    def _listen(self) -> None:
        heard = self._audience.hears
        self._ledger.hears = heard if self._ledger.recent is None else heard | _DECISIONS

    def _running(self) -> EventLoop:
        if self._loop is None:
            raise RuntimeError("the FlowController is not entered: use it as an async context manager")
        if get_ident() != self._thread:
            raise RuntimeError("a FlowController belongs to its event loop's thread; elsewhere use notify_threadsafe()")
        return self._loop

    def _time(self) -> float:
        if self._loop is None:
            return 0.0
        try:
            return self._loop.time()
        except RuntimeError:  # trio's run is over, and a ticket is released late
            return self._processor.last_time

    def _turn(self) -> None:
        self._processor.advance(self._time())
        self._settle()

    def _announced(self) -> None:
        if self._loop is None:
            return
        self._running()
        if self._processor.has_waiting and not self._processor.is_stepping:
            self._loop.soon()

    def _settle(self) -> None:
        """Wake callers, tell observers, and plan what comes next. What they do in turn is done in the same loop."""
        loop, ledger = self._loop, self._ledger
        if self._is_settling or loop is None or self._processor.is_stepping:
            return  # whoever settles, or made the step, goes on with this
        self._is_settling = True
        try:
            while ledger.finished or ledger.events:
                if ledger.finished:
                    finished, ledger.finished = ledger.finished, []
                    for item in finished:
                        if not loop.wake(item):
                            self._abandon(item)
                if ledger.events:
                    events, ledger.events = ledger.events, []
                    self._audience.publish(events)
        finally:
            self._is_settling = False
        # Nothing waits and nothing was planned: nothing to plan. A turn is due: it will plan.
        if (self._is_planned or self._waiting) and not loop.is_due:
            self._plan(loop)

    def _plan(self, loop: EventLoop) -> None:
        processor = self._processor
        if processor.pending:
            loop.soon()
        loop.arm(processor.next_due)
        self._is_planned = processor.has_waiting
        if self._empty is not None and not processor.has_waiting:
            self._empty.set()

    def _observer_failed(self, observer: object, error: BaseException) -> None:
        self._processor.ledger.plugin_failed("observer", observer, error)


class Admitted:
    """An admission and its release, as an async context manager; `FlowController.admitted` makes it."""

    __slots__ = ("_controller", "_request", "_ticket")

    def __init__(self, controller: FlowController, request: FlowControlRequest) -> None:
        self._controller = controller
        self._request = request
        self._ticket: Ticket | None = None

    async def __aenter__(self) -> Ticket:
        self._ticket = await self._controller.enqueue_and_wait(self._request)
        return self._ticket

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._ticket is not None  # noqa: S101 - it was entered
        self._ticket.__exit__(kind, error, trace)


def _check(name: str, value: object, contract: type) -> None:
    if isinstance(value, type) or not isinstance(value, contract):
        raise TypeError(f"{name} must be a {contract.__name__}, not {value!r}")
