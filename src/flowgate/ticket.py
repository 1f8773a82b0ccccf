"""What a dispatched caller holds: candidates, and the charge that it must give back."""

import sys
import warnings
from itertools import chain
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

from flowgate.contracts import FlowControlRequest, Pod, ReleaseResult
from flowgate.explanation import Explanation, explain_ticket

if TYPE_CHECKING:
    from flowgate.candidates import Open
    from flowgate.items import Item
    from flowgate.lanes import FlowQueue
    from flowgate.pods import PodState
    from flowgate.registry import Flow

__all__ = ["Ticket", "TicketOwner"]

_RESULTS = ("ok", "dropped", "ignored")


class TicketOwner(Protocol):
    """Whoever hands out tickets, and takes their charges back."""

    def release_ticket(self, ticket: "Ticket", result: ReleaseResult) -> None:
        """Take the charge back; called once for each ticket."""
        ...

    def is_open(self, ticket: "Ticket", state: "PodState") -> bool:
        """Return whether a pod has room for the ticket's request now."""
        ...

    def assign_ticket(self, ticket: "Ticket", pod: Pod) -> None:
        """Move the charge to another pod."""
        ...

    def settle_ticket(self, ticket: "Ticket", cost: float) -> None:
        """Correct what fairness charged for the request."""
        ...

    def explain_ticket(self, ticket: "Ticket") -> Explanation | None:
        """Return what is kept of how the request went; None for nothing."""
        ...

    def lose_ticket(self, ticket: "Ticket") -> None:
        """Take the charge of a collected ticket back. Called by the garbage collector, in any thread, at any point."""
        ...


class Ticket:
    """The right to send one request on, and the charge for it.

    Use it as a context manager, sync or async; leaving it releases the charge: with ``"ok"``, with ``"dropped"`` when
    an exception passes, with ``"ignored"`` when that is a cancellation. A ticket that is garbage-collected unreleased
    releases itself, and warns with a ResourceWarning.
    """

    __slots__ = (
        "_owner",
        "cost",
        "dispatched_at",
        "first",
        "flow",
        "is_overcommitted",
        "is_released",
        "number",
        "queue",
        "queue_wait",
        "request",
        "spare",
        "state",
    )

    def __init__(
        self,
        owner: TicketOwner,
        request: FlowControlRequest,
        flow: "Flow | None",
        spare: "Open",
        queue_wait: float,
        dispatched_at: float,
    ) -> None:
        self._owner = owner
        self.request: FlowControlRequest = request
        """The request, as submitted."""
        self.queue_wait: float = queue_wait
        """Seconds from arrival to dispatch."""
        self.dispatched_at: float = dispatched_at
        """Seconds of the controller's clock."""
        self.is_released: bool = False
        """Whether the slot was given back."""
        # The rest is the engine's: whom the ticket counts for, what fairness charged for it and where, and the charge
        # that `PodTable` writes.
        self.flow: Flow | None = flow
        self.spare: Open = spare
        self.first: PodState | None = None
        self.state: PodState | None = None
        self.number: int = 0
        self.is_overcommitted: bool = False
        self.cost: float = 0
        self.queue: FlowQueue | None = None

    @property
    def request_id(self) -> str:
        """The request's own id, made only when asked for."""
        return self.request.request_id()

    @property
    def pod(self) -> Pod | None:
        """The pod it is charged to; None when there was none."""
        return None if self.state is None else self.state.pod

    @property
    def candidates(self) -> tuple[Pod, ...]:
        """The pods that were open at dispatch, the one that was charged first."""
        first = self.first
        rest = (state.pod for state in chain.from_iterable(self.spare) if state is not first)
        return tuple(rest) if first is None else (first.pod, *rest)

    def open_candidates(self) -> tuple[Pod, ...]:
        """Return the candidates that have room for the request now: what a scheduler may choose among.

        Of the requests that one pass lets go, those that resume first may take what was open to the others at the
        dispatch. The charged pod is always among them, and first; on a released ticket it is as for any other pod.
        """
        owner, charged = self._owner, None if self.is_released else self.state
        spare = chain.from_iterable(self.spare)
        rest = (state.pod for state in spare if state is not charged and owner.is_open(self, state))
        return tuple(rest) if charged is None else (charged.pod, *rest)

    def assign(self, pod: Pod) -> None:
        """Move the charge to another pod, when the caller's own scheduler prefers it.

        A pod that is full or not a candidate is allowed, and counted as overcommitted; `open_candidates` are neither.

        Raises:
            TypeError: `pod` is not a `Pod`.
            RuntimeError: The ticket is released already.
        """
        if not isinstance(pod, Pod):  # callers may be untyped
            raise TypeError(f"a ticket is assigned to a Pod, not to {pod!r}")
        if self.is_released:
            raise RuntimeError(f"the ticket of request {self.request_id!r} is released already")
        self._owner.assign_ticket(self, pod)

    def settle(self, cost: float) -> None:
        """Say what the request truly cost, once that is known: tokens counted, say.

        A fairness policy that shares by cost corrects what it charged at dispatch; any other takes no notice. It may be
        called again, with each better figure: the last one holds.

        Args:
            cost: In the unit of the band's fairness policy; less than 1 counts as 1.

        Raises:
            TypeError: The cost is no number.
            ValueError: It is negative, infinite or NaN.
            RuntimeError: The ticket is released already.
        """
        if not isinstance(cost, int | float) or isinstance(cost, bool):
            raise TypeError(f"a cost must be a number, not {cost!r}")
        if not 0 <= cost <= sys.float_info.max:  # NaN is not
            raise ValueError(f"a cost must be finite and 0 or more, not {cost!r:.40}")
        if self.is_released:
            raise RuntimeError(f"the ticket of request {self.request_id!r} is released already")
        self._owner.settle_ticket(self, cost)

    @property
    def explanation(self) -> Explanation:
        """Why and how the request went: its lane, pods and ceiling then, and who was ahead of it when it came.

        Where decisions are not kept (``explain_last``), or this one is too old, only what the ticket knows: its flow
        and pod, how many candidates were open, when it went and how long it waited.
        """
        return self._owner.explain_ticket(self) or explain_ticket(self)

    def book(self, item: "Item") -> None:
        """Note what fairness charged for the request, and where: the engine's part of `settle`."""
        self.cost = item.cost
        self.queue = item.queue

    def release(self, result: ReleaseResult = "ok") -> None:
        """Give the slot back. Only the first call does anything.

        Args:
            result: ``"ok"``; ``"dropped"`` when the pod failed or refused; ``"ignored"`` when the outcome says nothing
                of the pod, such as a caller who hung up.

        Raises:
            ValueError: The result is none of these.
        """
        if result not in _RESULTS:
            raise ValueError(f"result must be one of {', '.join(map(repr, _RESULTS))}, not {result!r}")
        if self.is_released:
            return
        self.is_released = True
        try:
            self._owner.release_ticket(self, result)
        except BaseException:
            self.is_released = False  # refused, in another thread say: the slot is still held
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release("ok" if kind is None else "dropped" if issubclass(kind, Exception) else "ignored")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, trace)

    def __del__(self) -> None:
        if not self.is_released:
            self._owner.lose_ticket(self)
            warnings.warn(f"{self!r} was never released", ResourceWarning, source=self, stacklevel=1)

    def __repr__(self) -> str:
        state = "released" if self.is_released else "held"
        where = self.pod.endpoint if self.pod else "no pod"
        return f"<Ticket {state}, charged to {where} after {self.queue_wait:.3f} s>"
