"""slow_start: a new pod's capacity, step by step, and exact about when."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowgate.contracts import ClockBound, Pod, PodLoad, ReleaseAware, TimeVarying, Watchable
from flowgate.saturation import ConcurrencyDetector, slow_start
from tests.saturation.detectors import (
    Clock,
    EnteredDetector,
    LearningDetector,
    SilentDetector,
    TimedDetector,
    WatchableDetector,
)

A = Pod("a", "10.0.0.1", 80)
B = Pod("b", "10.0.0.2", 80)
C = Pod("c", "10.0.0.3", 80)
TEN = PodLoad(10, 10)


@pytest.fixture
def clock() -> Clock:
    return Clock()


def slow(clock: Clock, inner: Any = None, **arguments: Any) -> Any:
    """A detector on a test's clock; of the default inner one a pod of ten tickets has fullness 0.1."""
    detector: Any = slow_start(inner or ConcurrencyDetector(100), **arguments)
    detector.bind(clock)
    return detector


@given(
    start=st.floats(0, 1e6),
    window=st.floats(0.01, 1e4),
    initial=st.floats(0.01, 1.0),
    steps=st.integers(1, 20),
)
def test_a_new_pod_climbs_in_equal_steps_at_the_times_told(
    start: float, window: float, initial: float, steps: int
) -> None:
    """`next_change` is exact: just before it the answer is the old one, at it the next; at the last, the detector's."""
    clock = Clock()
    clock.now = start
    detector = slow(clock, window=window, initial=initial, steps=steps)
    for step in range(steps):
        share = initial + (1 - initial) * step / steps
        assert detector.saturation(A, TEN) == pytest.approx(0.1 / share)
        at = detector.next_change()
        assert at == pytest.approx(start + window * (step + 1) / steps)
        clock.now = math.nextafter(at, 0)
        assert detector.saturation(A, TEN) == pytest.approx(0.1 / share)
        assert detector.next_change() == at
        clock.now = at
    assert detector.saturation(A, TEN) == 0.1
    assert detector.next_change() is None


def test_steps_are_not_lost_while_nobody_asks(clock: Clock) -> None:
    """The ramp is one of age, not of questions."""
    detector = slow(clock, window=10, initial=0.5, steps=2)
    detector.saturation(A, TEN)
    clock.now += 1e6
    assert detector.saturation(A, TEN) == 0.1


def test_each_pod_has_a_ramp_of_its_own(clock: Clock) -> None:
    """The next change is the first step of any that was asked about since the last."""
    detector = slow(clock, window=10, initial=0.5, steps=1)
    detector.saturation(A, TEN)
    clock.now = 104.0
    assert detector.saturation(B, TEN) == 0.2
    assert detector.next_change() == 110.0
    clock.now = 110.0
    assert [detector.saturation(pod, TEN) for pod in (A, B)] == [0.1, 0.2]
    assert detector.next_change() == 114.0


def test_a_pod_with_nothing_in_flight_is_as_open_as_without_slow_start(clock: Clock) -> None:
    """Even where the pod's metrics alone, divided by the first step, would close it for good."""
    detector = slow(clock, SilentDetector(0.4), initial=0.1)
    assert detector.saturation(A, PodLoad(0, 0)) == 0.4
    assert detector.saturation(A, PodLoad(1, 1)) == pytest.approx(4.0)


def test_warm_pods_have_all_their_capacity_from_the_start(clock: Clock) -> None:
    """Others are new, whenever they are first asked about."""
    detector = slow(clock, warm=[A], initial=0.5, forget_after=5)
    assert detector.saturation(A, TEN) == 0.1
    assert detector.saturation(B, TEN) == 0.2
    clock.now += 6
    assert detector.saturation(A, TEN) == 0.2


def test_a_pod_that_comes_back_goes_on_where_it_was(clock: Clock) -> None:
    """However long nobody asked: an idle controller does not ask, and its pods are as warm as before."""
    detector = slow(clock, initial=0.5)
    detector.saturation(A, TEN)
    clock.now += 30
    assert detector.saturation(A, TEN) == 0.1
    clock.now += 1e9
    assert detector.saturation(A, TEN) == 0.1


def test_a_pod_not_asked_about_for_too_long_is_new_again(clock: Clock) -> None:
    """The engine is told when it must ask at the latest; asked then, the pod is still known."""
    detector = slow(clock, window=1, initial=0.5, forget_after=5)
    detector.saturation(A, TEN)
    clock.now = 101.0
    assert detector.saturation(A, TEN) == 0.1
    assert detector.next_change() == 106.0
    clock.now = 106.0
    assert detector.saturation(A, TEN) == 0.1
    clock.now = math.nextafter(111.0, 112)
    assert detector.saturation(A, TEN) == 0.2


