"""The small form of a fairness policy: an object that only looks."""

from collections.abc import Callable

import pytest

from flowgate.contracts import BandView, FlowQueueView, InterFlowDispatchPolicy
from flowgate.policies import BestHead, QueueSelectorPolicy, RoundRobin, adapt_fairness
from flowgate.testing._groups import Lane, absent_flow


class Chosen:
    """Selects what it is told to, and remembers the bands that it saw."""

    def __init__(self, choose: Callable[[BandView], FlowQueueView | None]) -> None:
        self.choose = choose
        self.seen: list[BandView] = []

    def select_queue(self, band: BandView) -> FlowQueueView | None:
        self.seen.append(band)
        return self.choose(band)


def first(band: BandView) -> FlowQueueView:
    return next(iter(band.queues))


def test_full_policies_are_left_alone() -> None:
    """A policy that makes groups is returned as it is."""
    for policy in (RoundRobin(), BestHead()):
        assert adapt_fairness(policy, 0) is policy


def test_selector_becomes_a_policy() -> None:
    """An object with `select_queue` alone serves as a policy, under its own name or its type's."""
    adapted = adapt_fairness(Chosen(first), 3)
    assert isinstance(adapted, InterFlowDispatchPolicy)
    assert adapted.name == "Chosen"
    named = Chosen(first)
    named.name = "first"
    assert adapt_fairness(named, 3).name == "first"
    assert QueueSelectorPolicy.memoryless is True


@pytest.mark.parametrize("policy", [None, object(), "round-robin", RoundRobin, Chosen], ids=repr)
def test_anything_else_is_refused(policy: object) -> None:
    """What has neither form, or is a class where an object is due, is a TypeError that says so."""
    with pytest.raises(TypeError, match=r"^a fairness policy must (have|be an object)"):
        adapt_fairness(policy, 0)


def test_band_shows_its_priority_and_waiting_queues() -> None:
    """The selector sees the band's priority and exactly the waiting queues, the longest waiting first."""
    selector = Chosen(first)
    lane = Lane(adapt_fairness(selector, 7))
    for name in "abcb":
        lane.arrive(name)
    lane.cancel("a")
    lane.arrive("a")
    lane.group.select()
    band = selector.seen[-1]
    assert band.priority == 7
    assert [flow.flow_key.id for flow in band.queues] == ["b", "c", "a"]
    assert [len(flow) for flow in band.queues] == [2, 1, 1]


def test_selector_decides() -> None:
    """Whatever waiting queue it names goes next."""
    lane = Lane(adapt_fairness(Chosen(lambda band: max(band.queues, key=len)), 0))
    for name in "abbbcc":
        lane.arrive(name)
    assert lane.drain() == ["b", "b", "c", "a", "b", "c"]


def test_none_is_a_failure() -> None:
    """None from a band where queues wait is an error with the selector's name and their number."""
    lane = Lane(adapt_fairness(Chosen(lambda band: None), 0))
    for name in "ab":
        lane.arrive(name)
    with pytest.raises(ValueError, match="Chosen named no queue, though 2 wait"):
        lane.group.select()


def test_queue_that_does_not_wait_is_a_failure() -> None:
    """A queue of another band, or one that was emptied, is an error with the names of both."""
    lane = Lane(adapt_fairness(Chosen(lambda band: absent_flow("stray")), 0))
    lane.arrive("a")
    with pytest.raises(ValueError, match="Chosen named <flow stray>, which does not wait here"):
        lane.group.select()


def test_selector_failure_is_passed_on() -> None:
    """An exception of the selector's reaches the engine unchanged, and harms no later choice."""
    selector = Chosen(lambda band: 1 / 0)
    lane = Lane(adapt_fairness(selector, 0))
    lane.arrive("a")
    with pytest.raises(ZeroDivisionError):
        lane.group.select()
    selector.choose = first
    assert lane.drain() == ["a"]
