"""Between flows: by turns, each of a quantum."""

from itertools import count
from typing import ClassVar

import attrs

from flowgate.contracts import FlowGroup, FlowKey, FlowQueueView, QueueItem
from flowgate.policies._order import Order
from flowgate.policies._shares import Cost, Weights, check_cost, check_weights, price, share, weigh
from flowgate.validators import positive

__all__ = ["DeficitRoundRobin"]


@attrs.frozen
class DeficitRoundRobin:
    """Flows take turns; each turn adds a quantum to what a flow may spend, and it spends it on requests.

    After Shreedhar and Varghese, "Efficient Fair Queuing Using Deficit Round-Robin" (1995). What does not suffice for
    the next request is kept for the next turn, but not by a flow that waits no longer: nobody banks credit. A flow that
    begins to wait goes first in the next round. The rounds in which a flow could only save are counted, not played. So
    a choice is O(1) within a turn and O(log n) from one turn to the next, however small the quantum beside a request.

    Over any interval in which two flows both wait in a group, what it dispatches of each, per weight, differs by less
    than `bound`: a quantum, and one largest request of each.

    Args:
        quantum: What a flow of weight 1 may spend more in each round, in units of cost. About the largest cost makes
            for the fewest turns; a smaller one for a finer share.
        weights: A mapping from flow ids to weights (those not in it weigh 1), or a callable of the `FlowKey`, asked
            each time that a flow begins to wait. A flow of weight 2 gets twice as much as one of weight 1.
        cost: None counts bytes; a str is the name of a number in the request's metadata; a callable is asked with the
            request.

    Raises:
        ValueError: `quantum` or a weight is not finite and more than 0, or the name is empty.
        TypeError: An argument is none of these.

    >>> from flowgate.policies import DeficitRoundRobin
    >>> DeficitRoundRobin(quantum=1_000, cost="tokens").bound(max_cost=(4_000, 500), weights=(2.0, 1.0))
    3500.0
    """

    quantum: float = attrs.field(default=16_384, validator=positive)
    weights: Weights | None = attrs.field(default=None, converter=check_weights, hash=False)
    cost: Cost | None = attrs.field(default=None, converter=check_cost)

    memoryless: ClassVar[bool] = True
    """It remembers nothing of flows that do not wait, and need not be told of requests that did not."""

    @property
    def name(self) -> str:
        """``"deficit-round-robin"``."""
        return "deficit-round-robin"

    def cost_of(self, item: QueueItem) -> float:
        """Say what an item costs; raise ValueError where its metadata has no such number."""
        return price(self.cost, item)

    def weight_of(self, key: FlowKey) -> float:
        """Say what a flow weighs; raise ValueError or TypeError where that is no weight."""
        return weigh(self.weights, key)

    def bound(self, max_cost: tuple[float, float] = (1, 1), weights: tuple[float, float] = (1, 1)) -> float:
        """Largest difference, in cost per weight, between two flows over any interval in which both wait.

        For a dispatch policy that selects the head of the queue, as all of ours do; each largest request counts twice
        for one that does not. A settlement counts as service from when it is known, and adds its own size per weight:
        those since the flow began to wait.

        Args:
            max_cost: The largest cost of a request of each, those counted that were cancelled.
            weights: What each weighs.
        """
        return self.quantum + max_cost[0] / weights[0] + max_cost[1] / weights[1]

    def new_group(self) -> FlowGroup:
        """Make an empty ring."""
        return _Ring(self)


_Place = tuple[int, int]
_Turn = tuple[int, _Place]


# Slotted and not frozen: it changes with every request. All amounts are per weight, in units of `share`.
@attrs.define(eq=False)
class _Seat:
    """One waiting flow: its place in each round, the last round it was credited for, what it may spend, and when."""

    flow: FlowQueueView
    weight: float
    place: _Place
    round: int
    deficit: int = 0
    turn: _Turn = (-1, (0, 0))


class _Ring:
    """The waiting flows of one group, each at its place in every round, by the next turn in which it can send.

    A turn is a round and a place. All turns before the one taken last are past, so each flow has had its quantum of
    every round up to that turn: credited only when somebody needs to know. A flow keeps its place while it waits, so
    between two turns of one flow, each other has one.
    """

    __slots__ = ("_keys", "_now", "_order", "_quantum", "_seats", "_serials")

    def __init__(self, policy: DeficitRoundRobin) -> None:
        self._quantum = share(policy.quantum, 1)
        self._seats: dict[FlowQueueView, _Seat] = {}
        self._keys: dict[FlowKey, _Seat] = {}
        self._order: Order[_Seat] = Order()
        self._serials = count()
        self._now: _Turn = (0, (0, 0))

    def activated(self, flow: FlowQueueView) -> None:
        # Not in this round, which might never end if newcomers could join. And not last in the next: whoever has this
        # round's turn still to come would then have two before the newcomer has one.
        current = self._now[0]
        seat = _Seat(flow, flow.weight, (-current, next(self._serials)), current)
        self._seats[flow] = self._keys[flow.flow_key] = seat
        self._plan(seat)

    def head_changed(self, flow: FlowQueueView) -> None:
        seat = self._seats.get(flow)
        if seat is not None:
            self._plan(seat)

    def charged(self, flow: FlowQueueView, item: QueueItem) -> None:
        seat = self._seats.get(flow)
        if seat is None:
            return
        if self._order.least() is seat:
            self._now = seat.turn
        self._spend(seat, item.cost)

    def settled(self, flow: FlowQueueView, delta: float) -> None:
        seat = self._seats.get(flow) or self._keys.get(flow.flow_key)
        if seat is not None:
            self._spend(seat, delta)

    def emptied(self, flow: FlowQueueView) -> None:
        seat = self._seats.pop(flow, None)
        if seat is not None:
            self._order.discard(seat)
            if self._keys.get(flow.flow_key) is seat:
                del self._keys[flow.flow_key]

    def select(self) -> FlowQueueView:
        return self._order.least().flow

    def _spend(self, seat: _Seat, amount: float) -> None:
        self._credit(seat)
        seat.deficit -= share(amount, seat.weight)
        self._plan(seat)

    def _credit(self, seat: _Seat) -> None:
        """Add the quanta of the rounds in which the flow had a turn."""
        now, place = self._now
        last = now if seat.place <= place else now - 1
        if last > seat.round:
            seat.deficit += (last - seat.round) * self._quantum
            seat.round = last

    def _plan(self, seat: _Seat) -> None:
        """Find the turn in which the flow can send its head."""
        self._credit(seat)
        head = seat.flow.head
        missing = 0 if head is None else share(head.cost, seat.weight) - seat.deficit
        rounds = -(-missing // self._quantum)
        is_its_turn = (seat.round, seat.place) == self._now
        turn = (seat.round + max(rounds, 0 if is_its_turn else 1), seat.place)
        if turn != seat.turn:
            seat.turn = turn
            self._order.put(seat, turn)
