"""What may change under waiting requests: the configuration, their metadata. And what can be read at any time."""

import math
from collections.abc import Mapping, Sequence

import anyio
import anyio.lowlevel
import pytest

from flowgate import (
    FlowControlConfig,
    FlowControlError,
    FlowController,
    Pod,
    PriorityBandConfig,
    QueueOutcome,
    Request,
)
from flowgate.locators import StaticPodLocator
from flowgate.policies import BestHead, EarliestDeadlineFirst
from flowgate.saturation import ConcurrencyDetector
from tests.support import POD_A, POD_B, Callers, MapLocator, Recorder, assert_books, assert_idle, is_trio, settle

pytestmark = pytest.mark.anyio


def bands(*priorities: int, **settings: object) -> list[PriorityBandConfig]:
    return [PriorityBandConfig(priority, **settings) for priority in priorities]  # type: ignore[arg-type]


async def test_reconfigured_limits_hold_for_arrivals_and_leave_what_waits() -> None:
    """Requests over a new limit stay; the next arrival is refused; a raised limit lets it in."""
    async with (
        FlowController(locator=StaticPodLocator(), detector=ConcurrencyDetector(1)) as controller,
        anyio.create_task_group() as tasks,
    ):
        callers = Callers(tasks, controller)
        for _ in range(3):
            await callers.start(Request("a"))
        controller.reconfigure(FlowControlConfig(max_requests=1))
        assert controller.stats().queued_requests == 3
        assert controller.stats().max_requests == 1
        with pytest.raises(FlowControlError) as caught:
            await controller.enqueue_and_wait(Request("a"))
        assert caught.value.outcome is QueueOutcome.REJECTED_NO_PODS
        # What waited before the limit was set can be displaced under it, by as many as come.
        await callers.start(Request("a", 1))
        assert controller.stats().queued_requests == 3
        assert controller.stats().outcomes[QueueOutcome.EVICTED_DISPLACED] == 1
        controller.reconfigure(FlowControlConfig())
        await callers.start(Request("a"))
        assert controller.stats().queued_requests == 4
        for caller in callers.all:
            caller.cancel()
        await callers.finish()
        assert_books(controller, 6)


async def test_reconfigured_budgets_hold_at_once_for_those_who_stated_none() -> None:
    """A stated TTL stays; everybody else follows the new budgets from where they stand."""
    async with (
        FlowController(
            FlowControlConfig(default_ttl=10), locator=StaticPodLocator(), detector=ConcurrencyDetector(1)
        ) as controller,
        anyio.create_task_group() as tasks,
    ):
        callers = Callers(tasks, controller)
        own = await callers.start(Request("a", ttl=6))
        shortened = await callers.start(Request("a"))
        await anyio.sleep_until(1)
        controller.reconfigure(FlowControlConfig(default_ttl=math.inf, no_pods_ttl=4))
        await anyio.sleep_until(2)
        lengthened = await callers.start(Request("b"))
        await anyio.sleep_until(5)
        controller.reconfigure(FlowControlConfig(default_ttl=20))
        await anyio.sleep_until(100)
        assert (own.ended_at, shortened.ended_at, lengthened.ended_at) == (6, 4, 22)


async def test_a_budget_that_a_reconfiguration_ends_ends_at_once() -> None:
    """A budget shortened below what was waited already is over at that instant."""
    async with (
        FlowController(locator=StaticPodLocator(), detector=ConcurrencyDetector(1)) as controller,
        anyio.create_task_group() as tasks,
    ):
        waiting = await Callers(tasks, controller).start(Request("a"))
        await anyio.sleep(10)
        controller.reconfigure(FlowControlConfig(default_ttl=5))
        await settle()
        assert (waiting.ended_at, waiting.outcome) == (10, QueueOutcome.EVICTED_NO_PODS)


