import logging
import math
import random
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowgate import FlowKey, Pod
from flowgate.testing import make_pods
from flowgate_epp.scheduling import (
    Filter,
    InferenceRequest,
    LeastInFlight,
    LeastQueue,
    MaxScore,
    PrefixAffinity,
    Scheduler,
    SchedulerSettings,
    Schedules,
    Scorer,
    SessionAffinity,
    WeightedScorer,
)

REQUEST = InferenceRequest(FlowKey("tenant"), {})
STRANGER = Pod("stranger", "10.9.9.9", 8000)


@attrs.frozen
class FilterOf:
    answer: Callable[[Sequence[Pod]], Any]
    name: str = "filter-of"

    def filter(self, request: InferenceRequest, pods: Sequence[Pod]) -> Sequence[Pod]:
        return self.answer(pods)


@attrs.frozen
class ScorerOf:
    answer: Callable[[Sequence[Pod]], Any]
    name: str = "scorer-of"

    def score(self, request: InferenceRequest, pods: Sequence[Pod]) -> Sequence[float]:
        return self.answer(pods)


@attrs.frozen
class PickerOf:
    answer: Callable[[Sequence[tuple[Pod, float]]], Any]
    name: str = "picker-of"

    def pick(self, scored: Sequence[tuple[Pod, float]]) -> Pod:
        return self.answer(scored)


@attrs.define
class Learner:
    """A scorer that has no opinion, and keeps what it is told."""

    name: str = "learner"
    heard: list[tuple[str, Pod]] = attrs.field(factory=list)
    fails: bool = False

    def score(self, request: InferenceRequest, pods: Sequence[Pod]) -> Sequence[float]:
        return [0.0] * len(pods)

    def picked(self, request: InferenceRequest, pod: Pod) -> None:
        self._hear("picked", pod)

    def closed(self, pod: Pod) -> None:
        self._hear("closed", pod)

    def _hear(self, what: str, pod: Pod) -> None:
        if self.fails:
            raise LookupError(what)
        self.heard.append((what, pod))


def raises(*_: object) -> Any:
    raise LookupError("broken")


def new_scheduler(*scorers: Scorer | WeightedScorer, filters: Sequence[Filter] = (), picker: Any = None) -> Scheduler:
    weighted = [each if isinstance(each, WeightedScorer) else WeightedScorer(each) for each in scorers]
    return Scheduler(SchedulerSettings(tuple(filters), tuple(weighted), picker or MaxScore(random.Random(5))))


def by_name(**scores: float) -> ScorerOf:
    return ScorerOf(lambda pods: [scores[pod.name] for pod in pods])


def test_the_weighted_sum_decides() -> None:
    pods = make_pods(["a", "b"])
    one, other = by_name(a=1.0, b=0.0), by_name(a=0.0, b=0.6)
    assert new_scheduler(one, other).schedule(REQUEST, pods) is pods[0]
    assert new_scheduler(one, WeightedScorer(other, 2.0)).schedule(REQUEST, pods) is pods[1]


def test_ties_go_to_all_alike() -> None:
    pods, scheduler = make_pods(4), new_scheduler()
    counts = Counter(scheduler.schedule(REQUEST, pods) for _ in range(4_000))
    assert [counts[pod] / 4_000 for pod in pods] == pytest.approx([0.25] * 4, abs=0.04)


def test_filters_take_pods_away_one_after_the_other() -> None:
    pods, seen = make_pods(4), []

    def drop_first(given: Sequence[Pod]) -> Sequence[Pod]:
        seen.append(len(given))
        return given[1:]

    scheduler = new_scheduler(filters=[FilterOf(drop_first)] * 3)
    assert scheduler.schedule(REQUEST, pods) is pods[3]
    assert seen == [4, 3, 2]


def test_filters_that_leave_none_leave_the_request_without_a_pod() -> None:
    asked = Learner()
    scheduler = new_scheduler(asked, filters=[FilterOf(lambda pods: ()), FilterOf(raises)])
    assert scheduler.schedule(REQUEST, make_pods(3)) is None
    assert (asked.heard, scheduler.faults.count) == ([], 0)


