"""UtilizationDetector: fullness by fresh metrics, and what it says without them."""

import math
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowgate.contracts import Pod, PodLoad, PodMetrics
from flowgate.saturation import UtilizationDetector

BARE = Pod("bare", "10.0.0.1", 80)
NO_LOAD = PodLoad(0, 0)


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def pod(waiting: int = 0, kv: float = 0.0, at: float = 100.0) -> Pod:
    return Pod("a", "10.0.0.1", 80, metrics=PodMetrics(waiting, 3, kv, at))


def bound(clock: Clock, **arguments: Any) -> UtilizationDetector:
    detector = UtilizationDetector(**arguments)
    detector.bind(clock)
    return detector


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.mark.parametrize(
    ("waiting", "since", "kv", "expected"),
    [
        (0, 0, 0.0, 0.0),
        (2, 0, 0.0, 0.5),
        (2, 1, 0.0, 0.75),
        (3, 1, 0.0, 1.0),
        (0, 9, 0.0, 2.25),
        (1, 0, 0.4, 0.8),
        (0, 0, 0.5, 1.0),
        (4, 0, 0.1, 1.0),
    ],
)
def test_the_fuller_of_queue_and_cache_counts(
    clock: Clock, waiting: int, since: int, kv: float, expected: float
) -> None:
    """Tickets charged since the metrics count as waiting, so a herd fills a pod before its next report."""
    detector = bound(clock, queue_depth_threshold=4, kv_cache_threshold=0.5)
    assert detector.saturation(pod(waiting, kv), PodLoad(50, since)) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("on_stale", "stale", "missing"), [("full", 1.0, 1.0), ("ignore", 1.4, 1.4), ("last", 0.6, 1.0)]
)
def test_what_counts_without_fresh_metrics(clock: Clock, on_stale: Any, stale: float, missing: float) -> None:
    """Stale or missing: full; by all tickets in flight; or by the last report, full where there never was one."""
    detector = bound(clock, on_stale=on_stale)
    load = PodLoad(in_flight=7, since_metrics=2)
    assert detector.saturation(pod(1, at=98.0), load) == stale
    assert detector.saturation(BARE, load) == missing
    assert detector.next_change() is None


def test_an_idle_pod_without_metrics_is_open_only_where_they_are_ignored(clock: Clock) -> None:
    """The default is careful: a pod of which nothing is known gets nothing."""
    assert [bound(clock, on_stale=how).saturation(BARE, NO_LOAD) for how in ("full", "ignore", "last")] == [1, 0, 1]


def test_metrics_are_stale_from_their_age_on(clock: Clock) -> None:
    """Fresh until just before `updated_at` + `staleness`, stale at that instant, which `next_change` tells."""
    detector = bound(clock, staleness=0.3)
    assert detector.saturation(pod(at=100.1), NO_LOAD) == 0.0
    at = detector.next_change()
    assert at == 100.1 + 0.3
    clock.now = math.nextafter(at, 0)
    assert detector.saturation(pod(at=100.1), NO_LOAD) == 0.0
    assert detector.next_change() == at
    clock.now = at
    assert detector.saturation(pod(at=100.1), NO_LOAD) == 1.0
    assert detector.next_change() is None


def test_metrics_from_the_future_are_fresh(clock: Clock) -> None:
    """A clock that is off by a little closes no pod."""
    detector = bound(clock)
    assert detector.saturation(pod(at=150.0), NO_LOAD) == 0.0
    assert detector.next_change() == 152.0


def test_next_change_is_the_earliest(clock: Clock) -> None:
    """The pod that turns stale first counts, whatever the order in which they were asked for."""
    detector = bound(clock)
    for at in (100.0, 99.0, 99.5):
        detector.saturation(pod(at=at), NO_LOAD)
    assert detector.next_change() == 101.0


def test_asking_again_tells_the_next_one(clock: Clock) -> None:
    """Once a told time has come it is forgotten; the pods that are still fresh tell the next."""
    detector = bound(clock)
    detector.saturation(pod(at=99.0), NO_LOAD)
    clock.now = 101.0
    assert detector.next_change() is None
    detector.saturation(pod(at=100.0), NO_LOAD)
    assert detector.next_change() == 102.0
    clock.now = 102.5
    detector.saturation(pod(at=101.0), NO_LOAD)
    assert detector.next_change() == 103.0


