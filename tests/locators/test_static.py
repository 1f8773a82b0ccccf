"""StaticPodLocator: constant pods, announced changes."""

from collections.abc import Sequence
from typing import Any

import attrs
import pytest

from flowgate.contracts import Pod, PodMetrics
from flowgate.locators import StaticPodLocator

A = Pod("a", "10.0.0.1", 80)
B = Pod("b", "10.0.0.2", 80)
IDLE = PodMetrics(waiting=0, running=0, kv_cache_usage=0.0, updated_at=0.0)


def heard_by(locator: StaticPodLocator) -> list[Sequence[Pod] | None]:
    heard: list[Sequence[Pod] | None] = []
    locator.subscribe(lambda pods=None: heard.append(pods))
    return heard


def test_answers_all_requests_alike() -> None:
    """Every request gets the same tuple, object for object, and the same key."""
    locator = StaticPodLocator([A, B])
    assert locator.locate({}) == (A, B)
    assert locator.locate({"x": 1}) is locator.locate({})
    assert locator.selection_key({"x": 1}) == locator.selection_key({})


def test_new_pods_are_announced_as_a_change_of_anything() -> None:
    """Another set, another order and no pods at all: each is announced, after it can be seen."""
    locator = StaticPodLocator([A])
    seen: list[tuple[Sequence[Pod] | None, tuple[Pod, ...]]] = []
    locator.subscribe(lambda pods=None: seen.append((pods, locator.locate({}))))
    for pods in [(A, B), (B, A), ()]:
        locator.set_pods(pods)
    assert seen == [(None, (A, B)), (None, (B, A)), (None, ())]


def test_new_metrics_and_labels_are_announced_for_their_pods_alone() -> None:
    """The same pods in the same order: only those that differ are named, as the new objects."""
    locator = StaticPodLocator([A, B])
    heard = heard_by(locator)
    measured = attrs.evolve(B, metrics=IDLE)
    locator.set_pods([A, measured])
    labelled = attrs.evolve(A, labels={"zone": "eu"})
    locator.set_pods([labelled, measured])
    assert [[id(pod) for pod in pods or ()] for pods in heard] == [[id(measured)], [id(labelled)]]
    assert [id(pod) for pod in locator.locate({})] == [id(labelled), id(measured)]


def test_nothing_new_changes_nothing() -> None:
    """Equal pods with equal metrics and labels leave the answer the same object, and nobody hears of it."""
    locator = StaticPodLocator([A, attrs.evolve(B, metrics=IDLE)])
    before, heard = locator.locate({}), heard_by(locator)
    locator.set_pods([Pod("a", "10.0.0.1", 80), attrs.evolve(B, metrics=attrs.evolve(IDLE))])
    assert locator.locate({}) is before
    assert not heard


def test_a_change_of_the_callers_list_is_no_change() -> None:
    """The locator keeps its own tuple."""
    pods = [A]
    locator = StaticPodLocator(pods)
    pods.append(B)
    assert locator.locate({}) == (A,)


def test_subscriptions_are_independent() -> None:
    """A callback that subscribed twice is called twice, and each subscription ends by itself, once."""
    locator = StaticPodLocator()
    heard: list[Sequence[Pod] | None] = []

    def hear(pods: Sequence[Pod] | None = None) -> None:
        heard.append(pods)

    first, second = locator.subscribe(hear), locator.subscribe(hear)
    locator.set_pods([A])
    first()
    first()
    locator.set_pods([B])
    second()
    locator.set_pods([])
    assert heard == [None, None, None]


def test_one_may_unsubscribe_while_being_called() -> None:
    """An announcement reaches all who had subscribed when it began, whoever leaves meanwhile."""
    locator = StaticPodLocator()
    heard: list[str] = []

    def leave(pods: Sequence[Pod] | None = None) -> None:
        heard.append("first")
        first()

    first = locator.subscribe(leave)
    locator.subscribe(lambda pods=None: heard.append("second"))
    locator.set_pods([A])
    locator.set_pods([B])
    assert heard == ["first", "second", "second"]


@pytest.mark.parametrize(
    ("pods", "error", "message"),
    [
        ([A, Pod("a", "10.0.0.1", 80, metrics=IDLE)], ValueError, "is there twice"),
        (["10.0.0.1:80"], TypeError, "must each be a Pod, not '10.0.0.1:80'"),
        ([None], TypeError, "must each be a Pod, not None"),
    ],
)
def test_bad_pods_are_refused_and_change_nothing(pods: Any, error: type[Exception], message: str) -> None:
    """A duplicate by identity and what is no pod are errors that name it; the old pods stay."""
    locator = StaticPodLocator([B])
    heard = heard_by(locator)
    with pytest.raises(error, match=message):
        locator.set_pods(pods)
    with pytest.raises(error, match=message):
        StaticPodLocator(pods)
    assert locator.locate({}) == (B,)
    assert not heard


def test_repr_counts_the_pods() -> None:
    """The repr says how many there are, not all of them."""
    assert repr(StaticPodLocator([A, B])) == "StaticPodLocator(2 pods)"
