"""The promises of every SaturationDetector, and of the optional parts that it offers."""

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

from flowgate.contracts import Pod, PodLoad, PodMetrics, ReleaseResult, SaturationDetector
from flowgate.testing._contracts import assert_complete, assert_parts_callable
from flowgate.testing._locator_suite import SettableClock

NOW = 1000.0
DetectorFactory = Callable[[], SaturationDetector]


def _pod(number: int, **metrics: Any) -> Pod:
    return Pod(f"p{number}", "10.0.0.1", 80 + number, metrics=PodMetrics(**metrics) if metrics else None)


PODS = (
    _pod(0),
    _pod(1, waiting=0, running=0, kv_cache_usage=0.0, updated_at=NOW),
    _pod(2, waiting=3, running=9, kv_cache_usage=0.3, updated_at=NOW - 0.5),
    _pod(3, waiting=0, running=9, kv_cache_usage=1.0, updated_at=NOW - 1),
    _pod(4, waiting=1, running=1, kv_cache_usage=0.1, updated_at=NOW - 1e6),
    _pod(5, waiting=1, running=1, kv_cache_usage=0.1, updated_at=NOW + 1e6),
)
RESULTS: tuple[ReleaseResult, ...] = ("ok", "dropped", "ignored")
NOTHING_AND_ALL: tuple[tuple[ReleaseResult, ...], ...] = ((), ("ok", "dropped"), ("dropped", "ok"))
LOADS = tuple(PodLoad(in_flight, since) for in_flight in (0, 1, 2, 5, 10**6) for since in (0, in_flight))


def _bound(make_detector: DetectorFactory) -> tuple[SaturationDetector, SettableClock]:
    detector, clock = make_detector(), SettableClock()
    clock.now = NOW
    if bind := getattr(detector, "bind", None):
        bind(clock)
    return detector, clock


def _assert_is_saturation(answer: object, pod: Pod, load: PodLoad) -> None:
    is_saturation = isinstance(answer, int | float) and 0.0 <= answer < math.inf
    assert is_saturation, f"a pod is {answer!r} full with {load}: it must be a finite number, 0.0 or more ({pod})"


def _assert_fills(detector: SaturationDetector, pod: Pod, after: str = "") -> None:
    """Require that tickets make a pod fuller, never less full, and at last full."""
    loads = [PodLoad(count, count) for count in (*range(20), 10**6)]
    answers = [detector.saturation(pod, load) for load in loads]
    for answer, load in zip(answers, loads, strict=True):
        _assert_is_saturation(answer, pod, load)
    assert answers == sorted(answers), f"{after}with 0 to 19 tickets and 1,000,000 a pod is {answers} full: it sank"
    assert answers[-1] >= 1.0, f"{after}1,000,000 tickets leave the pod at {answers[-1]}: it never fills ({pod})"


def _ask_all(detector: SaturationDetector) -> list[float]:
    return [detector.saturation(pod, PodLoad(1, 1)) for pod in PODS]


class _Ear:
    """Counts announcements."""

    calls = 0

    def __call__(self, pods: Sequence[Pod] | None = None) -> None:  # noqa: ARG002 - the contract's
        self.calls += 1


def _release_many(detector: SaturationDetector, clock: SettableClock, pod: Pod, *results: ReleaseResult) -> None:
    """Let tickets come back from a pod, fast and slow ones, at few and many in flight."""
    if released := getattr(detector, "released", None):
        for turn, in_flight, held, result in itertools.product(range(20), (1, 5, 50), (0.0, 0.01, 2.0), results):
            clock.now += 0.01 * (turn % 2)
            released(pod, PodLoad(in_flight, in_flight), held, result)


