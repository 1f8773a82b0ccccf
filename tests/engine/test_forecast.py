"""Honest waiting: what a caller is told of its wait is about what it would have waited."""

import math
from collections.abc import Callable
from itertools import count, pairwise
from statistics import median
from typing import Any

import anyio
import pytest

from flowgate import (
    BandShares,
    FlowControlConfig,
    FlowControlError,
    FlowController,
    PriorityBandConfig,
    QueueOutcome,
    Request,
    RequestRejected,
    RetryAfter,
)
from flowgate.admission import http_response
from flowgate.contracts import Dropped
from flowgate.forecast import Forecast, chance_to_miss
from flowgate.items import Item
from flowgate.locators import StaticPodLocator
from flowgate.meters import DrainMeter, Pace
from flowgate.policies import BestHead
from flowgate.saturation import ConcurrencyDetector
from tests.engine.world import PODS, World, drain, world


def true_waits_of(place: World, told: float, within: float = 0.2) -> list[float]:
    """What those truly waited who were told about so many seconds."""
    return [
        place.waits[arrival]
        for arrival, wait in place.told.items()
        if arrival in place.waits and abs(wait - told) <= within * told
    ]


def assert_calibrated(place: World, told: float = 5.0, least: int = 30) -> None:
    waits = true_waits_of(place, told)
    assert len(waits) >= least, f"only {len(waits)} were told {told} s"
    assert told / 2 < median(waits) < told * 2, f"told {told} s, and waited {median(waits):.2f} s"


def by_turns(flows: int) -> Callable[[], str]:
    turn = count()
    return lambda: f"f{next(turn) % flows}"


@pytest.mark.parametrize("seed", range(3))
def test_under_a_growing_backlog_the_forecast_holds(seed: int) -> None:
    """More comes than can go: the queue grows past five seconds, and they are five seconds."""
    place = world(seed)
    place.stream(100, by_turns(5), 0, until=40)
    drain(place)
    assert_calibrated(place)


@pytest.mark.parametrize("seed", range(3))
def test_a_herd_at_once_is_told_the_truth(seed: int) -> None:
    """A thousand that come together, behind a queue that was seen to drain."""
    place = world(seed)
    place.stream(85, by_turns(5), 0, until=10)
    for _ in range(600):
        place.at(10.0, lambda: place.arrive(f"f{place.chance.randrange(5)}") and None)
    drain(place)
    assert_calibrated(place)


@pytest.mark.parametrize("seed", range(3))
def test_a_lower_band_is_told_of_those_who_will_come_above_it(seed: int) -> None:
    """Half of the pods' work goes to a higher band, now and later: a lower one waits twice as long."""
    place = world(seed)
    place.stream(40, by_turns(3), 1, until=60)
    place.stream(50, by_turns(3), 0, until=60)
    drain(place)
    assert_calibrated(place)


@pytest.mark.parametrize("seed", range(3))
def test_slower_pods_make_longer_waits(seed: int) -> None:
    """Service times double half-way: within two pages of the meter the forecast has followed."""
    place = world(seed)
    place.stream(100, by_turns(5), 0, until=15)
    place.at(15.0, lambda: setattr(place, "service", lambda: place.chance.expovariate(1 / 0.8)))
    place.run(28.0)
    place.told.clear()
    for _ in range(400):
        place.at(28.0, lambda: place.arrive(f"new-{place.chance.randrange(200)}") and None)
    drain(place)
    waits = [(told, place.waits[arrival]) for arrival, told in place.told.items()]
    ratio = median(true / told for told, true in waits if told > 0)
    assert 0.5 < ratio < 2.0


@pytest.mark.parametrize("seed", range(3))
def test_a_flow_with_a_long_queue_waits_longer_than_a_new_one(seed: int) -> None:
    """Position counts as fairness counts it: by turns."""
    place = world(seed)
    place.stream(100, lambda: "flood", 0, until=20)
    place.run(15.0)
    for _ in range(8):
        place.arrive("flood")
    place.arrive("newcomer")
    flood, newcomer = list(place.told.values())[-2:]
    assert newcomer < flood / 10
    drain(place)