def test_one_candidate_is_not_scored_but_learned_of() -> None:
    pods, learner = make_pods(1), Learner()
    scheduler = new_scheduler(learner, ScorerOf(raises), picker=PickerOf(raises))
    assert scheduler.schedule(REQUEST, pods) is pods[0]
    assert learner.heard == [("picked", pods[0])]
    assert scheduler.faults.count == 0


def test_parts_of_every_kind_learn_of_picks_and_ends() -> None:
    class LearningFilter(Learner):
        def filter(self, request: InferenceRequest, pods: Sequence[Pod]) -> Sequence[Pod]:
            return pods

    class LearningPicker(Learner):
        def pick(self, scored: Sequence[tuple[Pod, float]]) -> Pod:
            return scored[1][0]

    parts = LearningFilter(), Learner(), LearningPicker()
    pods = make_pods(2)
    scheduler = new_scheduler(parts[1], filters=[parts[0]], picker=parts[2])
    assert scheduler.schedule(REQUEST, pods) is pods[1]
    scheduler.closed(pods[1])
    assert all(part.heard == [("picked", pods[1]), ("closed", pods[1])] for part in parts)


def test_a_filter_that_fails_takes_nothing_away(caplog: pytest.LogCaptureFixture) -> None:
    pods = make_pods(1)
    for bad in (FilterOf(raises), FilterOf(lambda pods: None)):
        scheduler = new_scheduler(filters=[bad])
        assert scheduler.schedule(REQUEST, pods) is pods[0]
        assert scheduler.faults.count == 1
    assert "the filter filter-of failed: LookupError('broken')" in caplog.text


@pytest.mark.parametrize(
    "bad", [raises, lambda pods: [1.0], lambda pods: None, lambda pods: ["high", "low"], lambda pods: [None, 0.5]]
)
def test_a_scorer_that_fails_counts_for_nobody(bad: Callable[..., Any]) -> None:
    pods = make_pods(["a", "b"])
    scheduler = new_scheduler(ScorerOf(bad), WeightedScorer(by_name(a=0.0, b=1.0), 0.01))
    assert scheduler.schedule(REQUEST, pods) is pods[1]
    assert scheduler.faults.count == 1


@pytest.mark.parametrize("bad", [math.nan, -0.1, 1.1, math.inf, -math.inf])
@pytest.mark.parametrize("place", [0, 1])
def test_a_score_out_of_range_counts_as_0(bad: float, place: int) -> None:
    pods = make_pods(2)
    scores = [0.1, 0.1]
    scores[place] = bad
    scheduler = new_scheduler(ScorerOf(lambda pods: scores))
    assert scheduler.schedule(REQUEST, pods) is pods[1 - place]
    assert scheduler.faults.count == 1


def test_a_picker_that_fails_is_overruled_by_the_scores() -> None:
    pods = make_pods(["a", "b", "c"])
    scheduler = new_scheduler(by_name(a=0.1, b=0.9, c=0.9), picker=PickerOf(raises))
    assert scheduler.schedule(REQUEST, pods) is pods[1]


@pytest.mark.parametrize("answer", [STRANGER, None, "pod-1"])
def test_a_pod_that_is_no_candidate_is_never_chosen(answer: object) -> None:
    pods, learner = make_pods(2), Learner()
    scheduler = new_scheduler(learner, picker=PickerOf(lambda scored: answer))
    assert scheduler.schedule(REQUEST, pods) is pods[0]
    assert learner.heard == [("picked", pods[0])]
    only_stranger = new_scheduler(filters=[FilterOf(lambda pods: [answer])])
    assert only_stranger.schedule(REQUEST, pods) is pods[0]
    assert only_stranger.faults.count == 1


def test_a_candidate_that_is_equal_and_newer_is_a_candidate() -> None:
    pods = make_pods(2)
    twin = attrs.evolve(pods[1])
    scheduler = new_scheduler(picker=PickerOf(lambda scored: twin))
    assert scheduler.schedule(REQUEST, pods) is twin
    assert scheduler.faults.count == 0