async def test_reconfigured_policies_reorder_what_waits() -> None:
    """Requests keep arrival and TTL, and are ordered by the new policies; back again restores the first order."""
    locator = StaticPodLocator()
    first = FlowControlConfig(bands=bands(0, 1))
    edf = FlowControlConfig(bands=bands(0, 1, dispatch=EarliestDeadlineFirst(), fairness=BestHead()))
    for configs, order in (
        ([edf], ["a3", "b1", "a1", "b0", "a0"]),
        ([edf, first], ["a0", "b0", "a1", "b1", "a3"]),
    ):
        recorder = Recorder()
        async with (
            FlowController(first, locator=locator, detector=ConcurrencyDetector(1), observers=[recorder]) as controller,
            anyio.create_task_group() as tasks,
        ):
            callers = Callers(tasks, controller)
            for name, ttl in (("a0", 90), ("b0", 80), ("a1", 70), ("b1", 60), ("a3", 50)):
                await callers.start(Request(name[0], request_id=name, ttl=ttl))
            for config in configs:
                controller.reconfigure(config)
            locator.set_pods([POD_A])
            await callers.finish()
            assert [event.request.request_id() for event in recorder.of("dispatched")] == order
            assert_idle(controller)
        locator.set_pods([])


async def test_policies_may_change_in_a_band_that_just_emptied() -> None:
    """Bands of a lane that hold nothing any more are no trap for those that do."""
    locator = StaticPodLocator()

    def config(**settings: object) -> FlowControlConfig:
        return FlowControlConfig(bands=[PriorityBandConfig(5), *bands(3, **settings), PriorityBandConfig(1)])

    async with (
        FlowController(config(), locator=locator, detector=ConcurrencyDetector(1)) as controller,
        anyio.create_task_group() as tasks,
    ):
        callers = Callers(tasks, controller)
        low, gone, high = [await callers.start(Request("a", priority)) for priority in (1, 3, 5)]
        gone.cancel()
        await settle()
        controller.reconfigure(config(fairness=BestHead()))
        locator.set_pods([POD_A])
        await settle()
        assert high.ticket is not None
        high.release()
        await settle()
        assert low.ticket is not None
        await callers.finish()
        assert_books(controller, 3)
        assert_idle(controller)


async def test_a_band_that_vanishes_serves_out_what_it_holds() -> None:
    """What waits in a removed band goes in its turn; new requests are invalid; then it is gone, and may return."""
    locator = StaticPodLocator()
    async with (
        FlowController(
            FlowControlConfig(bands=bands(0, 1), default_band=None), locator=locator, detector=ConcurrencyDetector(1)
        ) as controller,
        anyio.create_task_group() as tasks,
    ):
        callers = Callers(tasks, controller)
        low = await callers.start(Request("a", 0))
        high = await callers.start(Request("a", 1))
        controller.reconfigure(FlowControlConfig(bands=bands(0), default_band=None))
        with pytest.raises(FlowControlError) as caught:
            await controller.enqueue_and_wait(Request("a", 1))
        assert caught.value.outcome is QueueOutcome.REJECTED_INVALID
        locator.set_pods([POD_A])
        await settle()
        assert high.ticket is not None
        high.release()
        await settle()
        assert low.ticket is not None
        assert list(controller.stats().bands) == [0]
        controller.reconfigure(FlowControlConfig(bands=bands(0, 1), default_band=None))
        again = await callers.start(Request("a", 1))
        await callers.finish()
        assert again.ticket is not None
        assert controller.stats().outcomes[QueueOutcome.DISPATCHED] == 3
        assert_idle(controller)


async def test_reconfiguring_with_nonsense_changes_nothing() -> None:
    """What is no configuration is a TypeError, and the old one stays."""
    async with FlowController(
        FlowControlConfig(max_requests=7), locator=StaticPodLocator(), detector=ConcurrencyDetector(1)
    ) as controller:
        with pytest.raises(TypeError, match="FlowControlConfig"):
            controller.reconfigure({"max_requests": 1})  # type: ignore[arg-type]
        assert controller.stats().max_requests == 7


async def test_a_reconfigured_hol_scope_lets_more_go() -> None:
    """Loosening the scope is a change like a release: those who may go now go at once."""
    locator = MapLocator(x=[], y=[POD_B])
    async with (
        FlowController(
            FlowControlConfig(hol_scope="pool"), locator=locator, detector=ConcurrencyDetector(1)
        ) as controller,
        anyio.create_task_group() as tasks,
    ):
        callers = Callers(tasks, controller)
        blocked = await callers.start(Request("a", 1, metadata={"model": "x"}))
        behind = await callers.start(Request("a", 0, metadata={"model": "y"}))
        assert (blocked.ended_at, behind.ended_at) == (None, None)
        controller.reconfigure(FlowControlConfig())
        await settle()
        assert behind.ticket is not None
        blocked.cancel()
        await callers.finish()


