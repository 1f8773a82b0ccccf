"""What each queue promises beyond the contract."""

import pytest

from flowgate.contracts import ItemComparator, QueueCapability
from flowgate.queues import ListQueue, PriorityQueue
from flowgate.testing._items import BY_ARRIVAL, SCORE, Item


def test_capabilities() -> None:
    """A ListQueue promises arrival order, a PriorityQueue the smallest key."""
    assert ListQueue.capabilities == {QueueCapability.FIFO}
    assert PriorityQueue.capabilities == {QueueCapability.PRIORITY}


def test_repr_tells_what_waits() -> None:
    """A queue shows its count and bytes."""
    fifo, ranked = ListQueue(), PriorityQueue(SCORE)
    for queue in (fifo, ranked):
        queue.add(Item(byte_size=120))
    assert repr(fifo) == "ListQueue(1 items, 120 bytes)"
    assert repr(ranked) == "PriorityQueue(1 items, 120 bytes)"


def test_list_queue_asks_for_no_key() -> None:
    """A FIFO queue pays nothing for the comparator that it is made with."""

    def forbidden(item: object) -> float:
        raise AssertionError("no key is needed")

    queue = ListQueue(ItemComparator(float, forbidden))
    queue.add(Item())
    assert len(queue) == 1


def test_priority_queue_by_arrival_is_a_list_queue() -> None:
    """With the arrival for a key both queues have the same order."""
    fifo, ranked = ListQueue(), PriorityQueue(BY_ARRIVAL)
    for arrival in (3, 1, 2):
        item = Item(arrival=arrival)
        fifo.add(item)
        ranked.add(item)
    assert list(fifo) == list(ranked)


def test_failed_add_leaves_no_trace() -> None:
    """Keys that break their contract, and cannot be compared, make `add` raise; the queue stays whole."""
    queue = PriorityQueue(ItemComparator(tuple, SCORE.key))
    queue.add(Item(score=(1, "a")))
    with pytest.raises(TypeError):
        queue.add(Item(score=(1, 2), byte_size=5))
    assert (len(queue), len(list(queue)), queue.byte_size) == (1, 1, 1)


def test_late_arrival_passes_only_later_ones() -> None:
    """To put an earlier arrival in its place touches those that arrived after it, and no others."""
    queue = ListQueue()
    for arrival in range(0, 2000, 2):
        queue.add(Item(arrival=arrival))
    late = Late(1995)
    queue.add(late)
    assert [item.arrival for item in queue][-4:] == [1994, 1995, 1996, 1998]
    assert late.compared <= 5


class Late(Item):
    """An item whose arrival counts its comparisons."""

    def __init__(self, arrival: int) -> None:
        super().__init__(arrival=Counted(arrival))

    @property
    def compared(self) -> int:
        assert isinstance(self.arrival, Counted)
        return self.arrival.compared


class Counted(int):
    """An int that counts how often it is compared for order."""

    compared = 0

    def __lt__(self, other: int) -> bool:
        self.compared += 1
        return int(self) < int(other)

    def __gt__(self, other: int) -> bool:
        self.compared += 1
        return int(self) > int(other)