class SaturationDetectorSuite:
    """Tests of a detector class.

    Subclass it under a name that pytest collects, beside a fixture `make_detector`: a function without arguments to a
    new detector.
    """

    def test_is_a_detector(self, make_detector: DetectorFactory) -> None:
        """It has `saturation`, and each optional part can be called or is absent."""
        detector = make_detector()
        assert_complete(detector, SaturationDetector)
        assert_parts_callable(detector, "subscribe", "bind", "next_change", "released")

    def test_answers_with_a_number(self, make_detector: DetectorFactory) -> None:
        """0.0 or more and finite, for any pod, with or without metrics, and any load."""
        detector, _clock = _bound(make_detector)
        for pod, load in itertools.product(PODS, LOADS):
            _assert_is_saturation(detector.saturation(pod, load), pod, load)

    def test_more_load_is_never_less_full(self, make_detector: DetectorFactory) -> None:
        """Each ticket charged leaves the pod as full as before, or fuller."""
        detector, _clock = _bound(make_detector)
        for pod in PODS:
            answers = [detector.saturation(pod, PodLoad(count, count)) for count in range(20)]
            assert answers == sorted(answers), f"with 0 to 19 tickets a pod is {answers} full: it sank ({pod})"

    def test_a_herd_fills_every_pod(self, make_detector: DetectorFactory) -> None:
        """However idle a pod says it is, tickets charged since close it: no herd overshoots without end."""
        detector, _clock = _bound(make_detector)
        for pod in PODS:
            _assert_fills(detector, pod)

    def test_the_same_question_has_the_same_answer(self, make_detector: DetectorFactory) -> None:
        """While the clock stands still, asking changes nothing: neither this answer nor another's."""
        detector, _clock = _bound(make_detector)
        first = _ask_all(detector)
        assert _ask_all(detector) == first
        assert list(reversed([detector.saturation(pod, PodLoad(1, 1)) for pod in reversed(PODS)])) == first

    def test_a_subscription_can_be_taken_back(self, make_detector: DetectorFactory) -> None:
        """More than once, and after the first time nobody is called."""
        detector, _clock = _bound(make_detector)
        if subscribe := getattr(detector, "subscribe", None):
            ear = _Ear()
            unsubscribe = subscribe(ear)
            unsubscribe()
            unsubscribe()
            _ask_all(detector)
            assert not ear.calls, "who took the subscription back was called"

    def test_answers_hold_until_next_change(self, make_detector: DetectorFactory) -> None:
        """`next_change` lies ahead, and until it has come nothing but pods and loads moves an answer."""
        detector, clock = _bound(make_detector)
        next_change = getattr(detector, "next_change", None)
        for _ in range(10):
            answers = _ask_all(detector)
            at = next_change() if next_change else None
            assert at is None or at > clock.now
            clock.now = clock.now + 1e9 if at is None else math.nextafter(at, 0)
            assert _ask_all(detector) == answers
            clock.now = clock.now if at is None else at

    def test_keeps_its_promises_whatever_releases_teach(self, make_detector: DetectorFactory) -> None:
        """A detector that learns hears every release without complaint, and answers as before: finite, monotone."""
        for result in RESULTS:
            detector, clock = _bound(make_detector)
            for pod in PODS:
                _release_many(detector, clock, pod, result)
                _assert_fills(detector, pod, f"after releases as {result}, ")

    def test_releases_move_no_other_pod_in_silence(self, make_detector: DetectorFactory) -> None:
        """The engine looks at the released pod by itself; of another it must be told."""
        detector, clock = _bound(make_detector)
        ear = _Ear()
        if (subscribe := getattr(detector, "subscribe", None)) and getattr(detector, "next_change", None) is None:
            subscribe(ear)
            before = _ask_all(detector)
            _release_many(detector, clock, PODS[0], *RESULTS)
            assert ear.calls or _ask_all(detector)[1:] == before[1:]

    def test_an_ignored_release_teaches_nothing(self, make_detector: DetectorFactory) -> None:
        """It says nothing of the pod, whatever other releases have taught before."""
        for taught in NOTHING_AND_ALL:
            detector, clock = _bound(make_detector)
            _release_many(detector, clock, PODS[0], *taught)
            start = clock.now
            before = _ask_all(detector)
            _release_many(detector, clock, PODS[0], "ignored")
            clock.now = start
            after = _ask_all(detector)
            assert after == before, (
                f"pods were {before} full, and after ignored releases {after}, where {list(taught)} were taught before"
            )