def test_a_guaranteed_share_bounds_the_forecast() -> None:
    """A band with half of everything guaranteed does not wait for all that is above it."""
    waits = []
    for shares in (None, BandShares({0: 0.5})):
        place = world(config={"band_shares": shares})
        place.stream(90, by_turns(3), 1, until=20)
        place.run(19.0)
        for _ in range(40):
            place.arrive("low")
        waits.append(list(place.told.values())[-1])
        drain(place)
    assert waits[1] < waits[0] / 2


def test_where_heads_are_compared_everybody_is_ahead() -> None:
    """Under best head the line is one: a new flow has no turn of its own."""
    place = world(fairness=BestHead())
    place.stream(100, lambda: "flood", 0, until=20)
    place.run(19.0)
    place.arrive("newcomer")
    place.arrive("flood")
    newcomer, flood = list(place.told.values())[-2:]
    assert newcomer == pytest.approx(flood, rel=0.05)
    drain(place)


# -- what is not known


def seen(held: float = 0.5) -> Pace:
    """Somebody has released a ticket, after so many seconds."""
    pace = Pace()
    pace.note(held)
    return pace


def test_nothing_is_foretold_before_enough_was_seen() -> None:
    """With four dispatches there is no rate, with five there is."""
    meter = DrainMeter(seen())
    meter.start(0.0)
    for second in range(1, 5):
        meter.went(float(second))
        assert meter.rate(float(second)) is None
    meter.went(5.0)
    assert meter.rate(5.0) == (1.0, 5)


def test_a_stall_is_seen_while_it_lasts() -> None:
    """Where nothing leaves any longer, the rate sinks, and it is back soon once something does."""
    meter = DrainMeter(seen())
    meter.start(0.0)
    for tenth in range(100):
        meter.went(tenth / 10)
    rate, _ = meter.rate(60.0) or (0.0, 0)
    assert rate <= 0.2
    rate, counted = meter.rate(120.0) or (0.0, 0)
    assert (rate, counted) == (0.2, 1.0)
    for tenth in range(1_200, 1_300):
        meter.went(tenth / 10)
    rate, _ = meter.rate(130.0) or (0.0, 0)
    assert rate == pytest.approx(10.0, rel=0.1)


def test_what_a_pool_takes_at_once_is_no_rate() -> None:
    """From zero to pods: counting begins with the first slot that comes back."""
    pace = seen()
    meter = DrainMeter(pace)
    meter.restart()
    for _ in range(100):
        meter.went(10.0)
    assert meter.rate(10.0) is None
    pace.note(1.0)
    for second in range(11, 18):
        meter.went(float(second))
    assert meter.rate(17.0) == (1.0, 6)


def test_the_past_is_forgotten() -> None:
    """After two pages of waiting, and after a minute in which nobody waited."""
    meter = DrainMeter(seen())
    meter.start(0.0)
    for tenth in range(100):
        meter.went(tenth / 10)
    rate, counted = meter.rate(10.0) or (0.0, 0)
    assert rate == pytest.approx(10.0, rel=0.1)
    assert counted > 45
    for second in range(10, 31):
        meter.went(float(second))
    rate, _ = meter.rate(30.0) or (0.0, 0)
    assert rate == pytest.approx(1.0, rel=0.2)
    meter.stop(30.0)
    meter.start(31.0)
    assert meter.rate(31.0) is not None
    meter.stop(31.0)
    meter.start(92.0)
    assert meter.rate(92.0) is None


def test_a_burst_above_is_no_lasting_rate() -> None:
    """Only what came in both pages is expected to go on coming."""
    meter = DrainMeter(seen())
    meter.start(0.0)
    for _ in range(1_000):
        meter.came(1, 0.0)
    assert meter.rate_above(0) == 0.0
    for second in range(1, 8):
        meter.went(float(second))
        meter.came(2, float(second))
    meter.rate(7.0)
    assert meter.rate_above(0) == pytest.approx(1.0, rel=0.5)
    assert meter.rate_above(2) == 0.0


