"""What the decisions come to: waits, order, fairness. Pure functions of the log, in the order of its lines."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

from examples.demo.calls import Call
from examples.demo.decisions import Decision
from flowgate import FlowKey, QueueOutcome

__all__ = ["FIRST_TURNS", "cold_start", "first_turns", "inversions", "lateness", "percentile", "waits"]

FIRST_TURNS = 24

TURN = 0.2
"""Longest turn of the Endpoint Picker's event loop, in seconds.

A slot is given away in one turn, and the decision written down in the next, when its request resumes. Whoever arrived
in between was not there yet.
"""

TIMED_OUT = {QueueOutcome.EVICTED_TTL, QueueOutcome.EVICTED_NO_PODS}


def percentile(values: Iterable[float], share: float) -> float:
    """Return the smallest value that at least this share of the values does not exceed; NaN without values."""
    ranked = sorted(values)
    return ranked[max(0, math.ceil(share * len(ranked)) - 1)] if ranked else math.nan


def waits(decisions: Iterable[Decision]) -> Mapping[FlowKey, list[float]]:
    """Return the seconds in the queue of those that went on, by flow."""
    found = defaultdict[FlowKey, list[float]](list)
    for decision in decisions:
        if decision.went_on:
            found[FlowKey(decision.tenant, decision.priority)].append(decision.queue_wait)
    return found


def inversions(decisions: Sequence[Decision]) -> int:
    """Return how many requests were let go while one of a higher band waited.

    The log's order says who left first: requests that leave in one step are written down in that order, with times that
    may be the same.
    """
    return sum(
        any(_waited(higher, decision) for higher in decisions[number + 1 :])
        for number, decision in enumerate(decisions)
        if decision.outcome is QueueOutcome.DISPATCHED
    )


def _waited(later: Decision, gone: Decision) -> bool:
    """Return whether one that left later, and is of a higher band, was there when the other one went."""
    return later.priority > gone.priority and later.arrived_at < gone.left_at - TURN


def first_turns(decisions: Sequence[Decision], priority: int) -> tuple[Counter[str], Counter[str]]:
    """Return whose the first requests of a band to go on were, and how many of each tenant had come by then."""
    gone = [decision for decision in decisions if decision.priority == priority and decision.went_on]
    turns = Counter(decision.tenant for decision in gone[:FIRST_TURNS])
    if not gone:
        return turns, Counter()
    first = decisions.index(gone[0])
    backlog = Counter(
        decision.tenant
        for decision in decisions[first:]
        if decision.priority == priority and decision.arrived_at <= gone[0].left_at
    )
    return turns, backlog


def cold_start(decisions: Sequence[Decision]) -> float:
    """Return the seconds from the first arrival to the first request that went on; NaN if none did."""
    gone = [decision.left_at for decision in decisions if decision.went_on]
    return min(gone) - min(decision.arrived_at for decision in decisions) if gone else math.nan


def lateness(decisions: Iterable[Decision], calls: Mapping[str, Call]) -> list[float]:
    """Return how many seconds after its own time to live each impatient request left."""
    found: list[float] = []
    for decision in decisions:
        call = calls.get(decision.request_id)
        if call is not None and call.ttl is not None and decision.outcome in TIMED_OUT:
            found.append(decision.queue_wait - call.ttl)
    return found
