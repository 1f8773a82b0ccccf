"""AdaptiveDetector: what a release teaches of a pod's limit, by AIMD and by Gradient2."""

import math
from collections.abc import Callable
from statistics import mean, median
from typing import Any

import pytest

from flowgate.contracts import Pod, PodLoad, ReleaseResult
from flowgate.saturation import AdaptiveDetector, Aimd, Gradient2
from tests.saturation.detectors import Clock

A = Pod("a", "10.0.0.1", 80)
B = Pod("b", "10.0.0.2", 80)
C = Pod("c", "10.0.0.3", 80)
IDLE = 0.1  # seconds that the pods here take without load

both = pytest.mark.parametrize("limit", [Aimd(latency_threshold=1.3 * IDLE), Gradient2()], ids=["aimd", "gradient"])


class Rig:
    """A detector on a clock, and a pod whose latency follows its load."""

    def __init__(self, limit: Aimd | Gradient2 | None = None, **arguments: Any) -> None:
        self.clock = Clock()
        self.detector = AdaptiveDetector(limit, **arguments)
        self.detector.bind(self.clock)

    @property
    def limit(self) -> int:
        return self.detector.limit_of(A)

    def release(
        self, held: float = IDLE, result: ReleaseResult = "ok", *, in_flight: int | None = None, pod: Pod = A
    ) -> None:
        """Release a ticket that was sent so long ago, by default at the limit."""
        count = self.limit if in_flight is None else in_flight
        self.detector.released(pod, PodLoad(count, count), held, result)

    def round_trip(self, held: float = IDLE, result: ReleaseResult = "ok", *, in_flight: int | None = None) -> None:
        """Send as many as the limit at once, and let them all come back after so long."""
        self.clock.now += held
        for _ in range(self.limit if in_flight is None else in_flight):
            self.release(held, result, in_flight=in_flight)

    def serve(self, capacity: float, round_trips: int, *, idle: float = IDLE) -> list[int]:
        """Go around with a pod that is slower by as much as it holds more than its capacity; returns each limit."""
        limits: list[int] = []
        for _ in range(round_trips):
            self.round_trip(idle * max(1.0, self.limit / capacity))
            limits.append(self.limit)
        return limits


def aimd(**arguments: Any) -> Rig:
    return Rig(Aimd(latency_threshold=1.0, min_samples=1, **arguments), initial=20, max_limit=100)


# -- any algorithm


@both
def test_nothing_is_known_of_a_new_pod(limit: Aimd | Gradient2) -> None:
    """It has the initial limit, and asking teaches nothing."""
    detector = AdaptiveDetector(limit, initial=8)
    assert detector.saturation(A, PodLoad(6, 6)) == 0.75
    assert detector.saturation(A, PodLoad(8, 8)) == 1.0
    assert detector.limit_of(A) == 8


@pytest.mark.parametrize(
    ("bounds", "expected"),
    [({}, 20), ({"max_limit": 10}, 10), ({"min_limit": 64}, 64), ({"min_limit": 3, "max_limit": 3}, 3)],
)
def test_a_new_pod_s_limit_is_20_or_the_bound_next_to_it(bounds: dict[str, int], expected: int) -> None:
    """Whoever states a bound need not state where to begin."""
    assert AdaptiveDetector(**bounds).limit_of(A) == expected


@both
@pytest.mark.parametrize("capacity", [5, 30, 120])
@pytest.mark.parametrize("initial", [1, 20, 300])
def test_the_capacity_is_found_from_any_start(limit: Aimd | Gradient2, capacity: int, initial: int) -> None:
    """No more than half of it too high, and never far below it but in a probe."""
    rig = Rig(limit, initial=initial)
    rig.serve(capacity, 200)
    seen = rig.serve(capacity, 40)
    assert 0.9 * capacity <= median(seen) <= 1.5 * capacity
    assert mean(seen) >= 0.8 * capacity - 1
    assert max(seen) <= 2 * capacity


@both
def test_each_pod_has_a_limit_of_its_own(limit: Aimd | Gradient2) -> None:
    """What one teaches, another does not have to bear."""
    rig = Rig(limit, initial=20)
    rig.release(result="dropped")
    assert rig.limit == 18
    assert rig.detector.limit_of(B) == 20