def test_nothing_is_known_before_the_first_ticket_came_back() -> None:
    """How long tickets are held says how long to watch."""
    pace = Pace()
    meter = DrainMeter(pace)
    meter.start(0.0)
    for second in range(1, 60):
        meter.went(float(second))
    assert meter.rate(60.0) is None
    pace.note(1.0)
    assert meter.rate(60.0) is not None


def test_a_meter_watches_twice_as_long_as_tickets_are_held() -> None:
    """Where slots come back in batches of half a minute, the pause between two is no stall."""
    meter = DrainMeter(seen(held=30.0))
    meter.start(0.0)
    for batch in range(1, 5):
        for _ in range(60):
            meter.went(30.0 * batch)
    rate, _ = meter.rate(149.0) or (0.0, 0)
    assert rate == pytest.approx(2.0, rel=0.4)


def test_nobody_counts_who_comes_while_there_are_no_pods() -> None:
    """Priorities that come and go leave nothing behind, and a long silence is forgotten when asked for, too."""
    meter = DrainMeter(seen())
    for priority in range(1_000):
        meter.came(priority, 1.0)
    meter.start(10.0)
    assert meter.rate_above(-1) == 0.0
    for second in range(11, 20):
        meter.went(float(second))
    meter.stop(20.0)
    assert meter.rate(30.0) is not None
    assert meter.rate(90.0) is None


def test_slots_that_come_back_in_batches_refuse_nobody_who_would_go() -> None:
    """Requests of half a minute, all at once: whoever fits into the next batch is let in between."""
    place = world(reject_infeasible=0.9)
    place.service = lambda: 30.0
    for number in range(32):
        place.arrive(f"f{number}")
    for second in range(10, 250, 30):
        for number in range(30):
            place.at(float(second), lambda number=number: place.arrive(f"f{number}", ttl=25.0) and None)  # type: ignore[misc]
    drain(place)
    assert place.dropped == []


@pytest.mark.parametrize("budget", [5e-324, 1e-9, 1.0, 1e150, 1e200, 1e308])
@pytest.mark.parametrize("rate", [1e-300, 0.45, 1e6])
def test_a_chance_is_a_chance_whatever_the_numbers(rate: float, budget: float) -> None:
    """Never an error, never NaN."""
    assert 0.0 <= chance_to_miss(Forecast(5, rate, 7.0), budget) <= 1.0


def test_without_pods_nobody_knows() -> None:
    """Whatever drained before: nothing does now."""
    place = world(max_requests=100)
    place.stream(100, by_turns(5), 0, until=12)
    place.run(10.0)
    band = place.core.shard.registry.bands[0]
    lane = next(iter(place.core.shard.lanes.waiting))
    key = Request("f0").flow_key()
    assert place.core.shard.forecast(lane, band, key) is not None
    locator: Any = place.core.shard.locator.plugin
    locator.set_pods([])
    place.core.advance(10.0)
    assert place.core.shard.forecast(lane, band, key) is None
    locator.set_pods(PODS)
    place.core.advance(10.5)
    assert place.core.shard.forecast(lane, band, key) is None
    drain(place)


# -- what callers are told


def test_a_refused_caller_is_told_when_to_come_back() -> None:
    """By the backlog ahead and the measured rate; the error has it, and the response's header."""
    place = world(max_requests=400)
    place.stream(100, by_turns(5), 0, until=30)
    place.run(29.0)
    refused = [dropped for dropped in place.dropped if dropped.outcome is QueueOutcome.REJECTED_CAPACITY]
    assert refused
    assert all(dropped.retry_after is not None for dropped in refused)
    assert refused[-1].retry_after == pytest.approx(5.0, rel=0.3)
    drain(place)


