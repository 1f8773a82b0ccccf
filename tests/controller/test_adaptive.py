"""Detectors that learn, warm up and combine, in a controller with real callers."""

import anyio
import pytest

from flowgate import FlowControlConfig, FlowController, Request
from flowgate.locators import StaticPodLocator
from flowgate.saturation import AdaptiveDetector, Aimd, ConcurrencyDetector, Gradient2, any_of, slow_start
from tests.saturation.detectors import EnteredDetector, LearningDetector, SilentDetector, WatchableDetector
from tests.support import POD_A, POD_B, Callers, Recorder, StepCounter, settle

pytestmark = pytest.mark.anyio

CAPACITY, IDLE = 4, 0.125


@pytest.mark.parametrize("limit", [Aimd(latency_threshold=1.4 * IDLE, min_samples=4), Gradient2(min_samples=4)])
async def test_the_limit_is_found_and_survives_a_time_without_pods(limit: Aimd | Gradient2) -> None:
    """Callers hold their tickets as long as a pod with four slots and a queue takes; then the pod goes, and returns."""
    locator, detector = StaticPodLocator([POD_A]), AdaptiveDetector(limit, initial=16)
    async with FlowController(FlowControlConfig(), locator=locator, detector=detector) as controller:
        slots = anyio.Semaphore(CAPACITY)
        requests = iter(range(500))

        async def call() -> None:
            for _ in requests:
                async with controller.admitted(Request("flow")), slots:
                    await anyio.sleep(IDLE)

        async def call_all() -> None:
            async with anyio.create_task_group() as tasks:
                for _ in range(40):
                    tasks.start_soon(call)

        await call_all()
        found = detector.limit_of(POD_A)
        assert CAPACITY <= found <= 2 * CAPACITY
        locator.set_pods([])
        await anyio.sleep(3_600)
        locator.set_pods([POD_A])
        assert detector.limit_of(POD_A) == found
        requests = iter(range(100))
        await call_all()
        assert detector.limit_of(POD_A) <= 2 * CAPACITY


async def test_a_new_pod_takes_what_its_age_allows_to_the_instant() -> None:
    """The first pod of an empty pool: each step of its ramp lets those go that it has room for, without a poll."""
    locator, recorder = StaticPodLocator(), Recorder()
    detector = slow_start(ConcurrencyDetector(8), window=30.0, initial=0.25, steps=3)
    async with (
        FlowController(FlowControlConfig(), locator=locator, detector=detector, observers=[recorder]) as controller,
        anyio.create_task_group() as tasks,
    ):
        callers = Callers(tasks, controller)
        for _ in range(12):
            callers.begin(Request("flow"))
        await settle()
        locator.set_pods([POD_A])
        with StepCounter() as steps:
            ran = await steps.during_sleep(40.0)
        assert ran < 100, "a poll each ten milliseconds would be four thousand"
        went = [event.time for event in recorder.of("dispatched")]
        assert went == [0.0, 0.0, 10.0, 10.0, 20.0, 20.0, 30.0, 30.0]
        await callers.finish()


async def test_a_combination_with_a_silent_detector_is_polled() -> None:
    """Nobody says when it opens, and it is seen within a poll all the same."""
    silent = SilentDetector(1.0)
    detector = any_of(ConcurrencyDetector(1), silent)
    config = FlowControlConfig(poll_interval=0.25)
    async with (
        FlowController(config, locator=StaticPodLocator([POD_A]), detector=detector) as controller,
        anyio.create_task_group() as tasks,
    ):
        callers = Callers(tasks, controller)
        caller = await callers.start(Request("flow"))
        await anyio.sleep(0.375)
        silent.answer = 0.0
        await anyio.sleep(0.25)
        assert caller.ended_at == 0.5
        await callers.finish()


async def test_a_combination_that_announces_is_heard_and_not_polled() -> None:
    """What any of them announces wakes who waits, at once."""
    gate = WatchableDetector(1.0)
    detector = any_of(ConcurrencyDetector(1), gate)
    async with (
        FlowController(FlowControlConfig(), locator=StaticPodLocator([POD_A]), detector=detector) as controller,
        anyio.create_task_group() as tasks,
    ):
        callers = Callers(tasks, controller)
        caller = await callers.start(Request("flow", ttl=50.0))
        with StepCounter() as steps:
            assert await steps.during_sleep(10.0) < 10
        gate.answer = 0.0
        gate.announce()
        await settle()
        assert caller.ended_at == 10.0
        await callers.finish()


async def test_wrapped_detectors_learn_and_are_entered() -> None:
    """Through any number of wrappers; the release comes once, with what the caller said."""
    journal: list[str] = []
    learning = LearningDetector()
    detector = slow_start(any_of(learning, EnteredDetector("metrics", journal)))
    locator = StaticPodLocator([POD_B])
    async with FlowController(FlowControlConfig(), locator=locator, detector=detector) as controller:
        assert journal == ["enter metrics"]
        ticket = await controller.enqueue_and_wait(Request("flow"))
        await anyio.sleep(2.0)
        ticket.release("dropped")
    assert journal == ["enter metrics", "leave metrics"]
    assert [(pod, load.in_flight, held, result) for pod, load, held, result in learning.heard] == [
        (POD_B, 1, 2.0, "dropped")
    ]
