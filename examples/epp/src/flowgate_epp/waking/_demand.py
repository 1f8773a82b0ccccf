"""How much is asked of the pool: what waits and what runs, counted as it happens."""

import logging
from collections.abc import Callable
from typing import Final, Literal, NamedTuple, Protocol

from flowgate import QueueOutcome
from flowgate.contracts import Dispatched, Dropped, Enqueued, FlowControlRequest, Observer, Released
from flowgate_epp.director import estimated_tokens

__all__ = ["Demand", "DemandMeter", "DemandObserver", "WorkUnit"]

_log = logging.getLogger("flowgate_epp.waking")

WorkUnit = Literal["bytes", "tokens"]
"""What work is counted in: bytes as requests state them, or tokens as `flowgate_epp.director.token_counter` does."""

_WANTED_A_POD: Final = frozenset(
    {
        QueueOutcome.REJECTED_CAPACITY,
        QueueOutcome.REJECTED_NO_PODS,
        QueueOutcome.REJECTED_SHED,
        QueueOutcome.REJECTED_INFEASIBLE,
    }
)


class Demand(NamedTuple):
    """The pool's demand at one moment."""

    waiting: int
    """Requests that wait."""
    running: int
    """Requests in flight: unreleased tickets."""
    waiting_work: float
    """Work of those that wait, in the unit of the meter."""
    running_work: float
    """Work of those in flight, in the same unit."""

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits and nothing runs."""
        return self.waiting == self.running == 0


class DemandObserver(Protocol):
    """Whoever acts on demand: wakes the pool, or tells an autoscaler."""

    def demand_changed(self, demand: Demand) -> None:
        """Hear of a change, in the turn of the loop in which it happened; must return at once, and not block.

        Told are the edges: the first request after none, the first that waits where none did, and the end of the last
        one. For what changes in between ask `DemandMeter.demand`.
        """
        ...


class DemandMeter(Observer):
    """Counts requests that wait and that run, and their work: an observer of the controller. O(1) for each event.

    A request that goes without waiting counts as running. One that is refused for want of room, or of pods, counts as
    waiting for an instant, told as two changes: a pool whose bands queue nothing is woken by whom it turns away.
    Requests that are refused for what they are, or as the controller closes, are no demand.

    Legacy admission tells no events: behind it demand is always idle, and nothing wakes the pool.

    The work of a request is read again as it ends, and nothing is kept of it in between. Where a request of another
    make says other numbers then, the sum is wrong until nobody waits, or runs: it begins anew at zero.

    Args:
        work: What work is counted in.

    Raises:
        ValueError: It is neither.
    """

    def __init__(self, work: WorkUnit = "bytes") -> None:
        if work not in ("bytes", "tokens"):
            raise ValueError(f"work must be 'bytes' or 'tokens', not {work!r}")
        self.unit: WorkUnit = work
        """What work is counted in."""
        self._estimate: Callable[[FlowControlRequest], float] | None = estimated_tokens if work == "tokens" else None
        self._waiting = self._running = 0
        self._waiting_work = self._running_work = 0.0
        self._observers: tuple[DemandObserver, ...] = ()

    @property
    def demand(self) -> Demand:
        """The demand now."""
        return Demand(self._waiting, self._running, self._waiting_work, self._running_work)

    def subscribe(self, observer: DemandObserver) -> Callable[[], None]:
        """Tell an observer from now on; while there is demand it is told of it at once.

        Returns:
            What ends that; more than once does no harm.
        """
        self._observers = (*self._observers, observer)
        if self._waiting or self._running:
            self._tell(observer, self.demand)

        def unsubscribe() -> None:
            self._observers = tuple(each for each in self._observers if each is not observer)

        return unsubscribe

    # -- what the controller tells. Counts come first, for a request of another make may raise as it is measured.

    def on_enqueued(self, event: Enqueued) -> None:
        """Count a request that waits."""
        item = event.item
        self._waiting += 1
        try:
            self._waiting_work += self._work(item.request, item.byte_size)
        finally:
            if self._waiting == 1:
                self._tell_all(self.demand)

    def on_dispatched(self, event: Dispatched) -> None:
        """Count a request that goes."""
        self._running += 1
        if event.waited:
            self._waiting -= 1
        try:
            work = self._work(event.request, event.byte_size)
            self._running_work += work
            if event.waited:
                self._waiting_work = self._waiting_work - work if self._waiting else 0.0
        finally:
            if self._running == 1 and not self._waiting and not event.waited:
                self._tell_all(self.demand)

    def on_dropped(self, event: Dropped) -> None:
        """Take out a request that waited; notice one that would have."""
        if event.outcome.is_evicted:
            self._waiting -= 1
            try:
                self._waiting_work -= self._work(event.request, event.byte_size)
            finally:
                self._left()
        elif event.outcome in _WANTED_A_POD and not self._waiting:
            now = self.demand
            work = self._work(event.request, event.byte_size)
            self._tell_all(now._replace(waiting=1, waiting_work=work))
            self._tell_all(now)

    def on_released(self, event: Released) -> None:
        """Take out a request that ran."""
        self._running -= 1
        try:
            request = event.ticket.request  # type: ignore[attr-defined]  # tickets of the engine lead to it
            self._running_work -= self._work(request, None)
        finally:
            self._left()

    def _work(self, request: FlowControlRequest, size: int | None) -> float:
        if self._estimate is not None:
            return self._estimate(request)
        return request.byte_size() if size is None else size

    def _left(self) -> None:
        # Sums of floats drift: nothing is exactly no work.
        if not self._waiting:
            self._waiting_work = 0.0
        if not self._running:
            self._running_work = 0.0
            if not self._waiting:
                self._tell_all(self.demand)

    def _tell_all(self, demand: Demand) -> None:
        for observer in self._observers:
            self._tell(observer, demand)

    @staticmethod
    def _tell(observer: DemandObserver, demand: Demand) -> None:
        try:
            observer.demand_changed(demand)
        except Exception:  # one that fails must not keep the others from hearing of it
            _log.exception("%r failed to hear of %r", observer, demand)
