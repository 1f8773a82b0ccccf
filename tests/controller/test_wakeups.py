"""When the controller runs: at once where something may go, and never where nothing may."""

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from flowgate import FlowControlConfig, FlowController, Pod, PodLoad, PodMetrics, PriorityBandConfig, Request
from flowgate.contracts import PassEnded
from flowgate.locators import StaticPodLocator
from flowgate.saturation import ConcurrencyDetector, UtilizationDetector
from tests.support import (
    POD_A,
    POD_B,
    CallDetector,
    Callers,
    MapLocator,
    Recorder,
    StepCounter,
    assert_books,
    assert_idle,
    is_trio,
    settle,
)

pytestmark = pytest.mark.anyio

TEN_MINUTES = 600.0


class Plain:
    """A locator that can announce nothing; counts calls."""

    def __init__(self, pods: Sequence[Pod] = ()) -> None:
        self.pods = pods
        self.calls = 0

    def locate(self, metadata: Mapping[str, object]) -> Sequence[Pod]:
        self.calls += 1
        return self.pods


class PlainDetector:
    """A detector that can announce nothing; counts calls."""

    def __init__(self) -> None:
        self.is_full = False
        self.calls = 0

    def saturation(self, pod: Pod, load: PodLoad) -> float:
        self.calls += 1
        return 1.0 if self.is_full else load.in_flight / 2


def timers() -> int:
    """How many timers are armed; on trio they are deadlines of scopes, and show as steps when they fire."""
    if is_trio():
        return 0
    return asyncio.get_running_loop().timers  # type: ignore[attr-defined,no-any-return]


@pytest.mark.parametrize(
    ("locator", "detector"), [(StaticPodLocator, lambda: ConcurrencyDetector(1)), (Plain, PlainDetector)]
)
async def test_an_idle_controller_runs_nothing(locator: Callable[..., Any], detector: Callable[[], Any]) -> None:
    """With nothing queued there is no timer, no poll and no callback, before and after work of every kind."""
    with StepCounter() as steps:
        alone = await steps.during_sleep(TEN_MINUTES)
        async with (
            FlowController(locator=locator([POD_A]), detector=detector()) as controller,
            anyio.create_task_group() as tasks,
        ):
            await settle(4)
            assert await steps.during_sleep(TEN_MINUTES) == alone
            callers = Callers(tasks, controller)
            for ttl in (None, None, None, 1.0, 2.0):
                await callers.start(Request("a", ttl=ttl))
            callers.all[2].cancel()
            await anyio.sleep(5)
            await callers.finish()
            assert_idle(controller)
            await settle(4)
            assert timers() == 0
            assert await steps.during_sleep(TEN_MINUTES) == alone
            # Tickets that are out are nothing to wake for.
            ticket = await controller.enqueue_and_wait(Request("a"))
            assert await steps.during_sleep(TEN_MINUTES) == alone
            ticket.release()
            assert await steps.during_sleep(TEN_MINUTES) == alone


async def test_a_saturated_controller_with_announcing_plug_ins_runs_nothing() -> None:
    """A thousand requests that wait for full pods cost no callback until something changes."""
    detector = CallDetector(lambda pod, load: float(load.in_flight))
    locator = MapLocator(x=[POD_A], none=[])
    config = FlowControlConfig(default_ttl=math.inf)
    with StepCounter() as steps:
        alone = await steps.during_sleep(TEN_MINUTES)
        async with (
            FlowController(config, locator=locator, detector=detector) as controller,
            anyio.create_task_group() as tasks,
        ):
            callers = Callers(tasks, controller)
            for place in range(1_000):
                callers.begin(Request(f"flow-{place % 9}", metadata={"model": "x" if place % 2 else "none"}))
            await settle()
            asked = detector.calls
            assert timers() == 0
            assert await steps.during_sleep(TEN_MINUTES) == alone
            assert detector.calls == asked
            assert controller.stats().queued_requests == 999
            tasks.cancel_scope.cancel()


