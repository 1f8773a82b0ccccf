"""The promises of every IntraFlowDispatchPolicy."""

from flowgate.contracts import IntraFlowDispatchPolicy, ItemComparator, QueueCapability, SafeQueue
from flowgate.queues import LAST, ListQueue, PriorityQueue, take_key
from flowgate.testing._contracts import assert_complete
from flowgate.testing._items import Item


class DispatchPolicySuite:
    """Tests of a policy within a flow.

    Subclass it under a name that pytest collects, beside a fixture `policy` that answers with your policy.
    """

    def test_is_a_dispatch_policy(self, policy: IntraFlowDispatchPolicy) -> None:
        """It has every part of the contract, a name to show, and asks only for capabilities that exist."""
        assert_complete(policy, IntraFlowDispatchPolicy)
        assert policy.name == policy.name.strip() != "", f"name is {policy.name!r}: it must be a name to show"
        required = policy.required_queue_capabilities
        unknown = [capability for capability in required if not isinstance(capability, QueueCapability)]
        assert not unknown, f"required_queue_capabilities has {unknown}: its members must be of QueueCapability"
        assert isinstance(required, frozenset), f"required_queue_capabilities is {required!r}: it must be a frozenset"

    def test_comparator_answers_for_a_plain_item(self, policy: IntraFlowDispatchPolicy) -> None:
        """An item without any metadata has a key of the stated type, the same whenever it is asked."""
        comparator = policy.comparator
        assert isinstance(comparator, ItemComparator), f"comparator is {comparator!r}: it must be an ItemComparator"
        item = Item()
        key, error = take_key(comparator, item)
        assert error is None, f"comparator.key failed for an item without metadata: {error!r}"
        assert key is not LAST, "comparator.key has no key for an item without metadata"
        for _ in range(10):
            again, _error = take_key(comparator, item)
            assert again == key, f"comparator.key answered {key!r} for an item, and then {again!r} for the same"

    def test_selects_nothing_from_an_empty_queue(self, policy: IntraFlowDispatchPolicy) -> None:
        """None is the answer to an empty queue, and to no other."""
        assert policy.select_item(fitting_queue(policy)) is None

    def test_serves_every_item_once(self, policy: IntraFlowDispatchPolicy) -> None:
        """From a queue that waits it names an item of that queue, until none is left."""
        queue = fitting_queue(policy)
        items = [Item(enqueue_time=float(n), deadline=100.0 - n) for n in range(10)]
        for item in items:
            queue.add(item)
        while waiting := list(queue):
            chosen = policy.select_item(queue)
            assert chosen is not None, f"{policy.name} named no item while {len(waiting)} wait"
            assert any(chosen is item for item in waiting), f"{policy.name} named {chosen!r}, which does not wait"
            queue.remove(chosen)
        assert policy.select_item(queue) is None

    def test_selection_changes_nothing(self, policy: IntraFlowDispatchPolicy) -> None:
        """To ask is not to take: the queue stays as it was, and the answer too."""
        queue = fitting_queue(policy)
        for _ in range(3):
            queue.add(Item())
        before = list(queue)
        assert policy.select_item(queue) is policy.select_item(queue)
        assert list(queue) == before


def fitting_queue(policy: IntraFlowDispatchPolicy) -> SafeQueue:
    """An empty queue that promises what the policy requires."""
    for queue_class in (ListQueue, PriorityQueue):
        if policy.required_queue_capabilities <= queue_class.capabilities:
            return queue_class(policy.comparator)
    raise LookupError(f"no queue of flowgate's has all of {policy.required_queue_capabilities}")