def test_the_pods_asked_about_last_are_remembered(clock: Clock) -> None:
    """No more than `max_pods` of them."""
    detector = slow(clock, window=1, initial=0.5, max_pods=2)
    for pod in (A, B):
        detector.saturation(pod, TEN)
    clock.now += 1
    for pod in (A, C):
        detector.saturation(pod, TEN)
    clock.now += 1
    assert [detector.saturation(pod, TEN) for pod in (A, C, B)] == [0.1, 0.1, 0.2]


def test_another_clock_begins_anew(clock: Clock) -> None:
    """Ages by the old one mean nothing."""
    detector = slow(clock, window=1, initial=0.5)
    detector.saturation(A, TEN)
    clock.now += 2
    detector.bind(lambda: 7.0)
    assert detector.next_change() is None
    assert detector.saturation(A, TEN) == 0.2
    assert detector.next_change() == 7.1


def test_without_a_clock_real_time_counts() -> None:
    """A window that is over at once, and one that outlasts any test."""
    assert slow_start(ConcurrencyDetector(100), window=1e9, initial=0.5).saturation(A, TEN) == 0.2


def test_over_a_silent_detector_it_is_silent(clock: Clock) -> None:
    """It tells of its own steps only where that does not keep the engine from polling."""
    detector = slow(clock, SilentDetector())
    assert not isinstance(detector, Watchable)
    assert not isinstance(detector, TimeVarying)
    assert isinstance(detector, ClockBound)
    assert not isinstance(detector, ReleaseAware)


def test_announcements_and_releases_are_the_inner_ones(clock: Clock) -> None:
    """They pass through."""
    inner, heard = LearningDetector(), []
    detector = slow(clock, inner)
    detector.subscribe(lambda pods=None: heard.append(pods))
    inner.announce([A])
    detector.released(A, TEN, 0.5, "ok")
    assert heard == [[A]]
    assert inner.heard == [(A, TEN, 0.5, "ok")]


def test_the_inner_detectors_own_change_counts_too(clock: Clock) -> None:
    """Whichever comes first; a time that is none is not hidden."""
    inner = TimedDetector()
    detector = slow(clock, inner, window=10, steps=1)
    assert inner.clock is clock
    assert not isinstance(detector, Watchable)
    inner.change_at = 105.0
    assert detector.next_change() == 105.0
    detector.saturation(A, TEN)
    assert detector.next_change() == 105.0
    inner.change_at = 120.0
    assert detector.next_change() == 110.0
    inner.change_at = math.nan
    assert math.isnan(detector.next_change())


@pytest.mark.parametrize("answer", [math.nan, math.inf])
def test_what_the_inner_detector_answers_wrong_stays_wrong(clock: Clock, answer: float) -> None:
    """The engine has to see it."""
    assert not math.isfinite(slow(clock, WatchableDetector(answer)).saturation(A, TEN))


@pytest.mark.anyio
async def test_an_inner_context_is_entered_and_left() -> None:
    """One that is none does no harm."""
    journal: list[str] = []
    detectors: list[Any] = [slow_start(EnteredDetector("a", journal)), slow_start(SilentDetector())]
    for detector in detectors:
        async with detector as entered:
            assert entered is detector
    assert journal == ["enter a", "leave a"]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"window": 0}, ValueError, "window must be finite and more than 0 seconds, not 0"),
        ({"window": math.inf}, ValueError, "not inf"),
        ({"window": "3"}, TypeError, "window must be a number, not '3'"),
        ({"window": True}, TypeError, "window must be a number, not True"),
        ({"initial": 0.0}, ValueError, r"initial must be more than 0 and at most 1, not 0\.0"),
        ({"initial": 1.01}, ValueError, r"not 1\.01"),
        ({"steps": 0}, ValueError, "steps must be 1 or more, not 0"),
        ({"steps": 2.0}, TypeError, r"steps must be an int, not 2\.0"),
        ({"steps": True}, TypeError, "steps must be an int, not True"),
        ({"forget_after": 0}, ValueError, "forget_after must be more than 0 seconds, not 0"),
        ({"forget_after": math.nan}, ValueError, "not nan"),
        ({"max_pods": 0}, ValueError, "max_pods must be 1 or more, not 0"),
    ],
)
def test_bad_arguments_are_refused(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    """Each error names the value and the rule."""
    with pytest.raises(error, match=message):
        slow_start(ConcurrencyDetector(1), **arguments)


def test_it_says_what_it_is_made_of() -> None:
    """The repr is the call, and the name in logs the function's."""
    detector: Any = slow_start(ConcurrencyDetector(4), window=5, initial=0.5)
    assert repr(detector) == "slow_start(ConcurrencyDetector(4), window=5, initial=0.5, steps=10)"
    assert detector.name == "slow_start"
