"""The two admission controllers: one looks at once and sheds, the other waits."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from flowgate import (
    FlowControlConfig,
    FlowControlError,
    FlowController,
    FlowKey,
    Pod,
    PodLoad,
    PodMetrics,
    QueueOutcome,
    Request,
    RequestRejected,
)
from flowgate.admission import FlowControlAdmissionController, LegacyAdmissionController
from flowgate.contracts import AdmissionController
from flowgate.locators import StaticPodLocator
from flowgate.saturation import ConcurrencyDetector, UtilizationDetector
from tests.support import POD_A, POD_B, POD_C, CallDetector, assert_idle, lose_ticket, settle

pytestmark = pytest.mark.anyio


def legacy(*pods: Pod, slots: int = 1) -> LegacyAdmissionController:
    return LegacyAdmissionController(StaticPodLocator(pods), ConcurrencyDetector(slots))


async def shed(controller: AdmissionController, request: Request) -> RequestRejected:
    with pytest.raises(RequestRejected) as caught:
        await controller.admit(request)
    return caught.value


def test_both_are_admission_controllers() -> None:
    """A gateway may be written against the contract, and take either."""
    assert isinstance(legacy(), AdmissionController)
    controller = FlowController(locator=StaticPodLocator(), detector=ConcurrencyDetector(1))
    assert isinstance(FlowControlAdmissionController(controller), AdmissionController)


# -- lazy


async def test_lazy_admission_waits_with_the_metadata_alone() -> None:
    """No pods are needed to be admitted later: the ticket's candidates are those of the dispatch."""
    locator = StaticPodLocator()
    async with FlowController(locator=locator, detector=ConcurrencyDetector(1)) as controller:
        lazy = FlowControlAdmissionController(controller)
        async with anyio.create_task_group() as tasks:

            async def appear() -> None:
                await anyio.sleep(2)
                locator.set_pods([POD_A])

            tasks.start_soon(appear)
            with await lazy.admit(Request("a", -1)) as ticket:
                assert (ticket.queue_wait, ticket.candidates) == (2, (POD_A,))
        assert_idle(controller)


async def test_lazy_admission_raises_what_the_controller_raises() -> None:
    """Its outcomes are the controller's."""
    async with FlowController(locator=StaticPodLocator(), detector=ConcurrencyDetector(1)) as controller:
        with pytest.raises(FlowControlError) as caught:
            await FlowControlAdmissionController(controller).admit(Request("a", ttl=1))
        assert caught.value.outcome is QueueOutcome.EVICTED_NO_PODS


# -- legacy


async def test_legacy_sheds_negative_priorities_when_no_pod_is_open() -> None:
    """A sheddable request is rejected at once, for full pods and for none; it is told its own id."""
    controller = legacy(POD_A)
    with await controller.admit(Request("a", -1)):
        error = await shed(controller, Request("a", -1, request_id="r"))
        assert (error.outcome, error.request_id, error.queue_wait) == (QueueOutcome.REJECTED_SHED, "r", 0.0)
        assert error.retry_after is None
    (await controller.admit(Request("a", -1))).release()
    assert (await shed(legacy(), Request("a", -1))).outcome is QueueOutcome.REJECTED_SHED


@pytest.mark.parametrize("priority", [0, 1, 10**6])
async def test_legacy_passes_everybody_else_at_once(priority: int) -> None:
    """Full pods or none: whoever is not sheddable goes to the scheduler, with all candidates found."""
    controller = legacy(POD_A)
    tickets = [await controller.admit(Request("a", priority)) for _ in range(5)]
    assert [ticket.candidates for ticket in tickets] == [(POD_A,)] * 5
    for ticket in tickets:
        ticket.release()
    ticket = await legacy().admit(Request("a", priority))
    assert (ticket.candidates, ticket.pod) == ((), None)
    ticket.release()
    ticket.release()


async def test_legacy_queues_nothing_and_lets_nobody_run() -> None:
    """Admission is a look, not a wait: nobody else runs in between."""
    ran: list[int] = []

    async def other() -> None:
        ran.append(1)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(other)
        controller = legacy(POD_A)
        for _ in range(3):
            (await controller.admit(Request("a"))).release()
        assert not ran
        assert anyio.current_time() == 0


async def test_legacy_charges_the_least_saturated() -> None:
    """Its tickets charge pods as ours do: the least full stands first, ties in the locator's order."""
    controller = legacy(POD_A, POD_B, POD_C, slots=2)
    tickets = [await controller.admit(Request("a")) for _ in range(7)]
    assert [ticket.pod for ticket in tickets] == [POD_A, POD_B, POD_C, POD_A, POD_B, POD_C, POD_A]
    assert tickets[1].candidates == (POD_B, POD_C, POD_A)
    assert (await shed(controller, Request("a", -1))).outcome is QueueOutcome.REJECTED_SHED
    for ticket in tickets:
        assert ticket.queue_wait == 0
        ticket.release()


async def test_legacy_tickets_move_and_come_back_once() -> None:
    """assign moves the charge, release takes it back, and only the first one counts."""
    controller = legacy(POD_A, POD_B)
    ticket = await controller.admit(Request("a"))
    ticket.assign(POD_B)
    assert ticket.pod == POD_B
    with await controller.admit(Request("a", -1)) as other:
        assert other.pod == POD_A
    ticket.release()
    ticket.release()
    async with await controller.admit(Request("a", -1)), await controller.admit(Request("a", -1)):
        assert (await shed(controller, Request("a", -1))).outcome is QueueOutcome.REJECTED_SHED
    with await controller.admit(Request("a")) as ticket, pytest.raises(ValueError, match="result"):
        ticket.release("bad")  # type: ignore[arg-type]
    (await controller.admit(Request("a", -1))).release()