async def test_a_waiting_request_with_a_deadline_costs_one_timer() -> None:
    """One timer for all: however many wait, the controller wakes once for each distinct deadline, and no more."""
    with StepCounter() as steps:
        alone = await steps.during_sleep(TEN_MINUTES)
        async with (
            FlowController(
                FlowControlConfig(default_ttl=100), locator=StaticPodLocator(), detector=ConcurrencyDetector(1)
            ) as controller,
            anyio.create_task_group() as tasks,
        ):
            callers = Callers(tasks, controller)
            for _ in range(100):
                callers.begin(Request("a"))
            await settle()
            assert timers() <= 1
            ran = await steps.during_sleep(TEN_MINUTES)
            assert len({caller.ended_at for caller in callers.all}) == 1
            # Each caller's own waking, its end in the task group, and a few for the controller's one turn.
            assert ran - alone <= 3 * 100 + 10


async def test_a_released_slot_wakes_a_waiter_at_once() -> None:
    """Not a tick later: no virtual time passes, and on asyncio the waiter runs in the second turn of the loop."""
    async with (
        FlowController(
            FlowControlConfig(default_ttl=math.inf), locator=StaticPodLocator([POD_A]), detector=ConcurrencyDetector(1)
        ) as controller,
        anyio.create_task_group() as tasks,
    ):
        callers = Callers(tasks, controller)
        holder = await callers.start(Request("a"))
        waiting = await callers.start(Request("a"))
        await anyio.sleep(1.5)
        holder.release()
        await settle(4 if is_trio() else 2)
        assert waiting.ticket is not None
        assert waiting.ended_at == 1.5 == anyio.current_time()
        assert timers() == 0
        await callers.finish()


async def test_ten_thousand_leave_in_ten_turns() -> None:
    """A pass stops at max_dispatch_batch and goes on in the very next turn of the loop: no timer lies in between."""
    turn = 0
    seen: list[tuple[int, float, int, bool]] = []

    class Watching:
        def on_pass(self, event: PassEnded) -> None:
            seen.append((turn, event.time, event.dispatched, event.is_complete))

    async def count_turns() -> None:
        nonlocal turn
        while True:
            await anyio.lowlevel.checkpoint()
            turn += 1

    locator = StaticPodLocator()
    config = FlowControlConfig(
        bands=[PriorityBandConfig(0, max_requests=None)], default_ttl=math.inf, max_dispatch_batch=1_000
    )
    async with (
        FlowController(
            config, locator=locator, detector=ConcurrencyDetector(10_000), observers=[Watching()]
        ) as controller,
        anyio.create_task_group() as tasks,
    ):
        callers = Callers(tasks, controller)
        for _ in range(10_000):
            callers.begin(Request("a"))
        await anyio.sleep(1)
        assert controller.stats().queued_requests == 10_000
        tasks.start_soon(count_turns)
        await settle(4)
        locator.set_pods([POD_A])
        assert timers() == 0
        await settle(40)
        assert [entry[1:] for entry in seen] == [(1.0, 1_000, place == 9) for place in range(10)]
        turns = [entry[0] for entry in seen]
        slack = 1 if is_trio() else 0  # trio deals each batch of tasks in random order
        assert all(abs(at - turns[0] - place) <= slack for place, at in enumerate(turns))
        assert anyio.current_time() == 1.0
        assert controller.stats().in_flight == 10_000
        tasks.cancel_scope.cancel()


async def test_between_batches_arrivals_and_higher_bands_are_seen() -> None:
    """Each batch starts from the top: who arrives between two of them, in a higher band, goes in the next."""
    recorder, locator = Recorder(), StaticPodLocator()
    config = FlowControlConfig(max_dispatch_batch=2)

    class Arriving:
        def on_pass(self, event: PassEnded) -> None:
            if len(callers.all) == 6:
                callers.begin(Request("late", 9))

    async with (
        FlowController(
            config, locator=locator, detector=ConcurrencyDetector(5), observers=[recorder, Arriving()]
        ) as controller,
        anyio.create_task_group() as tasks,
    ):
        callers = Callers(tasks, controller)
        for _ in range(6):
            await callers.start(Request("a"))
        locator.set_pods([POD_A])
        await settle()
        order = [event.flow_key.id for event in recorder.of("dispatched")]
        assert len(order) == 5
        assert order.index("late") <= 4
        await callers.finish()
        assert_books(controller, 7)


