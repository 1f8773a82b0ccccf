"""Policies within a flow: which request goes next."""

import math
from typing import Any

import pytest

from flowgate.contracts import IntraFlowDispatchPolicy, QueueCapability
from flowgate.policies import EarliestDeadlineFirst, Fcfs, SloDeadline
from flowgate.testing._dispatch_suite import fitting_queue
from flowgate.testing._items import Asked, Item

MALFORMED = [
    None,
    True,
    math.nan,
    math.inf,
    -math.inf,
    -1,
    -0.5,
    10**400,
    "",
    "soon",
    "nan",
    "inf",
    "-3",
    "1 2",
    b"100",
    [100],
    {},
]


def served(policy: IntraFlowDispatchPolicy, items: list[Item]) -> list[int]:
    queue = fitting_queue(policy)
    for item in items:
        queue.add(item)
    order = []
    while (item := policy.select_item(queue)) is not None:
        queue.remove(item)
        order.append(items.index(item))
    return order


def targeted(target: Any, at: float = 0.0, key: str = "x-slo-ttft-ms") -> Item:
    return Item(request=Asked(metadata={key: target}), enqueue_time=at)


def test_names_and_capabilities() -> None:
    """Each is known by its name, and asks for the one order that it needs."""
    assert (Fcfs().name, EarliestDeadlineFirst().name, SloDeadline().name) == ("fcfs", "edf", "slo-deadline")
    assert Fcfs().required_queue_capabilities == {QueueCapability.FIFO}
    assert EarliestDeadlineFirst().required_queue_capabilities == {QueueCapability.PRIORITY}
    assert SloDeadline().required_queue_capabilities == {QueueCapability.PRIORITY}


def test_policies_are_values() -> None:
    """Two policies that decide alike are equal, so that configurations can be compared."""
    assert Fcfs() == Fcfs()
    assert SloDeadline("a") == SloDeadline("a") != SloDeadline("b")


def test_fcfs_is_arrival_order() -> None:
    """First come, first served, whatever the deadlines."""
    assert served(Fcfs(), [Item(deadline=float(9 - n)) for n in range(5)]) == [0, 1, 2, 3, 4]


def test_fcfs_compares_flows_by_waiting_time() -> None:
    """Between heads of flows, its key is the time of arrival."""
    assert Fcfs().comparator.key(Item(enqueue_time=4.5)) == 4.5
    assert Fcfs().comparator.score_type is float


def test_edf_serves_the_nearest_deadline() -> None:
    """The nearest deadline goes first, ties by arrival, no deadline last."""
    items = [Item(deadline=deadline) for deadline in (math.inf, 5.0, 3.0, 5.0, math.inf, 1.0)]
    assert served(EarliestDeadlineFirst(), items) == [5, 2, 1, 3, 0, 4]


def test_slo_is_arrival_plus_target() -> None:
    """An item is due at its arrival plus its target; a later arrival with a tighter target overtakes."""
    assert served(SloDeadline(), [targeted(5000), targeted(200, at=1.0), targeted(3000, at=2.5)]) == [1, 0, 2]


def test_slo_ties_go_by_arrival() -> None:
    """Items due at the same moment go in the order of arrival."""
    assert served(SloDeadline(), [targeted(2000, at=0.0), targeted(1000, at=1.0), targeted(0, at=2.0)]) == [0, 1, 2]


@pytest.mark.parametrize(
    ("target", "due"),
    [(250, 10.25), (250.0, 10.25), ("250", 10.25), (" 2.5e2 ", 10.25), (0, 10.0), ("0", 10.0), (-0.0, 10.0)],
)
def test_slo_reads_numbers_and_headers(target: object, due: float) -> None:
    """A target is a number, or a text that reads as one, in the unit that was stated."""
    assert SloDeadline().comparator.key(targeted(target, at=10.0)) == pytest.approx(due)
    by_seconds = SloDeadline(metadata_key="target", unit=1.0).comparator
    assert by_seconds.key(targeted(target, at=10.0, key="target")) == pytest.approx(10.0 + (due - 10.0) * 1000)


@pytest.mark.parametrize("target", MALFORMED, ids=repr)
def test_slo_without_a_good_target_goes_last(target: object) -> None:
    """An absent or malformed target is no target: such items follow all that have one, by arrival."""
    items = [targeted(target), Item(), targeted(10**9), targeted(target)]
    assert served(SloDeadline(), items) == [2, 0, 1, 3]
    assert SloDeadline().comparator.key(items[0]) == math.inf


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"metadata_key": ""}, ValueError),
        ({"metadata_key": 3}, TypeError),
        ({"unit": 0}, ValueError),
        ({"unit": -1.0}, ValueError),
        ({"unit": math.nan}, ValueError),
        ({"unit": math.inf}, ValueError),
        ({"unit": True}, TypeError),
        ({"unit": "0.001"}, TypeError),
    ],
)
def test_slo_refuses_bad_settings(arguments: dict[str, Any], error: type[Exception]) -> None:
    """A setting that could never work is refused at the constructor, by name."""
    with pytest.raises(error, match=next(iter(arguments))):
        SloDeadline(**arguments)
