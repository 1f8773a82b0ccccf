"""The demo's verdict: a good run has no problem, and each broken promise is told in a sentence of its own."""

import io

import attrs
import pytest
from rich.console import Console

from examples.demo.accounts import pod_report
from examples.demo.checks import PodReport, RunReport, problems
from examples.demo.clients import HUNG_UP, LOST, Answer
from examples.demo.decisions import Decision
from examples.demo.model_pod import ModelPod
from examples.demo.story import conclude
from flowgate import QueueOutcome

WENT = Decision("a", "acme", 0, 100.0, 0.5, QueueOutcome.DISPATCHED, 200, pod="pod-1")
NO_PODS = Decision("b", "globex", 0, 100.0, 1.0, QueueOutcome.EVICTED_NO_PODS, 503, "no-pods")
CANCELLED = Decision("c", "acme", 10, 100.0, 0.2, QueueOutcome.EVICTED_CANCELLED, 499, "cancelled")

GOOD_POD = PodReport("pod-1", limit=4, most_by_epp=4, most_by_pod=4, most_waiting=0, served=1, aborted=0, refused=0)
GOOD = RunReport(
    called=["a", "b", "c"],
    answers=[Answer("a", 200, pod="pod-1"), Answer("b", 503, "no-pods"), Answer("c", 0, HUNG_UP)],
    decisions=[WENT, NO_PODS, CANCELLED],
    counted={
        QueueOutcome.DISPATCHED: 1,
        QueueOutcome.EVICTED_NO_PODS: 1,
        QueueOutcome.EVICTED_CANCELLED: 1,
    },
    left_waiting=0,
    left_in_flight=0,
    inversions=0,
    faults=[],
    pods=[GOOD_POD],
)
BROKEN = {
    "request a was lost: gone": {"answers": [Answer("a", 0, LOST, detail="gone"), *GOOD.answers[1:]]},
    "request d never ended": {"called": [*GOOD.called, "d"]},
    "request d never was decided": {"called": [*GOOD.called, "d"]},
    "request c ended 2 times": {"answers": [*GOOD.answers, Answer("c", 0, HUNG_UP)]},
    "request a was decided 2 times": {"decisions": [WENT, *GOOD.decisions]},
    "request b was told 429 saturated, and decided was 503 no-pods": {
        "answers": [GOOD.answers[0], Answer("b", 429, "saturated"), GOOD.answers[2]]
    },
    "request a was told 503, and decided was 200": {"answers": [Answer("a", 503), *GOOD.answers[1:]]},
    "request a was sent to pod-1, and pod-2 answered": {"answers": [Answer("a", 200, pod="pod-2"), *GOOD.answers[1:]]},
    "the log has 1 times EVICTED_NO_PODS, and the metrics 0": {
        "counted": {QueueOutcome.DISPATCHED: 1, QueueOutcome.EVICTED_CANCELLED: 1}
    },
    "the log has 0 times EVICTED_TTL, and the metrics 1": {"counted": {**GOOD.counted, QueueOutcome.EVICTED_TTL: 1}},
    "1 requests still wait, 0 slots are held": {"left_waiting": 1},
    "0 requests still wait, 1 slots are held": {"left_in_flight": 1},
    "the Endpoint Picker says: policy fcfs failed 1 times": {"faults": ["policy fcfs failed 1 times"]},
    "1 requests went on while a higher band waited": {"inversions": 1},
    "pod-1 was charged 5 requests, its limit is 4": {"pods": [attrs.evolve(GOOD_POD, most_by_epp=5)]},
    "pod-1 worked on 5 requests by its own count, its limit is 4": {"pods": [attrs.evolve(GOOD_POD, most_by_pod=5)]},
    "1 requests had to wait in pod-1: more were sent than it has slots": {
        "pods": [attrs.evolve(GOOD_POD, most_waiting=1)]
    },
    "pod-1 refused 2 requests": {"pods": [attrs.evolve(GOOD_POD, refused=2)]},
    "pod-1 left no last words": {"pods": [attrs.evolve(GOOD_POD, most_by_pod=None)]},
    "pod-1 was sent 1 requests and served 2, and 1 clients had its answer": {
        "pods": [attrs.evolve(GOOD_POD, served=2)]
    },
    "pod-1 was sent 1 requests and served 0, and 1 clients had its answer": {
        "pods": [attrs.evolve(GOOD_POD, served=0)]
    },
}