@pytest.mark.anyio
async def test_the_error_and_the_header_say_so() -> None:
    """Through the front door: seconds on the error, whole seconds in the header."""
    config = FlowControlConfig(
        [PriorityBandConfig(0, max_requests=20)], retry_after=RetryAfter(least=0.5, jitter=0.0), default_ttl=math.inf
    )
    errors: list[FlowControlError] = []

    async def call(controller: FlowController, number: int) -> None:
        try:
            async with controller.admitted(Request(f"f{number % 3}")):
                await anyio.sleep(0.5)
        except FlowControlError as error:
            errors.append(error)

    controller = FlowController(config, locator=StaticPodLocator(PODS[:1]), detector=ConcurrencyDetector(1))
    async with controller, anyio.create_task_group() as tasks:
        for number in range(60):
            tasks.start_soon(call, controller, number)
            await anyio.sleep(0.25)
    assert errors[-1].outcome is QueueOutcome.REJECTED_CAPACITY
    assert errors[-1].retry_after == pytest.approx(10.0, rel=0.2)
    assert http_response(errors[-1]).headers["retry-after"] in {"9", "10", "11", "12"}


def test_callers_that_are_refused_together_come_back_apart() -> None:
    """Jitter spreads them evenly over its range; the clamps come first."""
    spread = RetryAfter(least=1.0, most=10.0, jitter=0.5)
    told = sorted(spread.seconds(4.0, turn) for turn in range(100))
    assert told[0] >= 4.0
    assert told[-1] < 6.0
    assert max(later - earlier for earlier, later in pairwise(told)) < 0.05
    assert spread.seconds(0.001, 0) == 1.0
    assert spread.seconds(1e9, 0) == 10.0


def test_only_outcomes_that_a_retry_may_mend_are_told() -> None:
    """A shutdown, a bad request and one that is too large name no time."""
    place = world(max_requests=400, max_bytes=1_000, mode="queue")
    place.stream(100, by_turns(5), 0, until=30)
    place.run(29.0)
    too_large = place.arrive("f0", byte_size=5_000)
    assert isinstance(too_large, Dropped)
    assert too_large.retry_after is None
    place.core.close(place.now)
    place._collect()
    assert all(
        dropped.retry_after is None
        for dropped in place.dropped
        if dropped.outcome in (QueueOutcome.EVICTED_SHUTDOWN, QueueOutcome.REJECTED_TOO_LARGE)
    )
    drain(place)


def test_it_can_be_switched_off() -> None:
    """None in the configuration: nobody is told anything."""
    place = world(max_requests=50)
    place.core.reconfigure(FlowControlConfig([PriorityBandConfig(0, max_requests=50)], retry_after=None), 0.0)
    place.stream(200, by_turns(5), 0, until=10)
    drain(place)
    assert place.dropped
    assert all(dropped.retry_after is None for dropped in place.dropped)


# -- refusing what would be in vain


@pytest.mark.parametrize("certainty", [0.6, 0.99])
def test_a_request_that_would_wait_in_vain_is_told_at_once(certainty: float) -> None:
    """Of those let in under a heavy load nearly all go; without the option a good part waits for nothing."""
    place = world(reject_infeasible=certainty)
    place.stream(160, by_turns(5), 0, until=60, ttl=2.0)
    drain(place)
    outcomes = [dropped.outcome for dropped in place.dropped]
    infeasible = outcomes.count(QueueOutcome.REJECTED_INFEASIBLE)
    in_vain = outcomes.count(QueueOutcome.EVICTED_TTL)
    assert infeasible > 1_000
    assert in_vain < (0.1 if certainty < 0.9 else 0.3) * len(place.waits)
    assert len(place.waits) > 0.9 * 60 * 80 - 32


@pytest.mark.parametrize("seed", range(3))
def test_after_a_stall_requests_are_let_in_again(seed: int) -> None:
    """Pods hang for half a minute and recover: what was measured meanwhile must not refuse everybody for ever."""
    place = world(seed, reject_infeasible=0.6)
    place.stream(120, by_turns(5), 0, until=110, ttl=2.0)
    place.at(10.0, lambda: setattr(place, "service", lambda: 30.0))
    place.at(40.0, lambda: setattr(place, "service", lambda: place.chance.expovariate(1 / 0.4)))
    place.run(90.0)
    served, waited = place.served.total(), len(place.waits)
    place.run(110.0)
    assert place.served.total() - served > 0.93 * 20 * 80
    assert len(place.waits) - waited > 0.8 * 20 * 80
    drain(place)


