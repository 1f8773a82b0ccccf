"""Demand is what the controller holds, at every moment, and its edges are told in the turn in which they happen."""

import asyncio
import gc
import math
import random
import warnings

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flowgate import FlowControlConfig, FlowKey, PriorityBandConfig, Request
from flowgate.testing import run_in_virtual_time
from flowgate_epp.director import GatewayRequest, estimated_tokens
from flowgate_epp.waking import Demand, DemandMeter

IDLE = Demand(0, 0, 0.0, 0.0)


def assert_agrees(here):
    stats, demand = here.controller.stats(), here.meter.demand
    holding = [caller for caller in here.callers.all if caller.is_holding]
    waiting = [caller for caller in here.callers.all if caller.is_waiting]
    measure = estimated_tokens if here.meter.unit == "tokens" else Request.byte_size
    assert (demand.waiting, demand.running) == (stats.queued_requests, stats.in_flight)
    assert demand.is_idle == (stats.queued_requests == stats.in_flight == 0)
    assert math.isclose(demand.running_work, sum(measure(caller.request) for caller in holding), abs_tol=1e-6)
    assert math.isclose(demand.waiting_work, sum(measure(caller.request) for caller in waiting), abs_tol=1e-6)
    if here.meter.unit == "bytes":
        assert demand.waiting_work == stats.queued_bytes


_STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("ask"), st.sampled_from((10, 0, -5, 7)), st.integers(0, 3_000)),
        st.tuples(st.just("cancel"), st.integers(0, 40)),
        st.tuples(st.just("release"), st.integers(0, 40)),
        st.tuples(st.just("pods"), st.integers(0, 3)),
        st.tuples(st.just("sleep"), st.sampled_from([1.0, 70.0, 400.0])),
    ),
    max_size=40,
)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(_STEPS, st.sampled_from(["bytes", "tokens"]))
def test_whatever_happens_meter_and_controller_agree(flow, steps, work):
    async def main():
        async with flow(work) as here:
            for name, *args in steps:
                if name == "ask":
                    await here.callers.start(Request("a", args[0], byte_size=args[1]))
                elif name == "cancel" and args[0] < len(here.callers.all) and here.callers.all[args[0]].is_waiting:
                    here.callers.all[args[0]].cancel()
                elif name == "release" and args[0] < len(here.callers.all) and here.callers.all[args[0]].is_holding:
                    here.callers.all[args[0]].release()
                elif name == "pods":
                    here.pool.scale(args[0])
                elif name == "sleep":
                    await asyncio.sleep(args[0])
                await asyncio.sleep(0.001)
                assert_agrees(here)
            here.pool.scale(3)
            await here.callers.finish()
            assert here.meter.demand == IDLE

    run_in_virtual_time(main)


def test_a_closing_controller_leaves_no_demand_behind(flow):
    """Evicted by the shutdown or released after it: all are told."""

    async def main():
        async with flow(pods=1) as here:
            for _ in range(5):
                await here.callers.start(Request("a", byte_size=3))
            assert here.meter.demand == Demand(3, 2, 9, 6)
            await here.controller.drain(0)
            assert here.meter.demand == Demand(0, 2, 0, 6)
            await here.callers.finish()
            assert here.meter.demand == IDLE

    run_in_virtual_time(main)


def test_a_ticket_that_nobody_released_is_no_demand_for_ever(flow):
    async def main():
        async with flow(pods=1) as here:
            ticket = await here.controller.enqueue_and_wait(Request("a", byte_size=7))
            assert here.meter.demand == Demand(0, 1, 0, 7)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ResourceWarning)
                del ticket
                gc.collect()
            await asyncio.sleep(0.001)
            assert here.meter.demand == IDLE

    run_in_virtual_time(main)


