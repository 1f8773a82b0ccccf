"""The promises of every SafeQueue."""

import gc
import random
import weakref
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import attrs
import pytest

from flowgate.contracts import ItemComparator, QueueCapability, QueueItem, SafeQueue
from flowgate.testing._contracts import assert_complete
from flowgate.testing._items import BY_ARRIVAL, SCORE, Item, QueueFactory, read_score


class SafeQueueSuite:
    """Tests of a queue class.

    Subclass it under a name that pytest collects, beside a fixture `make_queue` that answers with your class, or with
    any function from a comparator to an empty queue.
    """

    def test_is_a_safe_queue(self, make_queue: QueueFactory) -> None:
        """It has every method of the contract, and says what it promises of its head."""
        queue = make_queue(SCORE)
        assert_complete(queue, SafeQueue)
        unknown = [capability for capability in queue.capabilities if not isinstance(capability, QueueCapability)]
        assert not unknown, f"capabilities has {unknown}: its members must be of QueueCapability"
        assert queue.capabilities, "capabilities is empty: say what the queue promises of its head"

    def test_empty_queue_has_no_ends(self, make_queue: QueueFactory) -> None:
        """An empty queue has no head, no tail, no items and no bytes."""
        queue = make_queue(SCORE)
        assert (queue.peek_head(), queue.peek_tail(), list(queue)) == (None, None, [])
        assert (len(queue), queue.byte_size) == (0, 0)

    def test_only_item_is_both_ends(self, make_queue: QueueFactory) -> None:
        """A single item is the head and the tail, and looking does not take it."""
        queue, item = make_queue(SCORE), Item(byte_size=7)
        queue.add(item)
        assert queue.peek_head() is item
        assert queue.peek_tail() is item
        assert (len(queue), queue.byte_size) == (1, 7)

    def test_queues_are_independent(self, make_queue: QueueFactory) -> None:
        """Two queues from one factory share nothing."""
        first, second = make_queue(SCORE), make_queue(SCORE)
        first.add(Item())
        assert (len(first), len(second)) == (1, 0)

    def test_keeps_its_order(self, make_queue: QueueFactory) -> None:
        """FIFO means by arrival, PRIORITY by key and then by arrival, in whatever order items are added."""
        queue = make_queue(SCORE)
        items = [Item(score=float(n % 3), arrival=n) for n in range(30)]
        for item in random.Random(1).sample(items, k=len(items)):
            queue.add(item)
        if QueueCapability.PRIORITY in queue.capabilities:
            items.sort(key=lambda item: (item.score, item.arrival))
        assert _arrivals(queue) == [item.arrival for item in items]
        assert (queue.peek_head(), queue.peek_tail()) == (items[0], items[-1])

    def test_ties_go_by_arrival(self, make_queue: QueueFactory) -> None:
        """Among equal keys the item that arrived first is first, though it was added last."""
        queue = make_queue(SCORE)
        for arrival in (5, 9, 7, 3, 8):
            queue.add(Item(score=1.0, arrival=arrival))
        assert _arrivals(queue) == [3, 5, 7, 8, 9]

    @pytest.mark.parametrize("place", [0, 2, 4], ids=["head", "middle", "tail"])
    def test_any_item_can_be_removed(self, make_queue: QueueFactory, place: int) -> None:
        """An item leaves from wherever it stands, and takes its bytes along; the others keep their order."""
        queue = make_queue(SCORE)
        items = [Item(score=float(n), byte_size=n, arrival=n) for n in range(5)]
        for item in items:
            queue.add(item)
        queue.remove(items.pop(place))
        assert _arrivals(queue) == [item.arrival for item in items]
        assert (len(queue), queue.byte_size) == (4, 10 - place)
        assert (queue.peek_head(), queue.peek_tail()) == (items[0], items[-1])

    def test_removed_item_can_come_back(self, make_queue: QueueFactory) -> None:
        """An item that moved to another lane and back stands where it stood."""
        queue = make_queue(SCORE)
        items = [Item(arrival=n) for n in range(3)]
        for item in items:
            queue.add(item)
        queue.remove(items[0])
        queue.add(items[0])
        assert _arrivals(queue) == [0, 1, 2]

    def test_no_item_is_added_twice(self, make_queue: QueueFactory) -> None:
        """A second add of an item is a ValueError that names it, and changes nothing."""
        queue, item = make_queue(SCORE), Item(arrival=41)
        queue.add(item)
        with pytest.raises(ValueError, match="41"):
            queue.add(item)
        assert (len(queue), queue.byte_size) == (1, 1)

    def test_no_stranger_is_removed(self, make_queue: QueueFactory) -> None:
        """Removing an item that is not there, or no longer, is a ValueError that names it, and changes nothing."""
        queue, kept, gone = make_queue(SCORE), Item(arrival=40), Item(arrival=41)
        queue.add(kept)
        queue.add(gone)
        queue.remove(gone)
        with pytest.raises(ValueError, match="41"):
            queue.remove(gone)
        with pytest.raises(ValueError, match="40"):
            queue.remove(Item(arrival=40))
        assert (_arrivals(queue), queue.byte_size) == ([40], 1)

    def test_bytes_cannot_drift(self, make_queue: QueueFactory) -> None:
        """An item gives back the bytes that it was booked with, whatever it says later."""
        queue, item = make_queue(SCORE), Item(byte_size=10)
        queue.add(item)
        item.byte_size = 99
        assert queue.byte_size == 10
        queue.remove(item)
        assert queue.byte_size == 0

    @pytest.mark.parametrize("score", [float("nan"), "text", None, True, RuntimeError("no key")], ids=repr)
    def test_bad_key_keeps_nobody_out(self, make_queue: QueueFactory, score: object) -> None:
        """An item whose key raises, is NaN or of another type is queued and removed as any other."""
        queue, bad, good = make_queue(SCORE), Item(score=score, arrival=1), Item(score=5.0, arrival=2)
        queue.add(bad)
        queue.add(good)
        assert len(queue) == 2
        queue.remove(bad)
        assert list(queue) == [good]

    def test_items_without_a_key_go_last(self, make_queue: QueueFactory) -> None:
        """A queue that sorts by key has the items without one at its end, by arrival."""
        queue = make_queue(SCORE)
        if QueueCapability.PRIORITY not in queue.capabilities:
            return
        for arrival, score in enumerate([None, 2.0, float("nan"), float("inf"), 1]):
            queue.add(Item(score=score, arrival=arrival))
        assert _arrivals(queue) == [4, 1, 3, 0, 2]

    def test_key_is_taken_once(self, make_queue: QueueFactory) -> None:
        """The key is asked for once at most, so an item keeps its place, and can leave, though its key changes."""
        asked: list[int] = []

        def read(item: QueueItem) -> object:
            asked.append(item.arrival)
            return read_score(item)

        queue = make_queue(ItemComparator(float, read))
        items = [Item(score=float(n), arrival=n) for n in range(5)]
        for item in items:
            queue.add(item)
        for item in items:
            item.score = -item.score
        assert _arrivals(queue) == [0, 1, 2, 3, 4]
        queue.remove(items[1])
        assert _arrivals(queue) == [0, 2, 3, 4]
        assert len(asked) == len(set(asked))

    def test_items_are_never_compared(self, make_queue: QueueFactory) -> None:
        """Items need neither order nor hash, even where keys tie."""
        queue = make_queue(SCORE)
        items = [Item(score=1.0) for _ in range(20)]
        for item in random.Random(2).sample(items, k=len(items)):
            queue.add(item)
        for item in items:
            assert queue.peek_head() is item
            queue.remove(item)

    def test_keys_need_only_know_their_own_kind(self, make_queue: QueueFactory) -> None:
        """A key type that fails against strangers, and has no hash, serves, beside items without a key too."""
        queue = make_queue(ItemComparator(Grade, SCORE.key))
        for arrival, score in enumerate([None, Grade(2), Grade(1), RuntimeError(), Grade(2)]):
            queue.add(Item(score=score, arrival=arrival))
        if QueueCapability.PRIORITY in queue.capabilities:
            assert _arrivals(queue) == [2, 1, 4, 0, 3]
        for item in list(queue):
            queue.remove(item)
        assert len(queue) == 0

    @pytest.mark.parametrize("at", ["head", "middle", "tail"])
    def test_operations_are_cheap(self, make_queue: QueueFactory, at: str) -> None:
        """To look, add and remove takes O(log n) comparisons of keys, anywhere in a queue of 4,096."""
        arrival = {"head": -1, "middle": 4097, "tail": 9999}[at]
        queue = make_queue(ItemComparator(Grade, lambda item: Grade(item.arrival)))
        for even in range(0, 2 * 4096, 2):
            queue.add(Item(arrival=even))
        item = Item(arrival=arrival)
        Grade.compared = 0
        queue.add(item)
        queue.peek_head()
        queue.peek_tail()
        len(queue)
        queue.remove(item)
        assert Grade.compared <= 8 * 12, f"{Grade.compared} comparisons of keys in a queue of 4,096"

    def test_holds_nothing_once_empty(self, make_queue: QueueFactory) -> None:
        """Neither an item nor its request is kept alive by a queue that it left."""
        queue = make_queue(BY_ARRIVAL)
        items = [Item(byte_size=n) for n in range(50)]
        dropped = [weakref.ref(item) for item in items]
        _fill_and_empty(queue, items)
        items.clear()
        gc.collect()
        assert [gone for gone in dropped if gone() is not None] == []
        assert queue.byte_size == 0


@attrs.define(eq=False)
class Grade:
    """A key type as people write them: it breaks on strangers. It counts how often it is compared."""

    value: int
    compared = 0

    if not TYPE_CHECKING:
        __hash__ = None

    def __eq__(self, other: Any) -> bool:
        Grade.compared += 1
        return bool(self.value == other.value)

    def __lt__(self, other: Any) -> bool:
        Grade.compared += 1
        return bool(self.value < other.value)


def _fill_and_empty(queue: SafeQueue, items: Sequence[Item]) -> None:
    for item in items:
        queue.add(item)
    for item in items:
        queue.remove(item)


def _arrivals(queue: SafeQueue) -> list[int]:
    return [item.arrival for item in queue]
