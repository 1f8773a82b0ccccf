"""The demo's figures: waits, order and fairness, out of a log of decisions."""

import math
from collections.abc import Callable

import pytest

from examples.demo.calls import CALLS, Call
from examples.demo.decisions import Decision
from examples.demo.figures import cold_start, first_turns, inversions, lateness, percentile, waits
from examples.demo.settings import BATCH, INTERACTIVE, STANDARD, TENANTS
from flowgate import FlowKey, QueueOutcome

Make = Callable[..., Decision]


def test_there_are_200_calls_of_three_tenants_and_three_priorities_some_impatient_some_hanging_up() -> None:
    calls = CALLS.values()
    assert len(calls) == 200
    assert {(call.tenant, call.priority) for call in calls} == {(t, p) for t in TENANTS for p in (10, 0, -10)}
    assert sum(call.ttl is not None for call in calls) == 21
    assert sum(call.hang_up_after is not None for call in calls) == 12
    assert 50 < sum(call.is_stream for call in calls) < 150


def test_percentiles_take_the_nearest_rank() -> None:
    assert percentile([4.0, 1.0, 3.0, 2.0], 0.5) == 2.0
    assert percentile([1.0, 2.0, 3.0], 0.99) == 3.0
    assert math.isnan(percentile([], 0.5))


def test_waits_are_of_those_that_went_on(decision: Make) -> None:
    gone = [decision("a", queue_wait=1.0), decision("b", queue_wait=2.0), decision("c", tenant="globex")]
    refused = decision("d", outcome=QueueOutcome.EVICTED_TTL, status=429, queue_wait=9.0)
    assert waits([*gone, refused]) == {FlowKey("acme"): [1.0, 2.0], FlowKey("globex"): [0.0]}


class TestOrder:
    def test_a_higher_request_that_waited_and_left_later_is_an_inversion(self, decision: Make) -> None:
        low = decision("low", priority=BATCH, arrived_at=100.0, queue_wait=2.0)
        high = decision("high", priority=INTERACTIVE, arrived_at=101.0, queue_wait=1.2)
        assert inversions([low, high]) == 1
        assert inversions([high, low]) == 0

    def test_of_two_that_leave_at_the_same_moment_the_log_says_which_was_first(self, decision: Make) -> None:
        low = decision("low", priority=BATCH, arrived_at=100.0, queue_wait=2.0)
        high = decision("high", priority=INTERACTIVE, arrived_at=101.0, queue_wait=1.0)
        assert (inversions([low, high]), inversions([high, low])) == (1, 0)

    def test_one_that_came_while_the_other_was_on_its_way_is_none(self, decision: Make) -> None:
        low = decision("low", priority=BATCH, arrived_at=100.0, queue_wait=2.0)
        high = decision("high", priority=INTERACTIVE, arrived_at=101.99, queue_wait=1.0)
        assert inversions([low, high]) == 0

    def test_equals_and_those_who_were_refused_overtake_nobody(self, decision: Make) -> None:
        equal = decision("equal", arrived_at=99.0, queue_wait=9.0)
        low = decision("low", priority=BATCH, outcome=QueueOutcome.EVICTED_TTL, status=429, queue_wait=2.0)
        assert inversions([decision("first", queue_wait=1.0), equal]) == 0
        assert inversions([low, equal]) == 0

    @pytest.mark.parametrize("outcome", [QueueOutcome.EVICTED_TTL, QueueOutcome.EVICTED_CANCELLED])
    def test_a_higher_request_waits_whatever_becomes_of_it(self, decision: Make, outcome: QueueOutcome) -> None:
        low = decision("low", priority=BATCH, queue_wait=2.0)
        high = decision("high", priority=INTERACTIVE, queue_wait=3.0, outcome=outcome, status=429, pod="")
        assert inversions([low, high]) == 1


def test_first_turns_are_of_one_band_and_told_beside_what_had_come_by_then(decision: Make) -> None:
    log = [
        decision("other-band", priority=INTERACTIVE),
        decision("left-before", arrived_at=90.0, outcome=QueueOutcome.EVICTED_TTL, status=429),
        decision("first", queue_wait=5.0),
        decision("second", tenant="globex", queue_wait=5.0),
        decision("gave-up", queue_wait=6.0, outcome=QueueOutcome.EVICTED_TTL, status=429),
        decision("came-later", arrived_at=106.0),
    ]
    assert first_turns(log, STANDARD) == ({"acme": 2, "globex": 1}, {"acme": 2, "globex": 1})
    assert first_turns(log, BATCH) == ({}, {})


def test_no_more_than_24_turns_are_told(decision: Make) -> None:
    turns, backlog = first_turns([decision(str(number)) for number in range(30)], STANDARD)
    assert (turns["acme"], backlog["acme"]) == (24, 30)


def test_a_cold_start_lasts_from_the_first_arrival_to_the_first_that_goes_on(decision: Make) -> None:
    gave_up = decision("a", arrived_at=100.0, outcome=QueueOutcome.EVICTED_NO_PODS, status=503)
    assert cold_start([gave_up, decision("b", arrived_at=101.0, queue_wait=2.5)]) == 3.5
    assert math.isnan(cold_start([gave_up]))


def test_lateness_is_of_the_impatient_whose_time_was_over(decision: Make) -> None:
    calls = {"patient": Call(0.0, "acme", 0), "served": Call(0.0, "acme", 0, ttl=1.0)}
    calls |= {"late": Call(0.0, "acme", 0, ttl=1.0)}
    over = {"outcome": QueueOutcome.EVICTED_NO_PODS, "status": 503, "queue_wait": 1.25}
    log = [decision("stranger", **over), decision("patient", **over), decision("served"), decision("late", **over)]
    assert lateness(log, calls) == [0.25]