def test_a_learner_that_fails_harms_no_request_and_no_other_learner() -> None:
    pods, bad, good = make_pods(2), Learner(fails=True), Learner()
    scheduler = new_scheduler(bad, good)
    pod = scheduler.schedule(REQUEST, pods)
    assert pod is not None
    scheduler.closed(pod)
    assert good.heard == [("picked", pod), ("closed", pod)]
    assert scheduler.faults.count == 2


def test_each_fault_is_logged_once_and_counted_each_time(caplog: pytest.LogCaptureFixture) -> None:
    scheduler = new_scheduler(ScorerOf(raises), ScorerOf(lambda pods: [2.0, 2.0], name="odd"))
    for _ in range(5):
        scheduler.schedule(REQUEST, make_pods(2))
    assert scheduler.faults.count == 10
    messages = [record.getMessage() for record in caplog.records]
    assert messages == [
        "the scorer scorer-of failed: LookupError('broken'); further times are only counted",
        "the scorer odd answered a score outside 0..1: it counts as 0; further times are only counted",
    ]
    assert {record.levelno for record in caplog.records} == {logging.ERROR}
    assert {record.name for record in caplog.records} == {"flowgate_epp.scheduling"}


def test_the_defaults_spread_requests_and_send_a_prompt_where_it_is_known() -> None:
    pods, scheduler = make_pods(4), Scheduler()
    prompt = InferenceRequest(FlowKey("a"), {}, "m", 0, b'{"prompt": "' + b"x" * 2_000)
    first = scheduler.schedule(prompt, pods)
    others = {scheduler.schedule(REQUEST, pods) for _ in range(3)}
    assert others == set(pods) - {first}
    for pod in pods:
        scheduler.closed(pod)
    assert [scheduler.schedule(prompt, pods) for _ in range(3)] == [first] * 3


def test_defaults_share_no_state_between_schedulers() -> None:
    one, other = SchedulerSettings(), SchedulerSettings()
    assert not {id(each.scorer) for each in one.scorers} & {id(each.scorer) for each in other.scorers}
    assert one.picker is not other.picker


@given(
    chosen=st.lists(st.booleans(), min_size=1, max_size=6),
    scores=st.lists(st.floats(), min_size=6, max_size=6),
    rounds=st.integers(1, 4),
)
def test_whatever_parts_say_a_candidate_is_chosen_or_none(chosen: list[bool], scores: list[float], rounds: int) -> None:
    pods = make_pods(len(chosen))
    scheduler = new_scheduler(
        ScorerOf(lambda given: scores[: len(given)]),
        LeastInFlight(),
        LeastQueue(),
        PrefixAffinity(),
        SessionAffinity(),
        filters=[FilterOf(lambda given: [pod for pod in given if chosen[pods.index(pod)]])],
    )
    for _ in range(rounds):
        pod = scheduler.schedule(REQUEST, pods)
        assert (pod is None) == (not any(chosen))
        assert pod is None or chosen[pods.index(pod)]


def test_it_keeps_the_directors_contract() -> None:
    assert isinstance(Scheduler(), Schedules)


@pytest.mark.parametrize(
    ("make", "error", "says"),
    [
        (lambda: WeightedScorer(LeastQueue(), 0.0), ValueError, "weight must be finite and more than 0, not 0.0"),
        (lambda: WeightedScorer(LeastQueue), TypeError, "scorer must be a Scorer, not <class"),
        (lambda: WeightedScorer("least-queue"), TypeError, "scorer must be a Scorer, not 'least-queue'"),
        (lambda: SchedulerSettings(filters=(5,)), TypeError, "filters must be a Filter, not 5"),
        (lambda: SchedulerSettings(scorers=(LeastQueue(),)), TypeError, "scorers must be a WeightedScorer, not Least"),
        (lambda: SchedulerSettings(picker=5), TypeError, "picker must be a Picker, not 5"),
    ],
)
def test_parts_that_do_not_fit_are_refused(make: Callable[[], Any], error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        make()