def test_last_never_changes_with_time(clock: Clock) -> None:
    """Where old metrics hold, time moves nothing."""
    detector = bound(clock, on_stale="last")
    assert detector.saturation(pod(5), NO_LOAD) == 1.0
    assert detector.next_change() is None


def test_a_new_clock_starts_afresh(clock: Clock) -> None:
    """Times of another clock are forgotten; before any is bound it is time.monotonic."""
    detector = UtilizationDetector()
    now = time.monotonic()
    assert detector.saturation(pod(at=now), NO_LOAD) == 0.0
    assert detector.next_change() == now + 2.0
    detector.bind(clock)
    assert detector.next_change() is None


def test_it_announces_nothing() -> None:
    """It takes a subscription, which says that it need not be polled, and can take it back."""
    heard: list[object] = []
    detector = UtilizationDetector()
    unsubscribe = detector.subscribe(lambda pods=None: heard.append(pods))
    detector.saturation(BARE, NO_LOAD)
    unsubscribe()
    assert heard == []


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"queue_depth_threshold": 0}, ValueError, "queue_depth_threshold must be finite, more than 0"),
        ({"queue_depth_threshold": -1}, ValueError, "not -1"),
        ({"queue_depth_threshold": math.inf}, ValueError, "not inf"),
        ({"queue_depth_threshold": math.nan}, ValueError, "not nan"),
        ({"queue_depth_threshold": "5"}, TypeError, "queue_depth_threshold must be a number, not '5'"),
        ({"kv_cache_threshold": 0.0}, ValueError, r"more than 0 and at most 1\.0, not 0\.0"),
        ({"kv_cache_threshold": 1.01}, ValueError, r"at most 1\.0, not 1\.01"),
        ({"kv_cache_threshold": None}, TypeError, "kv_cache_threshold must be a number, not None"),
        ({"staleness": 0}, ValueError, "staleness must be finite"),
        ({"staleness": math.inf}, ValueError, "staleness must be finite"),
        ({"staleness": True}, TypeError, "staleness must be a number, not True"),
        ({"on_stale": "open"}, ValueError, 'on_stale must be "full", "ignore" or "last", not \'open\''),
    ],
)
def test_bad_arguments_are_refused(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    """Each error names the value and the rule."""
    with pytest.raises(error, match=message):
        UtilizationDetector(**arguments)


def test_repr_shows_the_thresholds() -> None:
    """The repr is the call that makes it."""
    assert repr(UtilizationDetector(on_stale="last")) == (
        "UtilizationDetector(queue_depth_threshold=5, kv_cache_threshold=0.8, staleness=2.0, on_stale='last')"
    )


asks = st.lists(st.tuples(st.sampled_from([0.0, 0.3, 0.7, 2.0]), st.integers(0, 3), st.floats(-3, 3)), max_size=30)


@given(asks=asks)
def test_next_change_is_never_too_late(asks: list[tuple[float, int, float]]) -> None:
    """An engine that asks for all pods again whenever the told time has come misses no pod that turns stale."""
    clock = Clock()
    detector = bound(clock)
    pods: dict[int, Pod] = {}
    believed: dict[int, float] = {}
    due: float | None = None
    for wait, number, age in asks:
        clock.now += wait
        if due is not None and clock.now >= due:
            believed = {other: detector.saturation(known, NO_LOAD) for other, known in pods.items()}
        pods[number] = pod(at=clock.now - age)
        believed[number] = detector.saturation(pods[number], NO_LOAD)
        due = detector.next_change()
        assert due is None or due > clock.now
        stale_at = {other: known.metrics.updated_at + 2.0 for other, known in pods.items() if known.metrics}
        assert believed == {other: float(clock.now >= stale_at[other]) for other in pods}
        fresh = [at for at in stale_at.values() if at > clock.now]
        assert not fresh or (due is not None and due <= min(fresh))