def test_only_edges_are_told_and_each_at_once(flow, ear):
    async def main():
        async with flow() as here:
            here.meter.subscribe(ear)
            assert ear.told == []
            for size in (5, 6):
                await here.callers.start(Request("a", byte_size=size))
            assert ear.told == [Demand(1, 0, 5, 0)]
            here.pool.add()
            for caller in here.callers.all:
                await caller.admitted()
            assert here.meter.demand == Demand(0, 2, 0, 11)
            assert len(ear.told) == 1  # still busy
            for _ in range(2):
                await here.callers.start(Request("a", byte_size=1))
            assert ear.told[1:] == [Demand(1, 2, 1, 11)]  # the first that waits again: the pool may be gone
            here.callers.all[2].cancel()
            here.callers.all[3].cancel()
            await asyncio.sleep(0.001)
            here.callers.all[0].release()
            await asyncio.sleep(0.001)
            assert len(ear.told) == 2
            here.callers.all[1].release()
            await asyncio.sleep(0.001)
            assert ear.told[2:] == [IDLE]

    run_in_virtual_time(main)


def test_a_request_that_passes_without_waiting_is_demand_while_it_runs(flow, ear):
    async def main():
        async with flow(pods=1) as here:
            here.meter.subscribe(ear)
            async with await here.controller.enqueue_and_wait(Request("a", byte_size=5)):
                assert ear.told == [Demand(0, 1, 0, 5)]  # in the same turn: nothing was awaited that waits
                async with await here.controller.enqueue_and_wait(Request("a", byte_size=5)):
                    assert len(ear.told) == 1
            assert ear.told[1:] == [IDLE]

    run_in_virtual_time(main)


def test_an_eviction_may_be_the_end_of_demand(flow, ear):
    async def main():
        async with flow() as here:
            here.meter.subscribe(ear)
            caller = await here.callers.start(Request("a", ttl=5.0, byte_size=9))
            await asyncio.sleep(6)
            assert not caller.is_waiting
            assert ear.told == [Demand(1, 0, 9, 0), IDLE]

    run_in_virtual_time(main)


def test_a_request_turned_away_for_want_of_pods_is_demand_for_an_instant(flow, ear):
    """Or a pool whose bands queue nothing would never wake."""
    config = FlowControlConfig(bands=[PriorityBandConfig(0, max_requests=0)])

    async def main():
        async with flow(config=config) as here:
            here.meter.subscribe(ear)
            caller = await here.callers.start(Request("a", byte_size=4))
            assert caller.outcome.is_rejected
            assert ear.told == [Demand(1, 0, 4, 0), IDLE]
            assert here.meter.demand == IDLE

    run_in_virtual_time(main)


def test_requests_refused_for_what_they_are_wake_nobody(flow, ear):
    async def main():
        async with flow() as here:
            here.meter.subscribe(ear)
            nameless = Fickle()
            nameless.sizes = iter([-1])
            await here.callers.start(nameless)
            await here.callers.start(Request("a", byte_size=20_000))  # larger than the queue
            await here.controller.drain(0)
            await here.callers.start(Request("a"))
            assert {caller.outcome.value for caller in here.callers.all} == {
                "rejected_invalid",
                "rejected_too_large",
                "rejected_shutdown",
            }
            assert ear.told == []

    run_in_virtual_time(main)


def test_refusals_beyond_a_full_queue_tell_nothing_new(flow, ear):
    async def main():
        async with flow() as here:
            here.meter.subscribe(ear)
            for _ in range(12):
                await here.callers.start(Request("a", byte_size=1))
            assert here.meter.demand == Demand(8, 0, 8, 0)
            assert ear.told == [Demand(1, 0, 1, 0)]

    run_in_virtual_time(main)


def test_work_in_tokens_is_what_the_token_counter_counts(flow):
    async def main():
        async with flow("tokens") as here:
            request = GatewayRequest(FlowKey("a", 0), 400, None, {}, assumed_tokens=256)
            await here.callers.start(request)
            assert here.meter.demand == Demand(1, 0, request.estimated_tokens, 0)
            assert request.estimated_tokens == 356
            here.pool.add()
            await here.callers.all[0].admitted()
            assert here.meter.demand == Demand(0, 1, 0, 356)

    run_in_virtual_time(main)