async def test_a_silent_locator_is_polled_only_while_somebody_waits() -> None:
    """One that can announce nothing is asked every poll_interval while requests wait, and not otherwise."""
    locator = Plain()
    async with (
        FlowController(
            FlowControlConfig(poll_interval=0.25), locator=locator, detector=ConcurrencyDetector(1)
        ) as controller,
        anyio.create_task_group() as tasks,
    ):
        await anyio.sleep(10)
        assert locator.calls == 0
        callers = Callers(tasks, controller)
        waiting = await callers.start(Request("a"))
        asked = locator.calls
        await anyio.sleep(10.125)
        assert locator.calls - asked == 40
        locator.pods = [POD_A]
        await anyio.sleep(1)
        assert waiting.ended_at == 20.25
        await callers.finish()
        asked = locator.calls
        await anyio.sleep(10)
        assert locator.calls == asked


async def test_a_silent_detector_is_polled_only_while_somebody_waits() -> None:
    """The same for a detector whose answers move by themselves."""
    detector = PlainDetector()
    detector.is_full = True
    async with (
        FlowController(
            FlowControlConfig(poll_interval=0.25), locator=StaticPodLocator([POD_A]), detector=detector
        ) as controller,
        anyio.create_task_group() as tasks,
    ):
        callers = Callers(tasks, controller)
        waiting = await callers.start(Request("a"))
        await anyio.sleep(10.125)
        assert 38 <= detector.calls <= 84
        detector.is_full = False
        await anyio.sleep(1)
        assert waiting.ended_at == 10.25
        await callers.finish()
        asked = detector.calls
        await anyio.sleep(10)
        assert detector.calls == asked


async def test_an_arrival_finds_what_a_silent_plug_in_would_say_now() -> None:
    """An arrival does not wait for the poll: pods and saturation are read afresh for it."""
    locator, detector = Plain(), PlainDetector()
    async with FlowController(locator=locator, detector=detector) as controller:
        with anyio.move_on_after(0.001):
            await controller.enqueue_and_wait(Request("a"))
        locator.pods = [POD_A]
        first = await controller.enqueue_and_wait(Request("a"))
        assert first.queue_wait == 0
        detector.is_full = True
        with anyio.move_on_after(0.001) as scope:
            await controller.enqueue_and_wait(Request("a"))
        assert scope.cancelled_caught
        detector.is_full = False
        second = await controller.enqueue_and_wait(Request("a"))
        assert second.queue_wait == 0
        first.release()
        second.release()
        assert_idle(controller)


async def test_a_timed_change_wakes_those_who_wait_for_it() -> None:
    """Where a plug-in's value moves with time alone, the controller wakes at next_change(), exactly, and not before."""

    class Opening:
        """Full until a time that it tells."""

        clock: Callable[[], float]

        def bind(self, clock: Callable[[], float]) -> None:
            self.clock = clock

        def saturation(self, pod: Pod, load: PodLoad) -> float:
            return 1.0 if self.clock() < 7.5 else 0.0

        def next_change(self) -> float | None:
            return 7.5 if self.clock() < 7.5 else None

    with StepCounter() as steps:
        async with (
            FlowController(locator=StaticPodLocator([POD_A]), detector=Opening()) as controller,
            anyio.create_task_group() as tasks,
        ):
            callers = Callers(tasks, controller)
            waiting = await callers.start(Request("a"))
            assert await steps.during_sleep(7.25) <= 3
            await anyio.sleep(1)
            assert waiting.ended_at == 7.5
            await callers.finish()