async def test_refresh_moves_a_request_to_the_lane_that_its_metadata_names() -> None:
    """New metadata, new candidates: the request goes at once, keeping its arrival and deadline."""
    locator = MapLocator(x=[], y=[POD_B])
    metadata: dict[str, object] = {"model": "x"}
    async with (
        FlowController(locator=locator, detector=ConcurrencyDetector(1)) as controller,
        anyio.create_task_group() as tasks,
    ):
        callers = Callers(tasks, controller)
        waiting = await callers.start(Request("a", metadata=metadata))
        await anyio.sleep(1)
        metadata["model"] = "y"
        await anyio.sleep(1)
        assert waiting.ended_at is None
        controller.refresh(waiting.request)
        await settle()
        assert waiting.ticket is not None
        assert (waiting.ticket.pod, waiting.ticket.queue_wait) == (POD_B, 2)
        controller.refresh(waiting.request)  # nothing to do any more
        await callers.finish()
        assert_books(controller, 1)
        assert_idle(controller)


async def test_refresh_keeps_place_and_budget() -> None:
    """A request that moves stands before those who came later, and its budget runs from its arrival."""
    locator = MapLocator(x=[], y=[])
    metadata: dict[str, object] = {"model": "x"}
    async with (
        FlowController(
            FlowControlConfig(default_ttl=10), locator=locator, detector=ConcurrencyDetector(1)
        ) as controller,
        anyio.create_task_group() as tasks,
    ):
        callers = Callers(tasks, controller)
        moved = await callers.start(Request("a", metadata=metadata))
        await anyio.sleep_until(1)
        later = await callers.start(Request("a", metadata={"model": "y"}))
        metadata["model"] = "y"
        controller.refresh(moved.request)
        await anyio.sleep_until(2)
        locator.set(y=[POD_A])
        await settle()
        assert (moved.ended_at, later.ended_at) == (2, None)
        moved.release()
        await settle()
        assert later.ended_at == 2
        later.release()
        await callers.finish()


@pytest.mark.parametrize("is_known", [True, False])
async def test_refresh_keeps_the_budget(is_known: bool) -> None:
    """From one lane without pods to another, known before or not, a request takes along what it has waited."""
    locator = MapLocator()
    metadata: dict[str, object] = {"model": "x"}
    async with (
        FlowController(
            FlowControlConfig(default_ttl=10), locator=locator, detector=ConcurrencyDetector(1)
        ) as controller,
        anyio.create_task_group() as tasks,
    ):
        callers = Callers(tasks, controller)
        if is_known:
            await callers.start(Request("b", metadata={"model": "y"}, ttl=1))
        await anyio.sleep_until(2)
        moved = await callers.start(Request("a", metadata=metadata))
        await anyio.sleep_until(5)
        metadata["model"] = "y"
        controller.refresh(moved.request)
        later = await callers.start(Request("a", metadata={"model": "y"}))
        await anyio.sleep_until(40)
        assert (moved.ended_at, later.ended_at) == (12, 15)
        assert_books(controller, len(callers.all))


async def test_refresh_of_a_stranger_does_nothing() -> None:
    """A request that does not wait here, an equal one or one of no band, is nobody."""
    async with (
        FlowController(
            FlowControlConfig(default_band=None), locator=StaticPodLocator(), detector=ConcurrencyDetector(1)
        ) as controller,
        anyio.create_task_group() as tasks,
    ):
        callers = Callers(tasks, controller)
        waiting = await callers.start(Request("a"))
        for stranger in (Request("a"), Request("b"), Request("a", 9)):
            controller.refresh(stranger)
        assert controller.stats().queued_requests == 1
        waiting.cancel()


async def test_refresh_finds_every_submission_of_one_request_object() -> None:
    """An object that was submitted twice waits twice, and both move."""
    locator = MapLocator(x=[], y=[POD_A])
    metadata: dict[str, object] = {"model": "x"}
    request = Request("a", metadata=metadata)
    async with (
        FlowController(locator=locator, detector=ConcurrencyDetector(2)) as controller,
        anyio.create_task_group() as tasks,
    ):
        callers = Callers(tasks, controller)
        twins = [await callers.start(request) for _ in range(2)]
        metadata["model"] = "y"
        controller.refresh(request)
        await settle()
        assert all(caller.ticket is not None for caller in twins)
        await callers.finish()
        assert_books(controller, 2)