@both
def test_ignored_releases_teach_nothing(limit: Aimd | Gradient2) -> None:
    """However many, however slow; nor do they make a pod known."""
    rig = Rig(limit, max_pods=1)
    rig.release(result="dropped")
    for _ in range(500):
        rig.clock.now += 1
        rig.release(held=100.0, result="ignored")
        rig.release(result="ignored", pod=B)
    assert rig.limit == 18


@both
def test_time_without_releases_changes_nothing(limit: Aimd | Gradient2) -> None:
    """Two hours without pods or traffic, then the same goes on as if they had not been."""
    calm, rig = Rig(limit), Rig(limit)
    for each in (calm, rig):
        each.serve(32, 100)
    rig.clock.now += 7_200
    assert rig.limit == calm.limit
    for each in (calm, rig):
        each.serve(32, 5)
    assert rig.limit == calm.limit


@both
def test_a_limit_that_is_not_in_use_does_not_grow(limit: Aimd | Gradient2) -> None:
    """Fast answers to little traffic say nothing of what the pod could bear; at half of the limit they do."""
    rig = Rig(limit, initial=20)
    for _ in range(500):
        rig.round_trip(in_flight=4)
    assert rig.limit <= 20
    rig = Rig(limit, initial=20)
    for _ in range(30):
        rig.round_trip(in_flight=10)
    assert rig.limit > 20


@both
@pytest.mark.parametrize("held", [0.0, 0.001, 60.0])
def test_a_pod_that_refuses_everything_falls_to_the_least_limit(limit: Aimd | Gradient2, held: float) -> None:
    """Refusals at once, and failures after a minute; and the limit rises again when the pod recovers."""
    rig = Rig(limit, initial=20, min_limit=2)
    for _ in range(100):
        rig.round_trip(held, "dropped")
        rig.clock.now += 0.001
    assert rig.limit == 2
    rig.serve(32, 100)
    assert rig.limit > 20


@both
def test_fast_failures_teach_no_latency(limit: Aimd | Gradient2) -> None:
    """They are fast at any load: whoever learned from them would think the pod idle, or all else slow."""
    rig = Rig(limit, initial=20)
    for _ in range(100):
        rig.serve(16, 4)
        rig.release(0.0, "dropped")
    assert 14 <= median(rig.serve(16, 50)) <= 24


@both
def test_limits_stay_within_their_bounds(limit: Aimd | Gradient2) -> None:
    """Upwards and downwards."""
    rig = Rig(limit, initial=20, min_limit=18, max_limit=25)
    rig.serve(math.inf, 40)
    assert rig.limit == 25
    rig.serve(1, 4)
    assert rig.limit == 18


# -- AIMD


def test_a_round_that_kept_up_adds_the_increase() -> None:
    """One ticket by default, after as many requests as the limit."""
    rig = aimd()
    for _ in range(19):
        rig.release()
    assert rig.limit == 20
    rig.release()
    assert rig.limit == 21
    rig = aimd(increase=5)
    rig.round_trip()
    assert rig.limit == 25


def test_only_the_mean_of_a_round_counts() -> None:
    """One slow request among many is no overload."""
    rig = aimd()
    rig.clock.now += 5
    rig.release(5.0)
    for _ in range(19):
        rig.release(0.5)
    assert rig.limit == 20  # the mean is not known well yet
    for _ in range(200):
        rig.release(0.5)
    assert rig.limit > 20


def test_a_round_ends_even_where_a_mean_cannot_be_known() -> None:
    """After a thousand requests, however much their latencies differ."""
    rig = aimd()
    for number in range(999):
        rig.release(0.01 if number % 100 else 50.0)
    assert rig.limit == 20
    rig.release(0.01)
    assert rig.limit == 21


@pytest.mark.parametrize(("held", "limit"), [(1.0, 21), (1.05, 18), (1.25, 16), (1.6, 12), (100.0, 10)])
def test_a_cut_is_as_deep_as_the_latency_is_high(held: float, limit: int) -> None:
    """At least to `backoff`, at most to a half."""
    rig = aimd()
    rig.round_trip(held)
    assert rig.limit == limit


def test_a_round_trip_has_one_cut() -> None:
    """All that was sent before a cut, by whatever result, tells of the limit before it."""
    rig = aimd(backoff=0.5)
    rig.clock.now += 3
    rig.release(2.0, "dropped")
    assert rig.limit == 10
    for held in (2.0, 0.5, 0.01):
        for result in ("dropped", "ok"):
            rig.release(held, result, in_flight=20)
    assert rig.limit == 10
    rig.clock.now += 1
    rig.release(0.5, "dropped")
    assert rig.limit == 5