def test_a_good_run_has_no_problem() -> None:
    assert problems(GOOD) == []


@pytest.mark.parametrize("problem", BROKEN)
def test_each_broken_promise_is_told(problem: str) -> None:
    assert problem in problems(attrs.evolve(GOOD, **BROKEN[problem]))


def test_a_hang_up_may_come_after_the_dispatch_and_after_the_answer() -> None:
    answers = [Answer("a", 0, HUNG_UP), *GOOD.answers[1:]]
    for served, aborted in ((1, 0), (0, 1), (0, 0)):
        pods = [attrs.evolve(GOOD_POD, served=served, aborted=aborted)]
        assert problems(attrs.evolve(GOOD, answers=answers, pods=pods)) == []


def test_a_request_may_wait_in_a_pod_for_the_slot_of_one_that_was_aborted() -> None:
    assert problems(attrs.evolve(GOOD, pods=[attrs.evolve(GOOD_POD, most_waiting=1, aborted=1)])) == []


def test_a_pod_without_last_words_is_reported_as_such() -> None:
    pod = ModelPod("pod-1", born=0.0)
    assert pod_report(pod, 3) == PodReport("pod-1", 4, 3, None, 0, 0, 0, 0)
    pod.counts = {"served": 7, "refused": 1, "aborted": 2, "most_running": 4, "most_waiting": 3}
    assert pod_report(pod, 3) == PodReport("pod-1", 4, 3, 4, 3, 7, 2, 1)


@pytest.mark.parametrize(("report", "status"), [(GOOD, 0), (attrs.evolve(GOOD, left_waiting=4), 1)])
def test_the_verdict_decides_the_exit_status(report: RunReport, status: int) -> None:
    output = io.StringIO()
    assert conclude(Console(file=output, width=100), report) == status
    said = output.getvalue()
    assert ("PROBLEM: 4 requests still wait, 0 slots are held" in said) == bool(status)
    assert ("OK: 3 requests, each with exactly one end; no limit broken" in said) == (not status)


def test_the_summary_shows_all_sides_beside_each_other() -> None:
    output = io.StringIO()
    conclude(Console(file=output, width=80), GOOD)
    said = [" ".join(line.split()) for line in output.getvalue().splitlines()]
    assert "standard (0) 1 0.50 0.50 0.50 nan nan" in said
    assert "EVICTED_NO_PODS 503 no-pods 1 1 1" in said
    assert "EVICTED_CANCELLED 499 cancelled 1 1 1" in said
    assert "all 3 3 3" in said
    assert "pod-1 4 4 4 1" in said
    assert "cold start: 0.50 s from the first request to the first that went on" in said
    assert "pods: 1 started, 1 stopped in good order" in said
    assert "order: 0 requests went on while a higher priority waited" in said
    shares = "acme 1 (of 1), globex 0 (of 1), initech 0 (of 0)"
    assert f"fairness: the first 1 standard requests to go on were {shares}" in said


def test_a_run_in_which_nothing_went_on_has_a_summary_too() -> None:
    output = io.StringIO()
    pods = [attrs.evolve(GOOD_POD, most_by_pod=None)]
    assert conclude(Console(file=output, width=80), attrs.evolve(GOOD, decisions=[], counted={}, pods=pods)) == 1
    assert "cold start: nan s" in output.getvalue()
    assert "fairness" not in output.getvalue()
