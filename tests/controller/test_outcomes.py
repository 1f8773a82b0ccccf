"""Every row of the table of outcomes, as a caller sees it."""

from collections.abc import Callable, Mapping

import anyio
import pytest

from flowgate import (
    FlowControlConfig,
    FlowControlError,
    FlowController,
    FlowKey,
    PriorityBandConfig,
    QueueOutcome,
    Request,
    RequestEvicted,
    RequestRejected,
)
from flowgate.locators import StaticPodLocator
from flowgate.saturation import ConcurrencyDetector
from tests.support import POD_A, POD_B, CallDetector, Callers, Recorder, assert_books, assert_idle, settle

pytestmark = pytest.mark.anyio

FULL = CallDetector(lambda pod, load: 1.0)


def controller_of(config: FlowControlConfig | None = None, *, pods: int = 1, slots: int = 1) -> FlowController:
    return FlowController(config, locator=StaticPodLocator([POD_A, POD_B][:pods]), detector=ConcurrencyDetector(slots))


async def refused(controller: FlowController, request: Request) -> FlowControlError:
    with pytest.raises(FlowControlError) as caught:
        await controller.enqueue_and_wait(request)
    error = caught.value
    assert error.request_id == request.request_id()
    assert error.request_id in str(error)
    assert error.outcome.name in str(error)
    assert error.retry_after is None
    assert isinstance(error, RequestRejected if error.outcome.is_rejected else RequestEvicted)
    assert controller.stats().outcomes[error.outcome] >= 1
    return error


async def test_dispatched_at_once_without_suspending_its_caller() -> None:
    """A request that can go does not let anybody run in between, waits 0.0 s, and is charged to the least full pod."""
    async with controller_of(pods=2) as controller, anyio.create_task_group() as tasks:
        ran: list[int] = []

        async def other() -> None:
            ran.append(1)

        tasks.start_soon(other)
        first = await controller.enqueue_and_wait(Request("a", request_id="r"))
        second = await controller.enqueue_and_wait(Request("a"))
        assert not ran
        assert (first.request_id, first.queue_wait, first.pod) == ("r", 0.0, POD_A)
        assert first.candidates == (POD_A, POD_B)
        assert second.candidates == (POD_B,)
        assert controller.stats().in_flight == 2
        first.release()
        second.release()
        assert_books(controller, 2)
        assert_idle(controller)


async def test_dispatched_after_waiting() -> None:
    """A request that waited says for how long, to the instant."""
    async with controller_of() as controller, anyio.create_task_group() as tasks:
        callers = Callers(tasks, controller)
        holder = await callers.start(Request("a"))
        await anyio.sleep(1)
        waiting = await callers.start(Request("a"))
        await anyio.sleep(2.5)
        holder.release()
        await settle()
        assert waiting.ticket is not None
        assert waiting.ticket.queue_wait == 2.5
        assert waiting.ticket.candidates == (POD_A,)
        await callers.finish()
        assert_idle(controller)


@pytest.mark.parametrize(
    ("limits", "band_limits", "words"),
    [
        ({"max_requests": 1}, {}, "the controller holds 1 of 1 requests"),
        ({"max_bytes": 100}, {}, "the controller holds 60 of 100 bytes and 60 more do not fit"),
        ({}, {"max_requests": 1}, "band 0 holds 1 of 1 requests"),
        ({}, {"max_bytes": 100}, "band 0 holds 60 of 100 bytes and 60 more do not fit"),
    ],
)
@pytest.mark.parametrize("pods", [0, 1])
async def test_rejected_over_a_limit(
    limits: Mapping[str, int], band_limits: Mapping[str, int], words: str, pods: int
) -> None:
    """A met limit rejects at once: for capacity while the lane has pods, for want of pods while it has none."""
    config = FlowControlConfig(bands=[PriorityBandConfig(0, **band_limits)], **limits)  # type: ignore[arg-type]
    async with (
        FlowController(config, locator=StaticPodLocator([POD_A][:pods]), detector=FULL) as controller,
        anyio.create_task_group() as tasks,
    ):
        callers = Callers(tasks, controller)
        waiting = await callers.start(Request("a", byte_size=60))
        await anyio.sleep(1)
        error = await refused(controller, Request("a", byte_size=60))
        assert error.outcome is (QueueOutcome.REJECTED_CAPACITY if pods else QueueOutcome.REJECTED_NO_PODS)
        assert (error.queue_wait, error.__cause__) == (0.0, None)
        assert words in str(error)
        waiting.cancel()
        await callers.finish()
        assert_books(controller, 2)


async def test_rejected_for_want_of_pods_chains_what_the_locator_raised() -> None:
    """When the pods could not be found because the locator failed, its error is the cause of the rejection."""
    fault = RuntimeError("no view of the pods")

    class Broken:
        def locate(self, metadata: Mapping[str, object]) -> list[object]:
            raise fault

    config = FlowControlConfig(bands=[PriorityBandConfig(0, max_requests=0)])
    async with FlowController(config, locator=Broken(), detector=FULL) as controller:  # type: ignore[arg-type]
        error = await refused(controller, Request("a"))
        assert error.outcome is QueueOutcome.REJECTED_NO_PODS
        assert error.__cause__ is fault