async def test_refresh_without_selection_keys_resolves_the_flow_again() -> None:
    """Where each flow is a lane of its own, its head's new metadata are looked at."""

    class Plain:
        def locate(self, metadata: Mapping[str, object]) -> Sequence[Pod]:
            return [POD_A] if metadata.get("ready") else []

        def subscribe(self, callback: object) -> object:
            return lambda: None

    metadata: dict[str, object] = {}
    async with (
        FlowController(locator=Plain(), detector=ConcurrencyDetector(1)) as controller,
        anyio.create_task_group() as tasks,
    ):
        callers = Callers(tasks, controller)
        waiting = await callers.start(Request("a", metadata=metadata))
        metadata["ready"] = True
        controller.refresh(waiting.request)
        await settle()
        assert waiting.ticket is not None
        await callers.finish()


@pytest.mark.parametrize(("every", "turns"), [(0, 0), (1, 12), (3, 4), (5, 2)])
async def test_yield_every_gives_the_loop_a_turn_on_the_fast_path(every: int, turns: int) -> None:
    """A loop of calls that never wait lets others run once in every n; with 0 never."""
    ran = 0

    async def other() -> None:
        nonlocal ran
        while True:
            await anyio.lowlevel.checkpoint()
            ran += 1

    async with (
        FlowController(
            FlowControlConfig(yield_every=every), locator=StaticPodLocator([POD_A]), detector=ConcurrencyDetector(1)
        ) as controller,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(other)
        await settle(2)
        before = ran
        slack = 1 if is_trio() else 0  # trio deals each batch of tasks in random order
        for _ in range(12):
            (await controller.enqueue_and_wait(Request("a"))).release()
        assert abs(ran - before - turns) <= min(slack, turns)
        controller.reconfigure(FlowControlConfig(yield_every=2))
        before = ran
        for _ in range(4):
            (await controller.enqueue_and_wait(Request("a"))).release()
        assert abs(ran - before - 2) <= slack
        tasks.cancel_scope.cancel()


async def test_stats_count_each_level() -> None:
    """A snapshot says what waits, what is out and what became of everything, in all and by band."""
    config = FlowControlConfig(
        bands=[PriorityBandConfig(1, name="gold", max_requests=5, max_bytes=500), PriorityBandConfig(0)],
        max_requests=10,
        max_bytes=1_000,
    )
    async with (
        FlowController(config, locator=StaticPodLocator([POD_A]), detector=ConcurrencyDetector(1)) as controller,
        anyio.create_task_group() as tasks,
    ):
        callers = Callers(tasks, controller)
        await callers.start(Request("a", 1, 1))
        await callers.start(Request("a", 1, 2))
        await callers.start(Request("b", 1, 4))
        await callers.start(Request("c", 0, 8))
        stats = controller.stats()
        assert (stats.queued_requests, stats.queued_bytes, stats.in_flight, stats.overcommitted) == (3, 14, 1, 0)
        assert (stats.flows, stats.lanes, stats.max_requests, stats.max_bytes) == (3, 1, 10, 1_000)
        gold, plain = stats.bands[1], stats.bands[0]
        assert (gold.name, gold.queued_requests, gold.queued_bytes, gold.in_flight, gold.flows) == ("gold", 2, 6, 1, 2)
        assert (gold.max_requests, gold.max_bytes) == (5, 500)
        assert (plain.queued_requests, plain.queued_bytes, plain.in_flight, plain.flows) == (1, 8, 0, 1)
        assert stats.outcomes[QueueOutcome.DISPATCHED] == gold.outcomes[QueueOutcome.DISPATCHED] == 1
        assert set(stats.outcomes) == set(QueueOutcome)
        assert not stats.plugin_failures
        await callers.finish()
        # A snapshot stays as it was.
        assert (stats.queued_requests, stats.outcomes[QueueOutcome.DISPATCHED]) == (3, 1)
        assert controller.stats().outcomes[QueueOutcome.DISPATCHED] == 4
        assert_books(controller, 4)
