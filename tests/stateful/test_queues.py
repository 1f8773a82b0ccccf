"""Each queue against a naive list, through any history."""

import math
from typing import Any

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from flowgate.contracts import SafeQueue
from flowgate.queues import ListQueue, PriorityQueue
from flowgate.testing._items import SCORE, Item

SCORES = st.sampled_from([0.0, 1, 1.0, 2.5, -math.inf, math.inf, math.nan, None, True, "1", KeyError("score")])


class QueueMachine(RuleBasedStateMachine):
    """Adds, late arrivals and removals in any order; after each, all that can be seen agrees with a sorted list."""

    def __init__(self) -> None:
        super().__init__()
        self.queue = self.make_queue()
        self.model: list[Item] = []
        self.gone: list[Item] = []
        self.used: set[int] = set()

    def make_queue(self) -> SafeQueue:
        return ListQueue()

    def place(self, item: Item) -> Any:
        return item.arrival

    @rule(score=SCORES, size=st.integers(0, 9))
    def add_at_the_end(self, score: object, size: int) -> None:
        """An arrival after all others."""
        self.add(Item(score=score, byte_size=size, arrival=max(self.used, default=0) + 10))

    @rule(score=SCORES, size=st.integers(0, 9), arrival=st.integers(-100, 100))
    def add_an_earlier_arrival(self, score: object, size: int, arrival: int) -> None:
        """One that moved here from another lane."""
        if arrival not in self.used:
            self.add(Item(score=score, byte_size=size, arrival=arrival))

    @precondition(lambda self: self.gone)
    @rule(data=st.data())
    def add_again(self, data: st.DataObject) -> None:
        """One that went and came back."""
        self.add(self.gone.pop(data.draw(st.integers(0, len(self.gone) - 1))))

    def add(self, item: Item) -> None:
        self.queue.add(item)
        self.used.add(item.arrival)
        self.model.append(item)
        self.model.sort(key=self.place)

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        """Any item leaves: dispatched, cancelled, expired or displaced."""
        item = self.model.pop(data.draw(st.integers(0, len(self.model) - 1)))
        self.queue.remove(item)
        self.gone.append(item)

    @precondition(lambda self: self.model or self.gone)
    @rule(data=st.data())
    def refuse(self, data: st.DataObject) -> None:
        """A second add, or the removal of a stranger, changes nothing."""
        item = data.draw(st.sampled_from(self.model + self.gone))
        misuse = self.queue.remove if item in self.gone else self.queue.add
        try:
            misuse(item)
        except ValueError:
            return
        raise AssertionError("a ValueError was due")

    @invariant()
    def agrees_with_the_model(self) -> None:
        """Order, both ends, count and bytes."""
        assert list(self.queue) == self.model
        assert self.queue.peek_head() is (self.model[0] if self.model else None)
        assert self.queue.peek_tail() is (self.model[-1] if self.model else None)
        assert len(self.queue) == len(self.model)
        assert self.queue.byte_size == sum(item.byte_size for item in self.model)


class PriorityQueueMachine(QueueMachine):
    """The same, sorted by key."""

    def make_queue(self) -> SafeQueue:
        return PriorityQueue(SCORE)

    def place(self, item: Item) -> Any:
        is_number = isinstance(item.score, int | float) and not isinstance(item.score, bool)
        has_key = is_number and not math.isnan(item.score)
        return (not has_key, item.score if has_key else 0, item.arrival)


TestListQueue = QueueMachine.TestCase
TestPriorityQueue = PriorityQueueMachine.TestCase
TestListQueue.settings = TestPriorityQueue.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
