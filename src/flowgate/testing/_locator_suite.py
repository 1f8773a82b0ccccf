"""The promises of every PodLocator, and of the optional parts that it offers."""

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs

from flowgate.contracts import ChangeCallback, Pod, PodLocator, PodMetrics
from flowgate.testing._contracts import assert_complete, assert_parts_callable

A = Pod("a", "10.0.0.1", 80)
B = Pod("b", "fd00::2", 80)
C = Pod("c", "node-3", 81)
METRICS = PodMetrics(waiting=1, running=2, kv_cache_usage=0.5, updated_at=0.0)

METADATA: tuple[Mapping[str, object], ...] = (
    {},
    {"x": [1, 2], "y": {"z": "deep"}},
    {"envoy.lb.subset_hint": {"x-gateway-destination-endpoint-subset": ["10.0.0.1:80", "fd00::2"]}},
    {"envoy.lb.subset_hint": {"x-gateway-destination-endpoint-subset": []}},
    {"envoy.lb.subset_hint": {"x-gateway-destination-endpoint-subset": [7]}},
)


class SettableClock:
    """A clock that moves when it is told to."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@attrs.define
class LocatorRig:
    """A locator under test, and what moves it.

    Args:
        locator: The locator; the suite binds `clock` to it if it can be bound.
        set_pods: Changes the pods that it finds for requests without metadata. Where changes are announced it returns
            after the announcement.
        clock: What a locator that depends on time is bound to.
        metadata: What else requests may say: one for each answer that `locate` gives by metadata.
    """

    locator: PodLocator
    set_pods: Callable[[Sequence[Pod]], None]
    clock: SettableClock = attrs.field(factory=SettableClock)
    metadata: Sequence[Mapping[str, object]] = ()

    def __attrs_post_init__(self) -> None:
        if bind := self.part("bind"):
            bind(self.clock)

    def part(self, name: str) -> Any:
        """Return an optional part, or None."""
        return getattr(self.locator, name, None)

    def all_metadata(self) -> list[Mapping[str, object]]:
        """Return the suite's metadata and the author's, as copies: a locator that writes shall fail by itself alone."""
        return copy.deepcopy([*METADATA, *self.metadata])

    def pods(self) -> list[Pod]:
        """Return the candidates of a request without metadata."""
        return list(self.locator.locate({}))

    def change(self, pods: Sequence[Pod]) -> None:
        """Change the pods, and let as much time pass as a locator that announces nothing asks for."""
        self.set_pods(pods)
        if self.part("subscribe") is None and self.part("next_change") is not None:
            self.clock.now = self.part("next_change")() or self.clock.now


RigFactory = Callable[[Sequence[Pod]], LocatorRig]


class PodLocatorSuite:
    """Tests of a locator class.

    Subclass it under a name that pytest collects, beside a fixture `make_rig`: a function from the pods to begin with
    to a `LocatorRig`. Where your locator reads metadata, give the rig some of it too: no suite can guess the names.
    """

    def test_is_a_locator(self, make_rig: RigFactory) -> None:
        """It has `locate`, and each optional part can be called or is absent."""
        rig = make_rig([])
        assert_complete(rig.locator, PodLocator)
        assert_parts_callable(rig.locator, "selection_key", "subscribe", "bind", "next_change")

    def test_finds_what_is_there(self, make_rig: RigFactory) -> None:
        """Every pod, in order; and none where there are none."""
        assert make_rig([]).pods() == []
        assert make_rig([B, A, C]).pods() == [B, A, C]

    def test_follows_every_change(self, make_rig: RigFactory) -> None:
        """Pods that come, go and change places are in the next answer."""
        rig = make_rig([])
        for pods in ([A], [A, B], [B, A], [C], [], [A, B, C]):
            assert rig.pods() is not None  # an answer to grow stale
            rig.change(pods)
            assert rig.pods() == pods

    def test_gives_the_newest_metrics_and_labels(self, make_rig: RigFactory) -> None:
        """The same pod with new metrics or labels is answered as the new object, though the two are equal."""
        rig = make_rig([A, B])
        for newer in (attrs.evolve(A, metrics=METRICS), attrs.evolve(A, labels={"zone": "eu"})):
            assert rig.pods() == [A, B]
            rig.change([newer, B])
            assert rig.pods()[0] is newer

    def test_answers_are_snapshots(self, make_rig: RigFactory) -> None:
        """What was answered before does not change when the pods do."""
        rig = make_rig([A, B])
        before = rig.locator.locate({})
        rig.change([C])
        rig.pods()
        assert list(before) == [A, B]

    def test_takes_any_metadata_and_changes_none(self, make_rig: RigFactory) -> None:
        """It may not know a key, and must not write one."""
        rig = make_rig([A, B, C])
        for metadata in rig.all_metadata():
            before = copy.deepcopy(metadata)
            strangers = set(rig.locator.locate(metadata)) - {A, B, C}
            assert not strangers, f"locate({before!r}) found {strangers}, which were never there"
            if key := rig.part("selection_key"):
                hash(key(metadata))
            assert metadata == before, f"metadata was {before!r}, and is {metadata!r}: it must not be written to"

    def test_equal_keys_have_equal_candidates(self, make_rig: RigFactory) -> None:
        """A key names a selection: the same for the same metadata, and never two selections at once."""
        rig = make_rig([A, B, C])
        if key := rig.part("selection_key"):
            lanes: dict[object, tuple[Mapping[str, object], list[Pod]]] = {}
            for metadata in rig.all_metadata():
                pods, name = list(rig.locator.locate(metadata)), key(metadata)
                again = key(copy.deepcopy(metadata))
                assert again == name, f"selection_key answered {name!r}, and {again!r} for a copy of {metadata!r}"
                first, found = lanes.setdefault(name, (metadata, pods))
                assert found == pods, (
                    f"selection_key is {name!r} for {first!r} and for {metadata!r}, and locate found other pods for "
                    f"them: {_names(found)} and {_names(pods)}"
                )

    def test_announces_each_change_when_it_can_be_seen(self, make_rig: RigFactory) -> None:
        """Whoever asks from inside the announcement gets the new answer."""
        rig = make_rig([A])
        seen: list[list[Pod]] = []

        def look(pods: Sequence[Pod] | None = None) -> None:  # noqa: ARG001 - the contract's
            seen.append(rig.pods())

        if subscribe := rig.part("subscribe"):
            subscribe(look)
            rig.pods()
            rig.change([A, B])
            assert seen, "the change was not announced"
            assert all(pods == [A, B] for pods in seen)

    def test_announces_of_which_pods_the_metrics_changed(self, make_rig: RigFactory) -> None:
        """The announcement is of anything, or names every pod that changed, as the new object."""
        rig = make_rig([A, B])
        announced: list[Sequence[Pod] | None] = []
        if subscribe := rig.part("subscribe"):
            subscribe(_appending(announced))
            newer = attrs.evolve(B, metrics=METRICS)
            rig.change([A, newer])
            assert announced, "the change was not announced"
            named = any(pods is None or any(pod is newer for pod in pods) for pods in announced)
            assert named, f"no announcement named pod {newer.name!r}, whose metrics changed, as its new object"

    def test_announces_to_nobody_who_left(self, make_rig: RigFactory) -> None:
        """A subscription ends when it is taken back, may be taken back again, and ends no other."""
        rig = make_rig([A])
        left: list[Sequence[Pod] | None] = []
        stayed: list[Sequence[Pod] | None] = []
        if subscribe := rig.part("subscribe"):
            unsubscribe = subscribe(_appending(left))
            subscribe(_appending(stayed))
            unsubscribe()
            unsubscribe()
            rig.change([B])
            assert not left, "who took the subscription back was called"
            assert stayed, "who stayed subscribed was not called"

    def test_next_change_lies_ahead(self, make_rig: RigFactory) -> None:
        """After an answer, `next_change` is None or later than now."""
        rig = make_rig([A])
        if next_change := rig.part("next_change"):
            for _ in range(3):
                rig.pods()
                at = next_change()
                assert at is None or at > rig.clock.now, f"next_change() is {at!r} at {rig.clock.now!r}: not later"
                rig.clock.now = rig.clock.now if at is None else at


def _names(pods: Sequence[Pod]) -> str:
    return ", ".join(pod.name for pod in pods) or "none"


def _appending(announced: list[Sequence[Pod] | None]) -> ChangeCallback:
    def append(pods: Sequence[Pod] | None = None) -> None:
        announced.append(pods)

    return append