def test_sums_of_floats_end_at_exactly_nothing(flow):
    """Thirds of tokens do not add up; what is left is no work."""

    async def main():
        async with flow("tokens", pods=1, slots=50) as here:
            dice = random.Random(3)
            for size in range(40):
                await here.callers.start(Request("a", byte_size=size * 7 + 1))
            for caller in dice.sample(here.callers.all, 40):
                caller.release()
                await asyncio.sleep(0.001)
                assert_agrees(here)
            assert here.meter.demand == IDLE
            assert here.meter.demand.running_work == 0.0

    run_in_virtual_time(main)


class Fickle:
    """A request that says another size each time it is asked, and none in the end."""

    def __init__(self):
        self.sizes = iter([100, 30])

    def flow_key(self):
        return FlowKey("fickle", 0)

    def byte_size(self):
        return next(self.sizes)

    def initial_effective_ttl(self):
        return None

    def request_id(self):
        return "fickle"

    def get_metadata(self):
        return {}


def test_a_request_of_another_mind_or_none_does_no_lasting_harm(flow, ear):
    """Counts stay right, and work is right again as soon as nothing runs."""

    async def main():
        async with flow(pods=1) as here:
            here.meter.subscribe(ear)
            for sizes in ([100, 30], [100]):
                request = Fickle()
                request.sizes = iter(sizes)
                async with await here.controller.enqueue_and_wait(request):
                    assert here.meter.demand == Demand(0, 1, 0, 100)
                assert here.meter.demand == IDLE
            assert ear.told == [Demand(0, 1, 0, 100), IDLE] * 2
            failures = here.controller.stats().plugin_failures
            assert failures == {("observer", "DemandMeter"): 1}

    run_in_virtual_time(main)


def test_work_that_waited_is_gone_when_nobody_waits(flow):
    async def main():
        async with flow("tokens") as here:
            request = Fickle()
            request.sizes = iter([400, 400, 40, 40])  # to the controller, enqueued, dispatched, released
            caller = await here.callers.start(request)
            assert here.meter.demand == Demand(1, 0, 100, 0)
            here.pool.add()
            await caller.admitted()
            assert here.meter.demand == Demand(0, 1, 0, 10)

    run_in_virtual_time(main)


def test_requests_that_cannot_be_measured_still_count(flow, ear):
    async def main():
        async with flow("tokens") as here:
            here.meter.subscribe(ear)
            request = Fickle()
            request.sizes = iter([1])  # read by the controller; the meter has nothing left
            caller = await here.callers.start(request)
            assert here.meter.demand == Demand(1, 0, 0, 0)
            here.pool.add()
            await caller.admitted()
            assert here.meter.demand == Demand(0, 1, 0, 0)
            caller.release()
            await asyncio.sleep(0.001)
            evicted = Fickle()
            evicted.sizes = iter([1])
            here.pool.scale(0)
            caller = await here.callers.start(evicted)
            caller.cancel()
            await asyncio.sleep(0.001)
            assert here.meter.demand == IDLE
            assert [demand.is_idle for demand in ear.told] == [False, True, False, True]

    run_in_virtual_time(main)


def test_who_comes_late_is_told_at_once_and_who_leaves_no_more(flow, ear):
    async def main():
        async with flow() as here:
            caller = await here.callers.start(Request("a", byte_size=5))
            leave = here.meter.subscribe(ear)
            assert ear.told == [Demand(1, 0, 5, 0)]
            leave()
            leave()
            caller.cancel()
            await asyncio.sleep(0.001)
            assert here.meter.demand == IDLE
            assert len(ear.told) == 1

    run_in_virtual_time(main)


def test_an_observer_that_fails_is_logged_and_the_others_hear(flow, ear, caplog):
    class Deaf:
        def demand_changed(self, demand):
            raise LookupError("cannot hear")

    async def main():
        async with flow() as here:
            here.meter.subscribe(Deaf())
            here.meter.subscribe(ear)
            await here.callers.start(Request("a"))
            assert len(ear.told) == 1
            assert here.controller.stats().plugin_failures == {}

    run_in_virtual_time(main)
    assert "cannot hear" in caplog.text


def test_work_is_counted_in_bytes_or_tokens_and_nothing_else():
    assert DemandMeter().unit == "bytes"
    with pytest.raises(ValueError, match="work must be 'bytes' or 'tokens', not 'words'"):
        DemandMeter("words")
