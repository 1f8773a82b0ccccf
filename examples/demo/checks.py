"""What must be true when the demo is over: nothing lost, nothing doubled, no limit broken."""

from collections import Counter
from collections.abc import Mapping, Sequence

import attrs

from examples.demo.clients import HUNG_UP, LOST, OK, Answer
from examples.demo.decisions import Decision
from flowgate import QueueOutcome

__all__ = ["PodReport", "RunReport", "problems"]


@attrs.frozen
class PodReport:
    """One pod's life, from both sides.

    Attributes:
        name: Its name.
        limit: Requests that it may work on at the same time.
        most_by_epp: The most that the Endpoint Picker had charged to it in any picture.
        most_by_pod: The most that it worked on by its own count; None when it left no last words.
        most_waiting: The most that had to wait in it.
        served: Requests that it says it answered in full.
        aborted: Requests whose clients went away, by its own count.
        refused: Requests that it says it refused.
    """

    name: str
    limit: int
    most_by_epp: int
    most_by_pod: int | None
    most_waiting: int
    served: int
    aborted: int
    refused: int


@attrs.frozen
class RunReport:
    """A whole run, from all sides.

    Attributes:
        called: Ids of the requests that the clients made.
        answers: How each ended for its client.
        decisions: What the Endpoint Picker decided, by its log.
        counted: The same by its metrics: how many requests ended in each way.
        left_waiting: Requests that still wait.
        left_in_flight: Slots never given back.
        inversions: Requests that went on while one of a higher band waited.
        faults: What went wrong inside of the Endpoint Picker, by its metrics and its log.
        pods: Every pod there was.
    """

    called: Sequence[str]
    answers: Sequence[Answer]
    decisions: Sequence[Decision]
    counted: Mapping[QueueOutcome, int]
    left_waiting: int
    left_in_flight: int
    inversions: int
    faults: Sequence[str]
    pods: Sequence[PodReport]


def problems(report: RunReport) -> list[str]:
    """Say what is wrong with a run, one sentence each; an empty list is a good run."""
    return [
        *_lost_answers(report),
        *_other_decisions(report),
        *_wrong_counts(report),
        *_wrong_order(report),
        *(problem for pod in report.pods for problem in _broken_limits(report, pod)),
    ]


def _lost_answers(report: RunReport) -> list[str]:
    found = [
        f"request {answer.request_id} was lost: {answer.detail}" for answer in report.answers if answer.reason == LOST
    ]
    return found + _ends("ended", report.called, [answer.request_id for answer in report.answers])


def _ends(verb: str, called: Sequence[str], ended: Sequence[str]) -> list[str]:
    counts = Counter(ended)
    found = [f"request {name} never {verb}" for name in called if not counts[name]]
    return found + [f"request {name} {verb} {count} times" for name, count in counts.items() if count > 1]


def _other_decisions(report: RunReport) -> list[str]:
    """Compare what each client was told with what was decided; who hung up heard nothing, and may have got any end."""
    found = _ends("was decided", report.called, [decision.request_id for decision in report.decisions])
    decided = {decision.request_id: decision for decision in report.decisions}
    for answer in report.answers:
        decision = decided.get(answer.request_id)
        if decision is None or answer.reason in {HUNG_UP, LOST}:
            continue
        told, meant = (answer.status, answer.reason), (decision.status, decision.reason)
        if told != meant:
            found.append(f"request {answer.request_id} was told {_words(told)}, and decided was {_words(meant)}")
        elif answer.pod != decision.pod:
            found.append(f"request {answer.request_id} was sent to {decision.pod}, and {answer.pod} answered")
    return found


def _words(answer: tuple[int, str]) -> str:
    status, reason = answer
    return f"{status} {reason}".strip()


def _wrong_counts(report: RunReport) -> list[str]:
    logged = Counter(decision.outcome for decision in report.decisions)
    found = [
        f"the log has {logged[outcome]} times {outcome.name}, and the metrics {report.counted.get(outcome, 0)}"
        for outcome in QueueOutcome
        if logged[outcome] != report.counted.get(outcome, 0)
    ]
    if report.left_waiting or report.left_in_flight:
        found.append(f"{report.left_waiting} requests still wait, {report.left_in_flight} slots are held")
    return found


def _wrong_order(report: RunReport) -> list[str]:
    found = [f"the Endpoint Picker says: {fault}" for fault in report.faults]
    if report.inversions:
        found.append(f"{report.inversions} requests went on while a higher band waited")
    return found


def _broken_limits(report: RunReport, pod: PodReport) -> list[str]:
    found = []
    if pod.most_by_epp > pod.limit:
        found.append(f"{pod.name} was charged {pod.most_by_epp} requests, its limit is {pod.limit}")
    if pod.most_by_pod is None:
        return [*found, f"{pod.name} left no last words"]
    if pod.most_by_pod > pod.limit:
        found.append(f"{pod.name} worked on {pod.most_by_pod} requests by its own count, its limit is {pod.limit}")
    # One that has just lost its client may still hold its slot when the next one comes.
    if pod.most_waiting > pod.aborted:
        found.append(f"{pod.most_waiting} requests had to wait in {pod.name}: more were sent than it has slots")
    if pod.refused:
        found.append(f"{pod.name} refused {pod.refused} requests")
    return found + _served(report, pod)


def _served(report: RunReport, pod: PodReport) -> list[str]:
    sent = sum(decision.pod == pod.name for decision in report.decisions)
    answered = sum(answer.status == OK and answer.pod == pod.name for answer in report.answers)
    if answered <= pod.served <= sent:
        return []
    return [f"{pod.name} was sent {sent} requests and served {pod.served}, and {answered} clients had its answer"]
