"""Scale from zero: a thousand requests wait for a pool that has no pods yet."""

import random
from collections import Counter, deque

import anyio
import pytest

from flowgate import FlowControlConfig, FlowController, PriorityBandConfig, QueueOutcome, Request, RequestEvicted
from flowgate.locators import StaticPodLocator
from flowgate.saturation import ConcurrencyDetector
from tests.support import POD_A, POD_B, Caller, Callers, Ledger, Recorder, assert_books, assert_idle, settle

pytestmark = pytest.mark.anyio

REQUESTS, PRIORITIES, FLOWS, ROOM = 1_000, 3, 20, 8
SIZE = 100


def fair_order(callers: list[Caller], gone: set[int]) -> list[Caller]:
    """The whole policy, naively: the highest priority first, its flows by turns, each flow in order of arrival.

    A flow's turn comes by when it began to wait, even if that first request is gone by now.
    """
    order: list[Caller] = []
    for priority in reversed(range(PRIORITIES)):
        ring: dict[str, deque[Caller]] = {}
        for index, caller in enumerate(callers):
            key = caller.request.flow_key()
            if key.priority == priority:
                flow = ring.setdefault(key.id, deque())
                if index not in gone:
                    flow.append(caller)
        assert all(ring.values()), "a flow without requests would lose its turn"
        turns = deque(ring.values())
        while turns:
            flow = turns.popleft()
            order.append(flow.popleft())
            if flow:
                turns.append(flow)
    return order


async def test_a_thousand_requests_wait_for_the_first_pods() -> None:
    """Nobody is lost, doubled or served out of turn while a pool comes up from nothing."""
    unlucky = random.Random(7).sample(range(900), 100)
    to_cancel, short_lived = set(unlucky[:50]), dict.fromkeys(sorted(unlucky[50:]), 0.0)
    for place, index in enumerate(short_lived):
        short_lived[index] = 0.25 + place / 64  # each its own deadline, exact in binary

    locator, ledger, recorder = StaticPodLocator(), Ledger(), Recorder()
    config = FlowControlConfig(
        bands=[PriorityBandConfig(priority) for priority in range(PRIORITIES)], max_requests=950, default_ttl=3_600
    )
    async with (
        FlowController(
            config, locator=locator, detector=ConcurrencyDetector(ROOM), observers=[ledger, recorder]
        ) as controller,
        anyio.create_task_group() as tasks,
    ):
        callers = Callers(tasks, controller)

        def arrive(index: int) -> Caller:
            # By twenties: every flow has requests of every priority.
            flow, priority = f"flow-{index % FLOWS}", index // FLOWS % PRIORITIES
            return callers.begin(Request(flow, priority, SIZE, ttl=short_lived.get(index)))

        # No pods, and the controller is full with the first 950.
        for index in range(950):
            arrive(index)
            await settle(2)
        assert controller.stats().queued_requests == 950
        assert controller.stats().queued_bytes == 950 * SIZE

        # Fifty hang up. Their capacity is there at once, for the last fifty.
        await anyio.sleep(0.125)
        for index in to_cancel:
            callers.all[index].cancel()
        await settle(4)
        assert anyio.current_time() == 0.125
        assert controller.stats().queued_requests == 900
        assert controller.stats().queued_bytes == 900 * SIZE
        for index in range(950, REQUESTS):
            arrive(index)
            await settle(2)
        assert anyio.current_time() == 0.125
        assert controller.stats().queued_requests == 950
        assert len(callers.all) == REQUESTS

        # Fifty have less patience than the pool takes to come up; each leaves at its own deadline, exactly.
        await anyio.sleep_until(10)
        for index, ttl in short_lived.items():
            caller = callers.all[index]
            assert isinstance(caller.error, RequestEvicted)
            assert caller.error.outcome is QueueOutcome.EVICTED_NO_PODS
            assert caller.error.queue_wait == ttl
            assert caller.ended_at == ttl
        assert controller.stats().queued_requests == 900
        assert ledger.outcomes == {QueueOutcome.EVICTED_NO_PODS: 50, QueueOutcome.EVICTED_CANCELLED: 50}
        expected = fair_order(callers.all, set(unlucky))
        assert len(expected) == 900

        def dispatched() -> list[object]:
            return [event.request for event in recorder.of("dispatched")]

        # One pod, with room for eight: the very next pass sends exactly eight, all of the highest priority, by turns.
        passes = len(recorder.of("pass"))
        locator.set_pods([POD_A])
        await settle()
        assert anyio.current_time() == 10
        first = recorder.of("pass")[passes]
        assert (first.time, first.dispatched, first.is_complete) == (10, 8, True)
        assert dispatched() == [caller.request for caller in expected[:8]]
        assert {caller.request.flow_key().priority for caller in expected[:8]} == {PRIORITIES - 1}
        assert len({caller.request.flow_key().id for caller in expected[:8]}) == 8
        assert ledger.load == {POD_A: 8}
        assert all(caller.ticket is not None and caller.ticket.pod == POD_A for caller in expected[:8])

        # Each release lets exactly one more go, at once.
        went = 8
        for caller in expected[:42]:
            await anyio.sleep(0.5)
            now = anyio.current_time()
            caller.release()
            await settle(12)
            went += 1
            assert len(dispatched()) == went
            assert dispatched()[-1] is expected[went - 1].request
            assert expected[went - 1].ended_at == now == anyio.current_time()

        # A second pod: eight more, all to it.
        passes = len(recorder.of("pass"))
        locator.set_pods([POD_A, POD_B])
        await settle()
        assert recorder.of("pass")[passes].dispatched == 8
        went += 8
        assert dispatched() == [caller.request for caller in expected[:went]]
        assert all(caller.ticket is not None and caller.ticket.pod == POD_B for caller in expected[went - 8 : went])
        assert ledger.load == {POD_A: 8, POD_B: 8}

        # And so on, until the queue is empty and every slot is free.
        for caller in expected[42:]:
            caller.release()
            await settle(12)
            went = min(went + 1, 900)
            assert len(dispatched()) == went
        assert dispatched() == [caller.request for caller in expected]
        await settle()

        assert ledger.highest == {POD_A: 8, POD_B: 8}
        assert ledger.load == {POD_A: 0, POD_B: 0}
        assert ledger.waiting == 0
        assert_idle(controller)
        assert_books(controller, REQUESTS)
        stats = controller.stats()
        totals = {outcome: count for outcome, count in stats.outcomes.items() if count}
        assert totals == ledger.outcomes
        assert totals == {
            QueueOutcome.DISPATCHED: 900,
            QueueOutcome.EVICTED_CANCELLED: 50,
            QueueOutcome.EVICTED_NO_PODS: 50,
        }
        by_band = Counter(caller.request.flow_key().priority for caller in expected)
        for priority, band in stats.bands.items():
            assert band.outcomes[QueueOutcome.DISPATCHED] == by_band[priority]