async def test_legacy_takes_a_lost_ticket_back() -> None:
    """A ticket that is collected unreleased warns, and its slot is there for the next arrival."""
    controller = legacy(POD_A)
    with pytest.warns(ResourceWarning, match="never released"):
        await lose_ticket(controller)
    (await controller.admit(Request("a", -1))).release()


async def test_legacy_sees_new_pods_and_new_metrics_at_once() -> None:
    """Every arrival looks afresh, whatever was announced."""
    locator = StaticPodLocator()
    controller = LegacyAdmissionController(locator, UtilizationDetector(2, staleness=10))

    def pod(waiting: int, at: float) -> Pod:
        return Pod("a", "10.0.0.1", 8000, metrics=PodMetrics(waiting, 0, 0.0, at))

    await shed(controller, Request("a", -1))
    locator.set_pods([pod(1, 0.0)])
    tickets = [await controller.admit(Request("a", -1))]
    await shed(controller, Request("a", -1))
    await anyio.sleep(1)
    locator.set_pods([pod(0, 1.0)])
    tickets += [await controller.admit(Request("a", -1)) for _ in range(2)]
    await shed(controller, Request("a", -1))
    await anyio.sleep(10)
    for ticket in tickets:
        ticket.release()
    await shed(controller, Request("a", -1))  # its metrics are stale


async def test_legacy_reads_a_detector_anew_for_each_arrival() -> None:
    """A detector that moves by itself is believed as of now."""
    full = True
    detector = CallDetector(lambda pod, load: 1.0 if full else 0.0)
    controller = LegacyAdmissionController(StaticPodLocator([POD_A]), detector)
    await shed(controller, Request("a", -1))
    full = False
    (await controller.admit(Request("a", -1))).release()


class Broken:
    """Fails in either role."""

    name = "broken"

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def _fail(self) -> Any:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def locate(self, metadata: Mapping[str, object]) -> Any:
        return self._fail()

    def saturation(self, pod: Pod, load: PodLoad) -> Any:
        return self._fail()


@pytest.mark.parametrize("answer", [LookupError("down"), None, "pods", [POD_A, "b"]], ids=repr)
async def test_legacy_with_a_locator_that_fails_finds_no_candidates(
    answer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """The failure is logged, once a minute; sheddable requests are shed and others pass with none."""
    controller = LegacyAdmissionController(Broken(answer), ConcurrencyDetector(1))
    for _ in range(5):
        await shed(controller, Request("a", -1))
        with await controller.admit(Request("a")) as ticket:
            assert ticket.candidates == ()
    assert len(caplog.records) == 1
    assert "locator broken failed" in caplog.text
    await anyio.sleep(60)
    await shed(controller, Request("a", -1))
    assert len(caplog.records) == 2


@pytest.mark.parametrize("answer", [LookupError("down"), None, math.nan, -1.0], ids=repr)
async def test_legacy_with_a_detector_that_fails_takes_pods_for_full(
    answer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing sensible is known of the pods: sheddable requests are shed, others pass with all of them."""
    controller = LegacyAdmissionController(StaticPodLocator([POD_A]), Broken(answer))
    await shed(controller, Request("a", -1))
    with await controller.admit(Request("a")) as ticket:
        assert ticket.candidates == (POD_A,)
    assert "detector broken failed" in caplog.text


async def test_legacy_refuses_an_invalid_request() -> None:
    """A bad value is REJECTED_INVALID, with its cause."""

    class Bad(Request):
        __slots__ = ()

        def flow_key(self) -> FlowKey:
            raise LookupError("no flow")

    error = await shed(legacy(POD_A), Bad("a"))
    assert error.outcome is QueueOutcome.REJECTED_INVALID
    assert isinstance(error.__cause__, LookupError)


async def test_legacy_gives_its_clock_to_its_plug_ins() -> None:
    """A plug-in that is bound to the clock has the time of the arrival that asks it."""
    seen: list[float] = []

    class Clocked(Broken):
        clock: Any

        def bind(self, clock: Any) -> None:
            self.clock = clock

        def locate(self, metadata: Mapping[str, object]) -> Sequence[Pod]:
            seen.append(self.clock())
            return [POD_A]

    controller = LegacyAdmissionController(Clocked(None), ConcurrencyDetector(9))
    for _ in range(3):
        (await controller.admit(Request("a"))).release()
        await anyio.sleep(1.5)
    assert seen == [0.0, 1.5, 3.0]


async def test_the_same_gateway_runs_on_either() -> None:
    """What one admits, the other admits: a ticket is a ticket."""
    locator = StaticPodLocator([POD_A, POD_B])
    async with FlowController(FlowControlConfig(), locator=locator, detector=ConcurrencyDetector(1)) as controller:
        for admission in (
            FlowControlAdmissionController(controller),
            LegacyAdmissionController(locator, ConcurrencyDetector(1)),
        ):
            async with await admission.admit(Request("a")) as first, await admission.admit(Request("a")) as second:
                assert (first.pod, second.pod) == (POD_A, POD_B)
        await settle(2)
        assert_idle(controller)


async def test_eager_shedding_says_when_it_could_not_look() -> None:
    """A locator that fails is no pool without open pods: the error says so, and chains its cause."""

    class Broken:
        def locate(self, metadata: Mapping[str, object]) -> Sequence[Pod]:
            raise RuntimeError("no view of the pods")

    error = await shed(LegacyAdmissionController(Broken(), ConcurrencyDetector(1)), Request("a", -1))
    assert "its candidates are unknown" in str(error)
    assert isinstance(error.__cause__, RuntimeError)