def test_who_is_next_is_never_refused() -> None:
    """With nobody ahead a request may wait, however slow pods were: it shows whether they still are."""
    place = world(reject_infeasible=0.5)
    place.stream(100, by_turns(5), 0, until=20)
    place.at(20.0, lambda: setattr(place, "service", lambda: 1_000.0))
    place.run(60.0)
    while place.core.shard.lanes.waiting:
        place.core.cancel(place.core.shard.waiting_items()[0], place.now)
    assert isinstance(place.arrive("f0", ttl=0.5), Item)
    assert isinstance(place.arrive("f0", ttl=0.5), Dropped)
    drain(place)


def test_nothing_is_refused_as_infeasible_by_default() -> None:
    """Without the option those who wait in vain find out at their deadline."""
    place = world()
    place.stream(160, by_turns(5), 0, until=10, ttl=1.0)
    drain(place)
    assert {dropped.outcome for dropped in place.dropped} == {QueueOutcome.EVICTED_TTL}


def test_the_sentence_says_how_sure_it_was() -> None:
    """Predicted wait, budget, certainty and the band's threshold."""
    place = world(reject_infeasible=0.9)
    place.stream(200, by_turns(5), 0, until=20)
    place.run(15.0)
    dropped = place.arrive("f0", ttl=0.5)
    assert isinstance(dropped, Dropped)
    assert dropped.outcome is QueueOutcome.REJECTED_INFEASIBLE
    assert "s and may wait 0.5 s: 100% sure to be in vain, and band 0 refuses at 90%" in dropped.message
    assert dropped.retry_after is not None
    assert http_response(dropped.outcome).reason == "infeasible"
    assert RequestRejected("no", outcome=dropped.outcome, request_id="r").outcome.is_rejected
    drain(place)


def test_who_may_wait_for_ever_never_waits_in_vain() -> None:
    """Without a deadline there is nothing to miss."""
    place = world(reject_infeasible=0.5)
    place.stream(200, by_turns(5), 0, until=20)
    drain(place)
    assert not place.dropped


def test_the_chance_to_miss_is_that_of_a_count() -> None:
    """Half where exactly as many leave as must, little with twice the time, and less sure with fewer samples."""
    assert chance_to_miss(Forecast(100, 10.0, 1_000), 10.0) == pytest.approx(0.5)
    assert chance_to_miss(Forecast(100, 10.0, 1_000), 20.0) < 0.001
    assert chance_to_miss(Forecast(100, 10.0, 1_000), 5.0) > 0.999
    assert 0.5 < chance_to_miss(Forecast(100, 10.0, 5), 8.0) < chance_to_miss(Forecast(100, 10.0, 1_000), 8.0)


@pytest.mark.parametrize(
    ("values", "kind", "message"),
    [
        ({"least": 0}, ValueError, "least must be more than 0 seconds, not 0"),
        ({"most": math.inf}, ValueError, "most must be finite, not inf"),
        ({"most": 0.5}, ValueError, "most must be no less than least=1.0, not 0.5"),
        ({"jitter": 2}, ValueError, "jitter must lie in 0..1, not 2"),
        ({"jitter": "x"}, TypeError, "jitter must be a number, not 'x'"),
    ],
)
def test_bad_settings_are_refused(values: dict[str, Any], kind: type[Exception], message: str) -> None:
    """The error names the field, the value and the rule."""
    with pytest.raises(kind, match=message):
        RetryAfter(**values)


@pytest.mark.parametrize("certainty", [0.4, 1.1, math.nan])
def test_certainty_is_a_share(certainty: float) -> None:
    """Half is a guess, and more than one is nothing."""
    with pytest.raises(ValueError, match=r"reject_infeasible must lie in 0\.5\.\.1, not"):
        PriorityBandConfig(0, reject_infeasible=certainty)