@pytest.mark.parametrize(("limits", "band_limits"), [({"max_bytes": 100}, {}), ({}, {"max_bytes": 100})])
async def test_rejected_too_large_ever_to_fit(limits: Mapping[str, int], band_limits: Mapping[str, int]) -> None:
    """A request larger than a limit is told so for good, and not to try again; one that can go at once goes."""
    config = FlowControlConfig(bands=[PriorityBandConfig(0, **band_limits)], **limits)  # type: ignore[arg-type]
    async with controller_of(config) as controller:
        with await controller.enqueue_and_wait(Request("a", byte_size=1_000)):
            error = await refused(controller, Request("a", byte_size=101))
            assert error.outcome is QueueOutcome.REJECTED_TOO_LARGE
            assert "101 bytes" in str(error)
            assert "100" in str(error)


async def test_rejected_by_a_band_that_sheds() -> None:
    """A band in mode "shed" never queues: what cannot go at once is shed, with pods and without."""
    config = FlowControlConfig(bands=[PriorityBandConfig(-1, mode="shed")])
    async with controller_of(config) as controller:
        with await controller.enqueue_and_wait(Request("a", -1)):
            error = await refused(controller, Request("a", -1))
            assert error.outcome is QueueOutcome.REJECTED_SHED
    async with controller_of(config, pods=0) as controller:
        error = await refused(controller, Request("a", -1))
        assert error.outcome is QueueOutcome.REJECTED_SHED


async def test_rejected_by_a_closed_controller() -> None:
    """A closed controller answers; it does not hang and does not dispatch."""
    async with controller_of() as controller:
        await controller.aclose()
        error = await refused(controller, Request("a", ttl=1))
        assert error.outcome is QueueOutcome.REJECTED_SHUTDOWN
    error = await refused(controller, Request("a"))
    assert error.outcome is QueueOutcome.REJECTED_SHUTDOWN
    assert_books(controller, 2)


async def test_rejected_for_a_priority_that_is_no_band() -> None:
    """Without a template an unlisted priority is invalid; at max_bands with none idle, one more band is."""
    async with controller_of(FlowControlConfig(default_band=None)) as controller:
        error = await refused(controller, Request("a", 7))
        assert error.outcome is QueueOutcome.REJECTED_INVALID
        assert "7" in str(error)
    async with controller_of(FlowControlConfig(max_bands=2), slots=9) as controller:
        with await controller.enqueue_and_wait(Request("a", 1)):
            error = await refused(controller, Request("a", 2))
            assert error.outcome is QueueOutcome.REJECTED_INVALID
            assert "max_bands=2" in str(error)
        (await controller.enqueue_and_wait(Request("a", 2))).release()


async def test_rejected_for_a_bad_value_of_a_custom_request() -> None:
    """What was wrong with a request is chained; a request that cannot even name itself still gets its outcome."""

    class Bad(Request):
        __slots__ = ()

        def request_id(self) -> str:
            raise LookupError("no name")

        def flow_key(self) -> FlowKey:
            return FlowKey("")

    async with controller_of() as controller:
        with pytest.raises(RequestRejected) as caught:
            await controller.enqueue_and_wait(Bad("a"))
        assert caught.value.outcome is QueueOutcome.REJECTED_INVALID
        assert isinstance(caught.value.__cause__, ValueError)
        assert caught.value.request_id == "(no id)"
        assert_books(controller, 1)


@pytest.mark.parametrize(("pods", "outcome"), [(0, QueueOutcome.EVICTED_NO_PODS), (1, QueueOutcome.EVICTED_TTL)])
@pytest.mark.parametrize("ttl", [None, 2.5])
async def test_evicted_at_its_deadline(pods: int, outcome: QueueOutcome, ttl: float | None) -> None:
    """A spent budget ends the wait at the deadline exactly, and says whether there were pods."""
    config = FlowControlConfig(default_ttl=2.5)
    async with FlowController(config, locator=StaticPodLocator([POD_A][:pods]), detector=FULL) as controller:
        await anyio.sleep(0.5)
        error = await refused(controller, Request("a", ttl=ttl))
        assert error.outcome is outcome
        assert error.queue_wait == 2.5
        assert anyio.current_time() == 3.0
        assert_books(controller, 1)
        assert_idle(controller)


async def test_evicted_without_pods_chains_what_the_locator_raised() -> None:
    """When a request waited in vain because the locator failed, its error is the cause."""
    fault = RuntimeError("no view of the pods")

    class Broken:
        def locate(self, metadata: Mapping[str, object]) -> list[object]:
            raise fault

    async with FlowController(locator=Broken(), detector=FULL) as controller:  # type: ignore[arg-type]
        error = await refused(controller, Request("a", ttl=0.05))
        assert error.outcome is QueueOutcome.EVICTED_NO_PODS
        assert error.__cause__ is fault


