"""What `pod_stats` says of pods."""

import anyio
import pytest

from flowgate import FlowController, Pod, PodLoad, PodMetrics, Request
from flowgate.locators import StaticPodLocator
from flowgate.saturation import ConcurrencyDetector
from tests.support import POD_A, POD_B, CallDetector, Callers, assert_idle, settle

pytestmark = pytest.mark.anyio

STRANGER = Pod("stranger", "10.9.9.9", 80)


async def test_pods_are_told_with_their_load_and_saturation_as_they_are_now() -> None:
    """A release that nobody waits for counts at once, although no pass has read the pod since."""
    controller = FlowController(locator=StaticPodLocator([POD_A]), detector=ConcurrencyDetector(2))
    assert [each.in_flight for each in controller.pod_stats([POD_A])] == [0]
    async with controller:
        ticket = await controller.enqueue_and_wait(Request("a"))
        busy, strange = controller.pod_stats([POD_A, STRANGER])
        assert (busy.pod, busy.in_flight, busy.saturation) == (POD_A, 1, 0.5)
        assert (strange.pod, strange.in_flight, strange.saturation) == (STRANGER, 0, 0.0)
        ticket.release()
        (idle,) = controller.pod_stats([POD_A])
        assert (idle.in_flight, idle.saturation) == (0, 0.0)


async def test_the_newest_record_of_a_pod_is_told() -> None:
    """Whoever asks may hold an older record than the engine."""
    metrics = PodMetrics(waiting=1, running=2, kv_cache_usage=0.5, updated_at=1.0)
    newer = Pod(POD_A.name, POD_A.address, POD_A.port, metrics=metrics)
    controller = FlowController(locator=StaticPodLocator([newer]), detector=ConcurrencyDetector(2))
    async with controller, controller.admitted(Request("a")):
        (told,) = controller.pod_stats([POD_A])
        assert told.pod.metrics == metrics


@pytest.mark.parametrize("answer", [ValueError("broken"), -1.0, "full"])
async def test_a_pod_of_which_the_detector_says_nothing_sensible_is_full_and_nothing_is_changed(answer: object) -> None:
    """To look is no step: no failure is counted, no wake-up planned."""

    def answer_for(pod: Pod, load: PodLoad) -> float:
        if isinstance(answer, Exception):
            raise answer
        return answer  # type: ignore[return-value]

    controller = FlowController(locator=StaticPodLocator([POD_B]), detector=CallDetector(answer_for))
    async with controller:
        (told,) = controller.pod_stats([POD_B])
        assert told.saturation == 1.0
        assert not controller.stats().plugin_failures
        assert_idle(controller)


async def test_to_look_at_pods_disturbs_no_waiting_request() -> None:
    """A look in the middle of things lets nobody overtake, and hides no change from the next pass."""
    controller = FlowController(locator=StaticPodLocator([POD_A]), detector=ConcurrencyDetector(1))
    async with controller, anyio.create_task_group() as tasks:
        callers = Callers(tasks, controller)
        first = await callers.start(Request("a"))
        second = await callers.start(Request("b"))
        assert controller.pod_stats([POD_A])[0].saturation == 1.0
        first.release()
        assert controller.pod_stats([POD_A])[0].in_flight in {0, 1}
        await settle()
        assert second.ticket is not None
        second.release()