def test_without_a_threshold_only_drops_count() -> None:
    """The default."""
    rig = Rig(Aimd(), initial=20)
    rig.round_trip(1e6)
    assert rig.limit == 21


# -- Gradient2


@pytest.mark.parametrize("capacity", [8, 32])
def test_a_queue_that_never_empties_does_not_become_normal(capacity: int) -> None:
    """After a thousand round trips under full load the limit is where it was after a hundred."""
    rig = Rig(Gradient2())
    rig.serve(capacity, 100)
    assert max(rig.serve(capacity, 1_000)) <= 1.5 * capacity


@pytest.mark.parametrize("factor", [0.2, 5.0])
def test_a_pod_that_changes_its_pace_by_nature_keeps_its_limit(factor: float) -> None:
    """A longer latency at the same load is no queue, once a probe has seen it; nor is a shorter one."""
    rig = Rig(Gradient2(probe_interval=10))
    rig.serve(32, 100)
    rig.serve(32, 100, idle=IDLE * factor)
    assert 30 <= median(rig.serve(32, 40, idle=IDLE * factor)) <= 48


def test_a_probe_goes_down_until_the_pod_is_idle_and_comes_back() -> None:
    """A pod that was overloaded eightfold from the start is found out: halves, until that helps no more."""
    rig = Rig(Gradient2(min_samples=1), initial=256)
    seen = rig.serve(32, 8)
    assert seen[1:5] == [132, 66, 33, 16]
    assert 100 < seen[5] < 200


def test_a_baseline_follows_small_changes_too() -> None:
    """A pod a little slower than before, by less than chance may explain, does not lose limit for good."""
    rig = Rig(Gradient2(probe_interval=10))
    rig.serve(300, 60)
    rig.serve(300, 150, idle=1.15 * IDLE)
    assert median(rig.serve(300, 40, idle=1.15 * IDLE)) >= 280


def test_a_capacity_that_falls_during_a_probe_is_not_taken_for_nature() -> None:
    """The probe meets a queue and says that the pod is slow; the next comes at once, and knows better."""
    rig = Rig(Gradient2())
    limits = rig.serve(32, 40)
    while limits[-1] > 0.6 * limits[-2]:
        limits += rig.serve(32, 1)
    rig.serve(4, 40)
    assert max(rig.serve(4, 40)) <= 8


def test_a_probe_stops_at_the_least_limit() -> None:
    """However much slower the pod still is than it could be."""
    rig = Rig(Gradient2(min_samples=1), initial=64, min_limit=16)
    assert min(rig.serve(1, 30)) == 16


def test_a_drop_in_a_probe_lowers_the_limit_that_comes_back() -> None:
    """The probe goes on, so that drops now and then cannot keep the pod at half of its limit."""
    rig = Rig(Gradient2(min_samples=1), initial=40)
    rig.serve(1e9, 2)
    assert rig.limit == 21  # in its first probe: half of what a round made of 40
    rig.clock.now += 0.001
    rig.release(0.0, "dropped")
    assert rig.limit == 19
    rig.serve(1e9, 1)
    assert rig.limit == 41  # 0.9 times what it was, and the step of a pod that keeps up


def test_growth_doubles_while_the_pod_keeps_up() -> None:
    """So that a pod with room for hundreds is not found by steps of one."""
    rig = Rig(Gradient2(queue_size=1.0, min_samples=1), initial=20)
    rig.serve(1e9, 20)
    assert rig.limit > 500


def test_a_failure_that_takes_longer_than_a_round_counts() -> None:
    """It was sent before the last change of the limit, but after the last drop."""
    rig = Rig(Gradient2(), initial=20)
    rig.serve(16, 20)
    before = rig.limit
    rig.release(1.5, "dropped")
    assert rig.limit < before
    again = rig.limit
    rig.release(1.5, "dropped")
    assert rig.limit == again


# -- memory, and the rest