async def test_evicted_when_its_caller_is_cancelled() -> None:
    """The caller sees its own cancellation, not an error of ours; the outcome is recorded."""
    recorder = Recorder()
    async with FlowController(locator=StaticPodLocator(), detector=FULL, observers=[recorder]) as controller:
        with anyio.move_on_after(0.75) as scope:
            await controller.enqueue_and_wait(Request("a"))
        assert scope.cancelled_caught
        (dropped,) = recorder.of("dropped")
        assert (dropped.outcome, dropped.queue_wait) == (QueueOutcome.EVICTED_CANCELLED, 0.75)
        assert_books(controller, 1)
        assert_idle(controller)


@pytest.mark.parametrize("limits", [{"max_requests": 2}, {"max_bytes": 20}])
async def test_evicted_by_a_higher_band_under_a_full_global_limit(limits: Mapping[str, int]) -> None:
    """The newest of the lowest band leaves for a higher one's arrival, at that instant; equals displace nobody."""
    config = FlowControlConfig(**limits)  # type: ignore[arg-type]
    async with controller_of(config, pods=0) as controller, anyio.create_task_group() as tasks:
        callers = Callers(tasks, controller)
        older = await callers.start(Request("a", 0, 10))
        newer = await callers.start(Request("b", 0, 10))
        await anyio.sleep(1)
        error = await refused(controller, Request("c", 0, 10))
        assert error.outcome is QueueOutcome.REJECTED_NO_PODS
        higher = await callers.start(Request("a", 1, 10))
        assert isinstance(newer.error, RequestEvicted)
        assert newer.error.outcome is QueueOutcome.EVICTED_DISPLACED
        assert newer.error.queue_wait == 1
        assert (older.ended_at, higher.ended_at) == (None, None)
        for caller in (older, higher):
            caller.cancel()
        await callers.finish()
        assert_books(controller, 4)
        assert_idle(controller)


async def test_displacement_is_all_or_nothing() -> None:
    """When even all lower requests together make no room, nobody is touched; protected bands never are."""
    config = FlowControlConfig(
        bands=[PriorityBandConfig(0, displace=False), PriorityBandConfig(1), PriorityBandConfig(2)], max_bytes=30
    )
    async with controller_of(config, pods=0) as controller, anyio.create_task_group() as tasks:
        callers = Callers(tasks, controller)
        for priority in (0, 1, 2):
            await callers.start(Request("a", priority, 10))
        error = await refused(controller, Request("a", 2, 20))
        assert error.outcome is QueueOutcome.REJECTED_NO_PODS
        assert controller.stats().queued_requests == 3
        await callers.start(Request("a", 2, 10))
        assert [caller.outcome for caller in callers.all] == [None, QueueOutcome.EVICTED_DISPLACED, None, None]
        for caller in callers.all:
            caller.cancel()
        await callers.finish()
        assert_books(controller, 5)


async def test_evicted_when_the_controller_closes() -> None:
    """Whoever waits when the controller closes hears so at once."""
    async with controller_of(pods=0) as controller, anyio.create_task_group() as tasks:
        callers = Callers(tasks, controller)
        waiting = await callers.start(Request("a"))
        await anyio.sleep(2)
        await controller.aclose()
        await settle(8)
        assert isinstance(waiting.error, RequestEvicted)
        assert waiting.error.outcome is QueueOutcome.EVICTED_SHUTDOWN
        assert waiting.error.queue_wait == 2
        assert waiting.ended_at == 2
        assert_books(controller, 1)
        assert_idle(controller)


@pytest.mark.parametrize("batch", [1, 1_000])
async def test_an_arrival_that_would_be_refused_waits_for_a_pass_that_is_pending(batch: int) -> None:
    """A slot that was just released counts: the pass runs first, then the arrival finds room in the queue."""
    config = FlowControlConfig(bands=[PriorityBandConfig(0, max_requests=1)], max_dispatch_batch=batch)
    async with controller_of(config) as controller, anyio.create_task_group() as tasks:
        callers = Callers(tasks, controller)
        holder = await callers.start(Request("a"))
        waiting = await callers.start(Request("a"))
        holder.release()  # no turn of the loop from here: the pass is still to come
        with anyio.CancelScope() as scope:
            scope.cancel()
            await controller.enqueue_and_wait(Request("a"))
        assert scope.cancelled_caught  # it waited, and was not refused
        await settle()
        assert waiting.ticket is not None
        await callers.finish()
        assert controller.stats().outcomes[QueueOutcome.REJECTED_CAPACITY] == 0
        assert_books(controller, 3)


def test_every_outcome_is_before_or_after_the_commitment() -> None:
    """REJECTED, EVICTED or DISPATCHED: each outcome is exactly one of them."""
    kinds: list[Callable[[QueueOutcome], bool]] = [
        lambda outcome: outcome.is_rejected,
        lambda outcome: outcome.is_evicted,
        lambda outcome: outcome is QueueOutcome.DISPATCHED,
    ]
    assert all(sum(kind(outcome) for kind in kinds) == 1 for outcome in QueueOutcome)