async def test_new_metrics_of_a_pod_wake_those_who_wait_for_it() -> None:
    """A pod whose announced metrics show room is given away at once."""

    def pod(waiting: int) -> Pod:
        metrics = PodMetrics(waiting=waiting, running=1, kv_cache_usage=0.0, updated_at=anyio.current_time())
        return Pod("a", "10.0.0.1", 8000, metrics=metrics)

    locator = StaticPodLocator([pod(5)])
    async with (
        FlowController(locator=locator, detector=UtilizationDetector(5, staleness=100.0)) as controller,
        anyio.create_task_group() as tasks,
    ):
        callers = Callers(tasks, controller)
        waiting = [await callers.start(Request("a")) for _ in range(3)]
        await anyio.sleep(1)
        locator.set_pods([pod(3)])
        await settle()
        # Room for two: the charges since the metrics count as waiting at once.
        assert [caller.ended_at for caller in waiting] == [1, 1, None]
        await anyio.sleep(1)
        locator.set_pods([pod(4)])
        await settle()
        assert waiting[2].ended_at == 2
        await callers.finish()
        assert_idle(controller)


async def test_stale_metrics_close_a_pod_and_fresh_ones_open_it() -> None:
    """A pod whose metrics went stale gets nothing until they are fresh again; nobody polls meanwhile."""

    def pod(updated_at: float) -> Pod:
        return Pod("a", "10.0.0.1", 8000, metrics=PodMetrics(0, 0, 0.0, updated_at))

    locator = StaticPodLocator([pod(0.0)])
    async with (
        FlowController(locator=locator, detector=UtilizationDetector(5, staleness=2.0)) as controller,
        anyio.create_task_group() as tasks,
    ):
        callers = Callers(tasks, controller)
        (await controller.enqueue_and_wait(Request("a"))).release()
        await anyio.sleep(2)
        waiting = await callers.start(Request("a"))
        assert waiting.ended_at is None
        await anyio.sleep(3)
        locator.set_pods([pod(5.0)])
        await settle()
        assert waiting.ended_at == 5
        await callers.finish()


@pytest.mark.parametrize("way_out", ["cancel", "expire"])
async def test_any_exit_of_a_head_wakes_those_behind_it(way_out: str) -> None:
    """In a lane of one flow the next one has candidates of its own: they are looked at as soon as the head is gone."""

    class ByMetadata(Plain):
        def locate(self, metadata: Mapping[str, object]) -> Sequence[Pod]:
            return [POD_A] if metadata else []

        def subscribe(self, callback: object) -> object:
            return lambda: None

    async with (
        FlowController(locator=ByMetadata(), detector=ConcurrencyDetector(1)) as controller,
        anyio.create_task_group() as tasks,
    ):
        callers = Callers(tasks, controller)
        head = await callers.start(Request("a", ttl=1))
        behind = await callers.start(Request("a", metadata={"model": "x"}))
        assert behind.ended_at is None
        await anyio.sleep(0.5)
        if way_out == "cancel":
            head.cancel()
        await anyio.sleep(2)
        assert behind.ended_at == (0.5 if way_out == "cancel" else 1.0)
        await callers.finish()


async def test_a_pod_that_appears_serves_only_those_who_name_it() -> None:
    """A change wakes its own lane; the others' requests wait on, in their order."""
    locator = MapLocator(x=[], y=[])
    async with (
        FlowController(locator=locator, detector=ConcurrencyDetector(1)) as controller,
        anyio.create_task_group() as tasks,
    ):
        callers = Callers(tasks, controller)
        x = await callers.start(Request("a", metadata={"model": "x"}))
        y = await callers.start(Request("a", metadata={"model": "y"}))
        locator.set(y=[POD_B])
        await settle()
        assert (x.ended_at, y.ended_at) == (None, 0)
        locator.set(x=[POD_B])  # the same pod, and full
        await settle()
        assert x.ended_at is None
        y.release()
        await settle()
        assert x.ticket is not None
        await callers.finish()