def test_the_pods_released_from_last_are_remembered() -> None:
    """No more than `max_pods`; whoever watches hears that one was forgotten, for its limit is another now."""
    rig, heard = Rig(max_pods=2), []
    unsubscribe = rig.detector.subscribe(lambda pods=None: heard.append(pods))
    for pod in (A, B, A):
        rig.clock.now += 1
        rig.release(0.1, "dropped", in_flight=20, pod=pod)
    assert heard == []
    rig.release(0.1, "dropped", in_flight=20, pod=C)
    assert heard == [None]
    assert [rig.detector.limit_of(pod) for pod in (A, B, C)] == [16, 20, 18]
    unsubscribe()
    rig.release(0.1, "dropped", in_flight=20, pod=B)
    assert heard == [None]


def test_the_newest_record_of_a_pod_is_the_same_pod() -> None:
    """Its labels and metrics are no part of it."""
    rig = Rig()
    rig.release(result="dropped")
    assert rig.detector.limit_of(Pod("a", "10.0.0.1", 80, labels={"version": "2"})) == 18


def test_another_clock_begins_anew() -> None:
    """Times by the old one mean nothing."""
    rig = Rig()
    rig.release(result="dropped")
    rig.detector.bind(lambda: 0.0)
    assert rig.limit == 20


def test_without_a_clock_real_time_counts() -> None:
    """It need not be bound to learn."""
    detector = AdaptiveDetector()
    detector.released(A, PodLoad(20, 20), 0.1, "dropped")
    assert detector.limit_of(A) == 18


def test_it_says_how_it_was_made() -> None:
    """The repr is the call."""
    assert repr(AdaptiveDetector(Aimd(2.0), initial=4)) == (
        "AdaptiveDetector(Aimd(latency_threshold=2.0, backoff=0.9, increase=1.0, min_samples=10), "
        "initial=4, min_limit=1, max_limit=1000, max_pods=10000)"
    )
    assert repr(AdaptiveDetector()) == repr(AdaptiveDetector(Gradient2()))


@pytest.mark.parametrize(
    ("make", "arguments", "error", "message"),
    [
        (AdaptiveDetector, {"limit": 10}, TypeError, "limit must be an Aimd or a Gradient2, not 10"),
        (AdaptiveDetector, {"initial": 0}, ValueError, "initial must be 1 or more, not 0"),
        (AdaptiveDetector, {"initial": 2.5}, TypeError, r"initial must be an int, not 2\.5"),
        (AdaptiveDetector, {"initial": 20, "min_limit": 21}, ValueError,
         "initial must lie between min_limit and max_limit, not 20 between 21 and 1000"),
        (AdaptiveDetector, {"initial": 20, "max_limit": 19}, ValueError, "not 20 between 1 and 19"),
        (AdaptiveDetector, {"min_limit": 5, "max_limit": 2}, ValueError,
         "^max_limit must be no less than min_limit=5, not 2$"),
        (AdaptiveDetector, {"max_pods": 0}, ValueError, "max_pods must be 1 or more, not 0"),
        (Aimd, {"latency_threshold": 0}, ValueError, "latency_threshold must be more than 0 seconds, not 0"),
        (Aimd, {"latency_threshold": math.nan}, ValueError, "not nan"),
        (Aimd, {"backoff": 1.0}, ValueError, r"backoff must be more than 0 and less than 1, not 1\.0"),
        (Aimd, {"increase": math.inf}, ValueError, "increase must be finite and more than 0, not inf"),
        (Aimd, {"min_samples": 0}, ValueError, "min_samples must be 1 or more, not 0"),
        (Gradient2, {"tolerance": 0.9}, ValueError, r"tolerance must be finite and 1 or more, not 0\.9"),
        (Gradient2, {"queue_size": 0}, ValueError, "queue_size must be finite and more than 0, not 0"),
        (Gradient2, {"queue_size": "2"}, TypeError, "queue_size must be a number, not '2'"),
        (Gradient2, {"backoff": 0}, ValueError, "backoff must be more than 0 and less than 1, not 0"),
        (Gradient2, {"probe_interval": 0}, ValueError, "probe_interval must be 1 or more, not 0"),
        (Gradient2, {"min_samples": 1.5}, TypeError, r"min_samples must be an int, not 1\.5"),
    ],
)  # fmt: skip
def test_bad_arguments_are_refused(
    make: Callable[..., object], arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    """Each error names the value and the rule."""
    with pytest.raises(error, match=message):
        make(**arguments)
