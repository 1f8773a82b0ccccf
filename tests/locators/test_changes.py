"""Locators that tell which pods come and go: whoever follows what they tell knows what they would answer."""

from collections.abc import Callable, Hashable, Mapping, Sequence

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowgate.announcer import Announcer
from flowgate.contracts import ChangeCallback, Pod, PodMetrics, PoolCallback
from flowgate.locators import CachedPodLocator, StaticPodLocator, SubsetPodLocator

PODS = [Pod(name, f"10.0.0.{number // 2}", 80 + number % 2) for number, name in enumerate("abcdefgh")]
HINTS: Sequence[Sequence[str] | None] = (
    None,
    [],
    ["10.0.0.0:80"],
    ["10.0.0.0"],
    ["10.0.0.0:81", "10.0.0.1:80", "10.0.0.2:80", "10.0.0.2:81", "10.0.0.9"],
    ["fd00::1"],
)


def metadata_of(hint: Sequence[str] | None, model: str = "") -> Mapping[str, object]:
    if hint is None:
        return {"model": model}
    return {"model": model, "envoy.lb.subset_hint": {"x-gateway-destination-endpoint-subset": hint}}


class TellingLocator:
    """Tells which pods come and go; a request may name a model, which is the first letter of no pod or of one."""

    def __init__(self, pods: Sequence[Pod] = ()) -> None:
        self.pods = dict.fromkeys(pods)
        self.announcer = Announcer()
        self.asked = 0

    def locate(self, metadata: Mapping[str, object]) -> Sequence[Pod]:
        self.asked += 1
        key = self.selection_key(metadata)
        return [pod for pod in self.pods if self.selects(key, pod)]

    def selection_key(self, metadata: Mapping[str, object]) -> Hashable:
        return metadata.get("model", "")

    def selects(self, key: Hashable, pod: Pod) -> bool:
        return key in {"", pod.name}

    def subscribe(self, callback: ChangeCallback) -> Callable[[], None]:
        return self.announcer.subscribe(callback)

    def subscribe_changes(self, callback: PoolCallback) -> Callable[[], None]:
        return self.announcer.subscribe_changes(callback)

    def change(self, renewed: Sequence[Pod] = (), removed: Sequence[Pod] = (), added: Sequence[Pod] = ()) -> None:
        newest = {pod: pod for pod in renewed}
        self.pods = {newest.get(pod, pod): None for pod in self.pods if pod not in removed}
        self.pods.update(dict.fromkeys(added))
        self.announcer.announce(renewed, removed=removed, added=added)

    def shuffle(self, pods: Sequence[Pod]) -> None:
        self.pods = dict.fromkeys(pods)
        self.announcer.announce()


def test_a_plain_subscriber_hears_that_anything_changed() -> None:
    """It knows nothing of pods that come and go; of new metrics it hears as ever."""
    locator, heard = TellingLocator([PODS[0]]), list[Sequence[Pod] | None]()
    unsubscribe = locator.subscribe(lambda pods=None: heard.append(pods))
    locator.change(added=[PODS[1]])
    locator.change(removed=[PODS[1]])
    locator.change(renewed=[PODS[0]])
    locator.shuffle([])
    unsubscribe()
    unsubscribe()
    locator.shuffle([])
    assert heard == [None, None, [PODS[0]], None]


def test_a_subset_is_asked_of_the_inner_locator_once() -> None:
    """What it tells costs O(change), whatever the number of pods."""
    inner = TellingLocator(PODS[:4])
    locator = SubsetPodLocator(inner)
    metadata = metadata_of(["10.0.0.0:80", "10.0.0.1"])
    assert [pod.name for pod in locator.locate(metadata)] == ["a", "c", "d"]
    inner.change(removed=[PODS[0], PODS[7]], added=[PODS[4]])
    assert [pod.name for pod in locator.locate(metadata)] == ["c", "d"]
    inner.change(added=[PODS[0]])
    assert [pod.name for pod in locator.locate(metadata)] == ["c", "d", "a"]
    newer = attrs.evolve(PODS[2], metrics=PodMetrics(waiting=1, running=1, kv_cache_usage=0.0, updated_at=1.0))
    inner.change(renewed=[newer, PODS[6]])
    assert locator.locate(metadata)[0] is newer
    assert inner.asked == 1
    inner.shuffle([PODS[3], PODS[2]])
    assert [pod.name for pod in locator.locate(metadata)] == ["d", "c"]
    assert inner.asked == 2


