"""What must be true when the demo is over: nothing lost, nothing doubled, no limit broken."""

from collections import Counter
from collections.abc import Mapping, Sequence

import attrs

from examples.demo.clients import HUNG_UP, LOST, Answer
from flowgate import QueueOutcome
from flowgate.admission import http_response

__all__ = ["PodReport", "RunReport", "problems"]

OK = 200


@attrs.frozen
class PodReport:
    """One pod's life, from both sides.

    Attributes:
        name: Its name.
        limit: Requests that it may have in flight.
        most_by_flowgate: The most that flowgate had charged to it.
        most_by_pod: The most that it counted itself; None when it left no last words.
        served: Requests that it says it answered in full.
        refused: Requests that it says it refused.
    """

    name: str
    limit: int
    most_by_flowgate: int
    most_by_pod: int | None
    served: int
    refused: int


@attrs.frozen
class RunReport:
    """A whole run, from all sides.

    Attributes:
        called: Ids of the requests that the clients made.
        answers: How each ended for its client.
        submitted: Requests that the gateway handed to flowgate.
        outcomes: How each ended for flowgate.
        left_waiting: Requests that still wait.
        left_in_flight: Tickets never released.
        inversions: Dispatches while a request of a higher band waited.
        plugin_failures: Failures of locator, detector, policies and observers.
        unserved: Requests that went on and no pod answered, by the gateway's count.
        pods: Every pod there was.
    """

    called: Sequence[str]
    answers: Sequence[Answer]
    submitted: int
    outcomes: Mapping[QueueOutcome, int]
    left_waiting: int
    left_in_flight: int
    inversions: int
    plugin_failures: int
    unserved: int
    pods: Sequence[PodReport]


def problems(report: RunReport) -> list[str]:
    """Say what is wrong with a run, one sentence each; an empty list is a good run."""
    return [*_lost_answers(report), *_wrong_counts(report), *_wrong_order(report), *_broken_limits(report)]


def _lost_answers(report: RunReport) -> list[str]:
    found = [f"request {answer.request_id} was lost: {answer.detail}" for answer in report.answers if _is_lost(answer)]
    ended = Counter(answer.request_id for answer in report.answers)
    found += [f"request {name} never ended" for name in report.called if not ended[name]]
    found += [f"request {name} ended {count} times" for name, count in ended.items() if count > 1]
    return found


def _is_lost(answer: Answer) -> bool:
    return answer.reason == LOST


def _wrong_counts(report: RunReport) -> list[str]:
    found = []
    counted = sum(report.outcomes.values())
    if report.submitted != counted:
        found.append(f"{report.submitted} requests were submitted, and {counted} outcomes counted")
    if report.left_waiting or report.left_in_flight:
        found.append(f"{report.left_waiting} requests still wait, {report.left_in_flight} tickets are held")
    return found + _two_sides(report) + _served(report)


def _two_sides(report: RunReport) -> list[str]:
    """Compare what clients were told with what flowgate counted: they differ at most by those who hung up."""
    told = Counter((answer.status, answer.reason) for answer in report.answers if answer.status)
    hung_up = sum(answer.reason == HUNG_UP for answer in report.answers)
    meant: Counter[tuple[int, str]] = Counter()
    for outcome, count in report.outcomes.items():
        if outcome is not QueueOutcome.EVICTED_CANCELLED:
            said = http_response(outcome)
            meant[said.status, said.reason or ""] += count
    meant[OK, ""] -= report.unserved
    found = []
    for answer in told.keys() | meant.keys():
        status, reason = answer
        if not told[answer] <= meant[answer] <= told[answer] + hung_up:
            name = f"{status} {reason}".strip()
            found.append(f"clients got {told[answer]} times {name}, and flowgate counted {meant[answer]}")
    return sorted(found)


def _served(report: RunReport) -> list[str]:
    served = sum(pod.served for pod in report.pods)
    sent = report.outcomes.get(QueueOutcome.DISPATCHED, 0) - report.unserved
    return [] if served == sent else [f"{sent} requests were sent to pods, which served {served}"]


def _wrong_order(report: RunReport) -> list[str]:
    found = []
    if report.inversions:
        found.append(f"{report.inversions} requests went on while a higher band waited")
    if report.plugin_failures:
        found.append(f"plug-ins failed {report.plugin_failures} times")
    return found


def _broken_limits(report: RunReport) -> list[str]:
    found = []
    for pod in report.pods:
        if pod.most_by_pod is None:
            found.append(f"{pod.name} left no last words")
        elif pod.most_by_pod > pod.limit or pod.refused:
            found.append(
                f"{pod.name} had {pod.most_by_pod} requests in flight by its own count, its limit is {pod.limit}"
            )
        if pod.most_by_flowgate > pod.limit:
            found.append(f"{pod.name} was charged {pod.most_by_flowgate} requests, its limit is {pod.limit}")
    return found
