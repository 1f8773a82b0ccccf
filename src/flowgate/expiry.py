"""When requests must leave: exact deadlines, with one heap and no timer for each.

A request that states its own TTL has a cell in the heap. One that states none has its lane's budget, which depends on
whether the lane has pods. That expiry is monotone in arrival, so a lane needs one cell alone, for the first of its
requests, and a change of regime touches nothing but that cell.
"""

import heapq
import math
from collections.abc import Iterator
from itertools import takewhile
from typing import Any

from flowgate.items import Item
from flowgate.lanes import Lane

__all__ = ["Deadlines"]

# A cell is [time, serial, item or lane, or None once it is void]. Serials are unique, so cells never compare further.
_Cell = list[Any]
_SLACK = 64


class Deadlines:
    """All deadlines of a shard.

    Args:
        default_ttl: Seconds that a request without a TTL may wait while its lane has pods.
        no_pods_ttl: The same while it has none.
    """

    __slots__ = ("_cells", "_serial", "_void", "default_ttl", "no_pods_ttl")

    def __init__(self, default_ttl: float, no_pods_ttl: float) -> None:
        self.default_ttl: float = default_ttl
        self.no_pods_ttl: float = no_pods_ttl
        self._cells: list[_Cell] = []
        self._void = 0
        self._serial = 0

    def __len__(self) -> int:
        """Return how many cells there are, void ones included."""
        return len(self._cells)

    def may_be_due(self, now: float) -> bool:
        """Return whether anything may be due; False is sure. One look at the heap, for each arrival."""
        return bool(self._cells) and self._cells[0][0] <= now

    @property
    def next_due(self) -> float:
        """The earliest time at which something may be due; infinite when there is none. O(1), amortised O(log n)."""
        cells = self._cells
        while cells:
            owner = cells[0][2]
            if owner is None:
                self._void -= 1
            elif isinstance(owner, Lane) and not owner.budgeted:
                owner.alarm = None
            else:
                return cells[0][0]  # type: ignore[no-any-return]
            heapq.heappop(cells)
        return math.inf

    def add(self, item: Item, lane: Lane) -> None:
        """Watch over a waiting item. One that came from another lane keeps its place by arrival."""
        if item.states_ttl:
            self._serial += 1
            item.timer = cell = [item.enqueue_time + item.effective_ttl, self._serial, item]
            heapq.heappush(self._cells, cell)
            return
        later = list(takewhile(lambda other: other.arrival > item.arrival, reversed(lane.budgeted)))
        lane.budgeted[item] = None
        for other in reversed(later):
            lane.budgeted.move_to_end(other)
        if later or len(lane.budgeted) == 1:  # it is the first to leave: an old cell may be of another regime
            self.watch(lane)

    def discard(self, item: Item, lane: Lane) -> None:
        """Forget an item that leaves. A lane keeps its cell: those who stay leave later than the first would have."""
        if not item.states_ttl:
            del lane.budgeted[item]
        elif item.timer is not None:
            item.timer[2] = None
            item.timer = None
            self._void += 1
            if self._void > _SLACK and self._void > len(self._cells) // 2 + _SLACK:
                self._sweep()

    def watch(self, lane: Lane) -> None:
        """Make sure of a cell no later than the lane's next expiry; called when that may have come nearer."""
        if not lane.budgeted:
            return
        due = self._budget_end(next(iter(lane.budgeted)), lane)
        if lane.alarm is not None:
            if lane.alarm[0] <= due:
                return
            self._void_cell(lane.alarm)
            lane.alarm = None
        if due < math.inf:
            lane.alarm = self._push(due, lane)

    def pop_due(self, now: float) -> Iterator[tuple[Item, Lane]]:
        """Iterate over the items whose time has come; each must be withdrawn before the next is asked for."""
        while self.next_due <= now:
            cell = heapq.heappop(self._cells)
            owner = cell[2]
            if isinstance(owner, Item):
                owner.timer = None
                yield owner, owner.queue.group.lane
                continue
            owner.alarm = None
            while owner.budgeted and self._budget_end(first := next(iter(owner.budgeted)), owner) <= now:
                yield first, owner
            self.watch(owner)

    def due(self, item: Item, lane: Lane) -> float:
        """Return when a waiting item must leave as things are, in seconds; infinite for never."""
        return item.deadline if item.states_ttl else self._budget_end(item, lane)

    def _budget_end(self, item: Item, lane: Lane) -> float:
        budget = self.default_ttl if lane.candidates else self.no_pods_ttl
        start = max(item.enqueue_time, lane.regime_since)
        return min(start + budget, item.enqueue_time + self.no_pods_ttl + self.default_ttl)

    def _push(self, due: float, owner: Item | Lane) -> _Cell:
        self._serial += 1
        cell: _Cell = [due, self._serial, owner]
        heapq.heappush(self._cells, cell)
        return cell

    def _void_cell(self, cell: _Cell) -> None:
        cell[2] = None
        self._void += 1
        if self._void > len(self._cells) // 2 + _SLACK:
            self._sweep()

    def _sweep(self) -> None:
        self._cells = [cell for cell in self._cells if cell[2] is not None]
        heapq.heapify(self._cells)
        self._void = 0