def test_a_subset_tells_no_more_than_the_inner_locator_does() -> None:
    """One that only says that something has changed is asked again; so is one whose answers time changes."""
    static = SubsetPodLocator(StaticPodLocator(PODS))
    assert static.selects is None
    assert static.subscribe_changes is None
    assert CachedPodLocator(TellingLocator()).subscribe is not None

    class Ticking(TellingLocator):
        def next_change(self) -> float | None:
            return None

    inner = Ticking(PODS[:2])
    locator = SubsetPodLocator(inner)
    assert locator.selects is None
    assert locator.subscribe_changes is None
    inner.pods = {PODS[1]: None}  # as time went by
    assert [pod.name for pod in locator.locate(metadata_of(["10.0.0.0"]))] == ["b"]


CHANGES = st.lists(
    st.one_of(
        st.tuples(st.just("change"), st.sets(st.sampled_from(PODS)), st.sets(st.sampled_from(PODS))),
        st.tuples(st.just("renew"), st.sets(st.sampled_from(PODS)), st.just(set[Pod]())),
        st.tuples(st.just("shuffle"), st.permutations(PODS).map(tuple), st.just(set[Pod]())),
    ),
    max_size=12,
)


@given(CHANGES, st.sampled_from(["none", "all"]))
def test_what_is_told_adds_up(changes: Sequence[tuple[str, set[Pod], set[Pod]]], empty_hint: str) -> None:
    """After any changes each subset is what a new locator answers, in the same order, and `selects` says so of each."""
    inner = TellingLocator(PODS[:3])
    locator = SubsetPodLocator(inner, empty_hint)  # type: ignore[arg-type]
    for number, (kind, some, others) in enumerate(changes):
        if kind == "shuffle":
            inner.shuffle(list(some)[: number % 8])
        elif kind == "renew":
            fresh = PodMetrics(waiting=number, running=0, kv_cache_usage=0.0, updated_at=float(number))
            inner.change(renewed=[attrs.evolve(pod, metrics=fresh) for pod in inner.pods if pod in some])
        else:
            inner.change(
                removed=[pod for pod in inner.pods if pod in some],
                added=[pod for pod in others if pod not in inner.pods or pod in some],
            )
        for hint in HINTS:
            for model in ("", "a", "x"):
                metadata = metadata_of(hint, model)
                expected = SubsetPodLocator(StaticPodLocator(inner.locate(metadata)), empty_hint).locate(metadata)  # type: ignore[arg-type]
                answer = locator.locate(metadata)
                assert list(answer) == list(expected)
                assert all(one is other for one, other in zip(answer, expected, strict=True))
                assert locator.selection_key is not None
                assert locator.selects is not None
                key = locator.selection_key(metadata)
                assert [pod for pod in inner.pods if locator.selects(key, pod)] == list(expected)


def test_a_malformed_hint_selects_nobody() -> None:
    """As it finds nobody."""
    locator = SubsetPodLocator(TellingLocator(PODS))
    assert locator.selection_key is not None
    assert locator.selects is not None
    key = locator.selection_key(metadata_of("10.0.0.0"))  # type: ignore[arg-type]
    assert not any(locator.selects(key, pod) for pod in PODS)


@pytest.mark.parametrize("part", ["selection_key", "selects", "subscribe_changes"])
def test_a_part_that_is_missing_is_not_made_up(part: str) -> None:
    """All of them, or none: what it tells is of no use without the rest."""
    inner = TellingLocator(PODS)
    setattr(inner, part, None)
    locator = SubsetPodLocator(inner)
    assert locator.selects is None
    assert locator.subscribe_changes is None
