"""Traps that the Endpoint Picker's flow control, or its users, fell into: each by name, and what we do instead."""

import gc
import itertools
import math
import weakref
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from flowgate import (
    FlowControlConfig,
    FlowControlError,
    FlowController,
    Pod,
    PodLoad,
    PodMetrics,
    PriorityBandConfig,
    QueueOutcome,
    Request,
    Ticket,
)
from flowgate.admission import PR_1952, http_response
from flowgate.contracts import ItemComparator, PodLocator, QueueCapability
from flowgate.locators import CachedPodLocator, StaticPodLocator, SubsetPodLocator
from flowgate.queues import ListQueue
from flowgate.saturation import ConcurrencyDetector, UtilizationDetector
from tests.support import (
    POD_A,
    POD_B,
    POD_C,
    CallDetector,
    Callers,
    Core,
    MapLocator,
    Recorder,
    assert_books,
    assert_idle,
    settle,
)

pytestmark = pytest.mark.anyio


def subset(*members: str) -> Mapping[str, object]:
    return {"envoy.lb.subset_hint": {"x-gateway-destination-endpoint-subset": list(members)}}


async def rejection(controller: FlowController, request: Request) -> QueueOutcome:
    with pytest.raises(FlowControlError) as caught:
        await controller.enqueue_and_wait(request)
    return caught.value.outcome


# -- what a faithful port would have to decide on


async def test_e1_requests_of_no_bytes_are_counted() -> None:
    """A size of 0 is no way around the limits: the count holds for everybody."""
    config = FlowControlConfig(bands=[PriorityBandConfig(0, max_requests=2)])
    async with (
        FlowController(config, locator=StaticPodLocator(), detector=ConcurrencyDetector(1)) as controller,
        anyio.create_task_group() as tasks,
    ):
        callers = Callers(tasks, controller)
        for _ in range(2):
            await callers.start(Request("a", byte_size=0))
        assert await rejection(controller, Request("a", byte_size=0)) is QueueOutcome.REJECTED_NO_PODS
        tasks.cancel_scope.cancel()


async def test_e2_a_request_whose_subset_is_empty_holds_back_nobody() -> None:
    """The highest priority's head waits for a pod that does not exist; all others go, its own flow's included."""
    locator = SubsetPodLocator(StaticPodLocator([POD_A]))
    async with (
        FlowController(locator=locator, detector=ConcurrencyDetector(8)) as controller,
        anyio.create_task_group() as tasks,
    ):
        callers = Callers(tasks, controller)
        parked = await callers.start(Request("a", 9, metadata=subset("10.9.9.9:1")))
        for flow, priority in (("a", 9), ("b", 9), ("a", 0), ("b", -1)):
            (await controller.enqueue_and_wait(Request(flow, priority))).release()
        assert parked.ended_at is None
        assert anyio.current_time() == 0
        parked.cancel()


@pytest.mark.parametrize("detector", [ConcurrencyDetector(8), UtilizationDetector(on_stale="ignore")])
async def test_e3_no_pods_is_a_state_of_its_own(detector: Any) -> None:
    """An empty pool is not a full one: no detector is asked about it, and the outcome says there were no pods."""
    async with FlowController(locator=StaticPodLocator(), detector=detector) as controller:
        assert await rejection(controller, Request("a", ttl=1)) is QueueOutcome.EVICTED_NO_PODS


async def test_e4_waiting_is_bounded_by_default() -> None:
    """Nobody waits for ever unless the operator says so: the default budget is 60 seconds, with pods or without."""
    full = CallDetector(lambda pod, load: 1.0)
    for pods, outcome in (([], QueueOutcome.EVICTED_NO_PODS), ([POD_A], QueueOutcome.EVICTED_TTL)):
        began = anyio.current_time()
        async with FlowController(locator=StaticPodLocator(pods), detector=full) as controller:
            assert await rejection(controller, Request("a")) is outcome
        assert anyio.current_time() == began + 60
    band = PriorityBandConfig(0)
    assert band.max_requests is not None
    assert band.max_bytes is not None


async def test_e5_there_is_no_antechamber() -> None:
    """A request is queued, or has its outcome, once its submission returns: TTL and cancellation count at once."""
    async with (
        FlowController(locator=StaticPodLocator(), detector=ConcurrencyDetector(1)) as controller,
        anyio.create_task_group() as tasks,
    ):
        waiting = controller.enqueue_and_wait(Request("a"))
        waiting.send(None)
        assert controller.stats().queued_requests == 1
        waiting.close()
        assert controller.stats().outcomes[QueueOutcome.EVICTED_CANCELLED] == 1
        caller = await Callers(tasks, controller).start(Request("a", ttl=1e-9))
        await anyio.sleep(1)
        assert caller.outcome is QueueOutcome.EVICTED_NO_PODS
        assert caller.ended_at == pytest.approx(1e-9)


def test_e6_a_spent_budget_says_whether_there_were_pods() -> None:
    """429 to those whom full pods kept waiting, 503 to those who waited for pods; the old answer on request."""
    assert http_response(QueueOutcome.EVICTED_TTL).status == 429
    assert http_response(QueueOutcome.EVICTED_NO_PODS).status == 503
    assert http_response(QueueOutcome.EVICTED_TTL, table=PR_1952).status == 503


def test_e7_a_shutdown_is_no_internal_error() -> None:
    """503 for whoever meets a closing controller; 500 is for nobody."""
    assert http_response(QueueOutcome.REJECTED_SHUTDOWN).status == 503
    assert http_response(QueueOutcome.EVICTED_SHUTDOWN).status == 503
    assert all(http_response(outcome).status != 500 for outcome in QueueOutcome)


async def test_e8_nobody_hangs_at_a_controller_that_closed() -> None:
    """A request without any TTL that is submitted before, at or after the close ends then, exactly once."""
    config = FlowControlConfig(default_ttl=math.inf)
    async with anyio.create_task_group() as tasks:
        controller = FlowController(config, locator=StaticPodLocator(), detector=ConcurrencyDetector(1))
        callers = Callers(tasks, controller)
        async with controller:
            callers.begin(Request("before"))
            await settle(2)
            callers.begin(Request("with"))
            await controller.aclose()
            callers.begin(Request("after"))
        await settle()
        assert [caller.outcome for caller in callers.all] == [
            QueueOutcome.EVICTED_SHUTDOWN,
            QueueOutcome.REJECTED_SHUTDOWN,
            QueueOutcome.REJECTED_SHUTDOWN,
        ]
        assert_books(controller, 3)


async def test_e9_a_pass_releases_all_that_may_go() -> None:
    """A pool that comes up is filled in one pass, not with one request for each tick."""
    recorder, locator = Recorder(), StaticPodLocator()
    async with (
        FlowController(locator=locator, detector=ConcurrencyDetector(300), observers=[recorder]) as controller,
        anyio.create_task_group() as tasks,
    ):
        callers = Callers(tasks, controller)
        for _ in range(300):
            callers.begin(Request("a"))
        await settle()
        locator.set_pods([POD_A])
        await settle()
        assert [event.dispatched for event in recorder.of("pass")] == [300]
        assert anyio.current_time() == 0
        tasks.cancel_scope.cancel()


async def test_e11_a_ticket_names_the_candidates_of_its_dispatch() -> None:
    """Whoever schedules afterwards has the pods as they were seen then: open ones, the charged one first."""
    locator = StaticPodLocator([POD_A, POD_B])
    async with FlowController(locator=CachedPodLocator(locator), detector=ConcurrencyDetector(1)) as controller:
        first = await controller.enqueue_and_wait(Request("a"))
        second = await controller.enqueue_and_wait(Request("a"))
        locator.set_pods([])
        await settle()
        assert first.candidates == (POD_A, POD_B)
        assert second.candidates == (POD_B,)
        first.release()
        second.release()


def core_of(
    config: FlowControlConfig | None = None, *, pods: Sequence[Pod] = (), slots: int = 1
) -> tuple[Core, StaticPodLocator]:
    locator = StaticPodLocator(pods)
    return Core(config, locator=locator, detector=ConcurrencyDetector(slots)), locator


def test_e12_a_flow_with_a_request_or_a_ticket_is_never_collected() -> None:
    """However many ids pass by at a full registry, what waits or is out keeps its flow, and is served from it."""
    core, locator = core_of(FlowControlConfig(max_flows=3))
    item = core.wait(Request("waits"))
    for number in range(50):
        core.cancel(core.wait(Request(f"passes-{number}")))
    assert core.stats().flows <= 4
    locator.set_pods([POD_A])
    core.processor.advance(1.0)
    ticket = item.result
    assert isinstance(ticket, Ticket)
    for number in range(50):
        core.cancel(core.wait(Request(f"passes-{number}"), 2.0), 2.0)
    # A second request of the same flow is counted with the first one's ticket: they are one flow still.
    again = core.wait(Request("waits"), 3.0)
    assert core.stats().bands[0].flows <= 4
    ticket.release()
    core.serve_all(3.0)
    assert isinstance(again.result, Ticket)
    assert again.result.flow is ticket.flow
    assert (core.stats().queued_requests, core.stats().in_flight) == (0, 0)


class Raises:
    """A policy of either kind, each of whose methods raises."""

    name = "raises"
    required_queue_capabilities: frozenset[QueueCapability] = frozenset()

    def __init__(self, comparator: ItemComparator | None = None) -> None:
        self.comparator = comparator or ItemComparator(float, lambda item: item.enqueue_time)

    def select_item(self, queue: object) -> Any:
        raise LookupError("select_item")

    def new_group(self) -> Any:
        raise LookupError("new_group")


class RaisesSelecting(Raises):
    def new_group(self) -> Any:
        return self

    def activated(self, flow: object) -> None:
        """Fine."""

    head_changed = emptied = activated

    def charged(self, flow: object, item: object) -> None:
        """Fine."""

    def select(self) -> Any:
        raise LookupError("select")


class RaisesHearing(RaisesSelecting):
    def activated(self, flow: object) -> None:
        raise LookupError("activated")

    head_changed = emptied = activated


class SelectsNonsense:
    name = "selects nonsense"

    def select_queue(self, band: object) -> Any:
        return None


def _no_key(item: object) -> float:
    raise LookupError("key")


POLICIES: list[tuple[str, PriorityBandConfig]] = [
    ("dispatch policy", PriorityBandConfig(0, dispatch=Raises())),
    ("dispatch policy", PriorityBandConfig(0, dispatch=Raises(ItemComparator(float, _no_key)))),
    ("dispatch policy", PriorityBandConfig(0, dispatch=Raises(ItemComparator(float, lambda item: math.nan)))),
    ("fairness policy", PriorityBandConfig(0, fairness=Raises())),
    ("fairness policy", PriorityBandConfig(0, fairness=RaisesSelecting())),
    ("fairness policy", PriorityBandConfig(0, fairness=RaisesHearing())),
    ("fairness policy", PriorityBandConfig(0, fairness=SelectsNonsense())),
]


@pytest.mark.parametrize(("kind", "band"), POLICIES, ids=map(str, range(len(POLICIES))))
async def test_e13_a_policy_that_raises_is_done_without(kind: str, band: PriorityBandConfig) -> None:
    """Its band falls back to who came first; every request goes, at once, and the failure is counted by its name."""
    locator, recorder = StaticPodLocator(), Recorder()
    config = FlowControlConfig(bands=[band])
    async with (
        FlowController(config, locator=locator, detector=ConcurrencyDetector(2), observers=[recorder]) as controller,
        anyio.create_task_group() as tasks,
    ):
        callers = Callers(tasks, controller)
        for place in range(12):
            await callers.start(Request(f"flow-{place % 3}"))
        locator.set_pods([POD_A])
        await callers.finish()
        assert anyio.current_time() == 0
        order = [event.request for event in recorder.of("dispatched")]
        assert order == [caller.request for caller in callers.all]
        failures = controller.stats().plugin_failures
        assert {which[0] for which in failures} == {kind}
        assert {event.kind for event in recorder.of("plugin_error")} == {kind}
        assert_books(controller, 12)
        assert_idle(controller)


class Switch:
    """Raises while it is told to."""

    def __init__(self) -> None:
        self.is_on = True

    def __call__(self) -> None:
        if self.is_on:
            raise LookupError("switched on")


class FailingLocator(StaticPodLocator):
    def __init__(self, switch: Switch) -> None:
        super().__init__([POD_A])
        self.switch = switch

    def locate(self, metadata: Mapping[str, object]) -> tuple[Pod, ...]:
        self.switch()
        return super().locate(metadata)


class FailingKeys(StaticPodLocator):
    def __init__(self, switch: Switch) -> None:
        super().__init__([POD_A])
        self.switch = switch

    def selection_key(self, metadata: Mapping[str, object]) -> Any:
        self.switch()
        return "one"


class FailingDetector(ConcurrencyDetector):
    def __init__(self, switch: Switch) -> None:
        super().__init__(8)
        self.switch = switch

    def saturation(self, pod: Pod, load: PodLoad) -> float:
        self.switch()
        return super().saturation(pod, load)


@pytest.mark.parametrize("which", ["locate", "selection_key", "saturation"])
async def test_e13_a_locator_or_detector_that_raises_is_asked_again(which: str) -> None:
    """Requests wait as if there were no pods, or full ones; within a poll of its recovery they all go."""
    switch = Switch()
    locator = {"locate": FailingLocator, "selection_key": FailingKeys}.get(which, lambda _: StaticPodLocator([POD_A]))
    detector = FailingDetector(switch) if which == "saturation" else ConcurrencyDetector(8)
    config = FlowControlConfig(poll_interval=0.25)
    async with (
        FlowController(config, locator=locator(switch), detector=detector) as controller,
        anyio.create_task_group() as tasks,
    ):
        callers = Callers(tasks, controller)
        for place in range(5):
            await callers.start(Request(f"flow-{place}"))
        await anyio.sleep(10.125)
        assert controller.stats().queued_requests == 5
        kind = "detector" if which == "saturation" else "locator"
        assert {name for name, _ in controller.stats().plugin_failures} == {kind}
        switch.is_on = False
        await anyio.sleep(0.25)
        assert {caller.ended_at for caller in callers.all} == {10.25}
        await callers.finish()
        assert_books(controller, 5)
        assert_idle(controller)
        asked = sum(controller.stats().plugin_failures.values())
        await anyio.sleep(10)
        assert sum(controller.stats().plugin_failures.values()) == asked


async def test_e13_a_usage_limit_policy_that_raises_limits_nobody() -> None:
    """Every band may fill the pods then: the failure is counted, and work goes on."""

    class Broken:
        def ceilings(self, saturation: float, priorities: Sequence[int]) -> Sequence[float]:
            raise LookupError("ceilings")

    async with (
        FlowController(
            locator=StaticPodLocator([POD_A]), detector=ConcurrencyDetector(2), usage_limit=Broken()
        ) as controller,
        anyio.create_task_group() as tasks,
    ):
        callers = Callers(tasks, controller)
        for _ in range(6):
            await callers.start(Request("a", -1))
        assert controller.stats().in_flight == 2
        await callers.finish()
        assert controller.stats().plugin_failures["usage limit", "Broken"] > 0
        assert_books(controller, 6)
        assert_idle(controller)


async def test_e13_a_queue_that_raises_refuses_its_request_alone() -> None:
    """A user's queue that does not take an item ends that request with REJECTED_INVALID; others are not touched."""

    class Picky(ListQueue):
        def add(self, item: Any) -> None:
            if item.byte_size == 13:
                raise LookupError("unlucky")
            super().add(item)

    locator = StaticPodLocator()
    config = FlowControlConfig(bands=[PriorityBandConfig(0, queue=Picky)])
    async with (
        FlowController(config, locator=locator, detector=ConcurrencyDetector(8)) as controller,
        anyio.create_task_group() as tasks,
    ):
        callers = Callers(tasks, controller)
        await callers.start(Request("a"))
        with pytest.raises(FlowControlError) as caught:
            await controller.enqueue_and_wait(Request("a", byte_size=13))
        assert caught.value.outcome is QueueOutcome.REJECTED_INVALID
        assert isinstance(caught.value.__cause__, LookupError)
        await callers.start(Request("a"))
        assert controller.stats().plugin_failures == {("queue", "Picky"): 1}
        locator.set_pods([POD_A])
        await callers.finish()
        assert_books(controller, 3)
        assert_idle(controller)


def test_e14_one_shard_has_the_whole_capacity() -> None:
    """Limits are divided by nothing: a request as large as the limit fits."""
    core, _ = core_of(FlowControlConfig(bands=[PriorityBandConfig(0, max_bytes=1_000)]))
    assert core.wait(Request("a", byte_size=1_000))


async def test_e15_what_can_never_fit_is_told_so() -> None:
    """413 and no "try again" for a request larger than its limit, whatever the backlog."""
    config = FlowControlConfig(bands=[PriorityBandConfig(0, max_bytes=1_000)])
    async with FlowController(config, locator=StaticPodLocator(), detector=ConcurrencyDetector(1)) as controller:
        outcome = await rejection(controller, Request("a", byte_size=1_001))
        assert outcome is QueueOutcome.REJECTED_TOO_LARGE
        assert http_response(outcome).status == 413


async def test_e16_the_cancelled_hold_no_capacity() -> None:
    """Their places are free at the instant of their cancellation, count and bytes alike."""
    config = FlowControlConfig(bands=[PriorityBandConfig(0, max_requests=100, max_bytes=100)])
    async with (
        FlowController(config, locator=StaticPodLocator(), detector=ConcurrencyDetector(1)) as controller,
        anyio.create_task_group() as tasks,
    ):
        callers = Callers(tasks, controller)
        for _ in range(10):
            for _ in range(100):
                callers.begin(Request("a", byte_size=1))
            await settle(4)
            assert controller.stats().queued_requests == 100
            for caller in callers.all:
                caller.cancel()
            await settle(4)
            assert controller.stats().queued_bytes == 0
        assert anyio.current_time() == 0
        assert controller.stats().outcomes[QueueOutcome.REJECTED_NO_PODS] == 0
        assert_books(controller, 1_000)


async def test_e17_statistics_and_limits_count_the_same() -> None:
    """What stats() shows as queued is what the limits count: nothing waits where only one of them looks."""
    config = FlowControlConfig(bands=[PriorityBandConfig(0, max_requests=7, max_bytes=70)])
    async with (
        FlowController(config, locator=StaticPodLocator(), detector=ConcurrencyDetector(1)) as controller,
        anyio.create_task_group() as tasks,
    ):
        callers = Callers(tasks, controller)
        for place in range(12):
            assert controller.stats().queued_requests == min(place, 7)
            assert controller.stats().queued_bytes == 10 * min(place, 7)
            await callers.start(Request("a", byte_size=10))
        assert controller.stats().outcomes[QueueOutcome.REJECTED_NO_PODS] == 5
        tasks.cancel_scope.cancel()


# -- what bit its users


async def test_c1_metadata_are_read_again_at_dispatch() -> None:
    """A subset that the gateway computed while the pool was empty is not frozen: it is refreshed, or read as "all"."""
    hint: dict[str, object] = dict(subset())
    inner = StaticPodLocator()
    async with (
        FlowController(locator=SubsetPodLocator(inner), detector=ConcurrencyDetector(8)) as controller,
        anyio.create_task_group() as tasks,
    ):
        callers = Callers(tasks, controller)
        waiting = await callers.start(Request("a", metadata=hint))
        inner.set_pods([POD_A])
        await settle()
        assert waiting.ended_at is None
        hint.update(subset("10.0.0.1:8000"))
        controller.refresh(waiting.request)
        await settle()
        assert waiting.ticket is not None
        await callers.finish()
    inner.set_pods([])
    async with (
        FlowController(
            locator=SubsetPodLocator(inner, empty_hint="all"), detector=ConcurrencyDetector(8)
        ) as controller,
        anyio.create_task_group() as tasks,
    ):
        callers = Callers(tasks, controller)
        waiting = await callers.start(Request("a", metadata=subset()))
        inner.set_pods([POD_A])
        await settle()
        assert waiting.ticket is not None
        await callers.finish()


async def test_c3_a_herd_never_overshoots_a_pod_whose_metrics_are_old() -> None:
    """Each dispatch counts at once, whatever the last scrape said: no pod gets more than it shows room for."""
    metrics = PodMetrics(waiting=0, running=0, kv_cache_usage=0.0, updated_at=0.0)
    locator = StaticPodLocator()
    async with (
        FlowController(locator=locator, detector=UtilizationDetector(5, staleness=1_000.0)) as controller,
        anyio.create_task_group() as tasks,
    ):
        callers = Callers(tasks, controller)
        for _ in range(100):
            callers.begin(Request("a"))
        await settle()
        locator.set_pods([Pod("a", "10.0.0.1", 8000, metrics=metrics)])
        await anyio.sleep(10)
        assert controller.stats().in_flight == 5
        tasks.cancel_scope.cancel()


async def test_c3_a_long_request_is_counted_to_its_end() -> None:
    """No charge is forgotten by timeout: a ticket that is out for a day still holds its slot."""
    async with FlowController(locator=StaticPodLocator([POD_A]), detector=ConcurrencyDetector(1)) as controller:
        with await controller.enqueue_and_wait(Request("a")):
            await anyio.sleep(86_400)
            assert controller.stats().in_flight == 1
            assert await rejection(controller, Request("a", ttl=1)) is QueueOutcome.EVICTED_TTL
        assert_idle(controller)


async def test_c4_stale_metrics_need_not_halt_everything() -> None:
    """With on_stale="ignore" a pool whose metrics all went stale goes on by flowgate's own count."""
    stale = Pod("a", "10.0.0.1", 8000, metrics=PodMetrics(0, 0, 0.0, updated_at=0.0))
    async with FlowController(
        locator=StaticPodLocator([stale]), detector=UtilizationDetector(2, on_stale="ignore")
    ) as controller:
        await anyio.sleep(100)
        tickets = [await controller.enqueue_and_wait(Request("a")) for _ in range(2)]
        assert await rejection(controller, Request("a", ttl=1)) is QueueOutcome.EVICTED_TTL
        for ticket in tickets:
            ticket.release()


def test_c6_bounded_by_default_in_count_bytes_and_time() -> None:
    """Whoever configures nothing still has limits on everything that can grow."""
    config = FlowControlConfig()
    assert math.isfinite(config.default_ttl)
    assert math.isfinite(config.empty_pool_ttl)
    assert config.default_band is not None
    for band in (*config.bands, config.default_band):
        assert band.max_requests is not None
        assert band.max_bytes is not None
    assert math.isfinite(config.max_flows * config.max_bands)


class Unkeyed:
    """Each flow is a lane of its own: the worst case."""

    def locate(self, metadata: Mapping[str, object]) -> Sequence[Pod]:
        return (POD_A,)

    def subscribe(self, callback: object) -> object:
        return lambda: None


@pytest.mark.parametrize(("locator", "ids"), [(StaticPodLocator([POD_A]), 100_000), (Unkeyed(), 20_000)])
def test_c7_ids_that_change_with_every_request_leave_bounded_memory(locator: PodLocator, ids: int) -> None:
    """However many flow ids pass by, at once or through the queue, flows and lanes stay within their bounds."""
    core = Core(FlowControlConfig(max_flows=500), locator=locator, detector=ConcurrencyDetector(4))
    for number in range(ids):
        result = core.submit(Request(f"id-{number}", number % 3), float(number))
        assert isinstance(result, Ticket)
        result.release()
    assert core.stats().flows <= 500 + 3
    assert core.lanes <= 2_000
    assert core.pods == 1
    # And again where each of them waits, and is cancelled.
    holders = [core.submit(Request("holder"), 100_000.0) for _ in range(4)]
    for number in range(ids // 5):
        core.cancel(core.wait(Request(f"waiting-{number}", number % 3, ttl=30.0), 100_000.0), 100_000.0)
    assert core.stats().flows <= 500 + 3
    assert core.lanes <= 2_000
    assert core.deadlines <= 200
    for holder in holders:
        assert isinstance(holder, Ticket)
        holder.release()
    assert (core.stats().queued_requests, core.stats().in_flight) == (0, 0)


def test_c7_priorities_that_change_with_every_request_leave_bounded_memory() -> None:
    """Clients may choose priorities too: bands beyond the bound go as they come, and what waits is still served."""
    config = FlowControlConfig(bands=[PriorityBandConfig(1_000_000)], max_bands=5)
    core, locator = core_of(config)
    for priority in (1_000_000, -5):
        core.wait(Request("a", priority))
    for number in range(2_000):
        core.cancel(core.wait(Request("a", number)))
    assert len(core.stats().bands) <= 5
    locator.set_pods([POD_A])
    core.serve_all()
    assert (core.stats().queued_requests, core.stats().in_flight) == (0, 0)


def test_c7_idle_flows_make_room_for_new_ids() -> None:
    """At the bound the longest idle flow goes, so new ids have flows, and turns, of their own."""
    core, locator = core_of(FlowControlConfig(max_flows=2), pods=[POD_A])
    for name in ("old-1", "old-2", "old-3"):
        ticket = core.submit(Request(name))
        assert isinstance(ticket, Ticket)
        ticket.release()
    assert core.stats().flows == 2
    locator.set_pods([])
    items = [core.wait(Request(name)) for name in ("c", "c", "d", "d")]
    assert core.stats().flows == 2
    locator.set_pods([POD_A])
    for served in (0, 2, 1, 3):  # by turns: they do not share the overflow flow
        core.processor.advance(0.0)
        ticket = items[served].result
        assert isinstance(ticket, Ticket)
        ticket.release()
    assert core.stats().in_flight == 0


def test_c7_ids_beyond_the_bound_share_one_flow() -> None:
    """When no flow is idle, new ids share the band's overflow flow: they are served, and cost no more memory."""
    core, locator = core_of(FlowControlConfig(max_flows=10))
    items = [core.wait(Request(f"id-{number}")) for number in range(1_000)]
    assert core.stats().flows == 11
    locator.set_pods([POD_A])
    core.serve_all()
    assert all(isinstance(item.result, Ticket) for item in items)
    assert core.stats().in_flight == 0


def test_c7_requests_that_left_are_not_held() -> None:
    """Whoever is done is garbage: neither deadlines, lanes, queues nor fairness hold a request that left."""

    class Counted(Request):
        __slots__ = ("__weakref__",)

    core, locator = core_of(FlowControlConfig(bands=[PriorityBandConfig(0, max_requests=None)], default_ttl=1e6))
    alive: weakref.WeakSet[Counted] = weakref.WeakSet()

    def submit(number: int) -> None:
        request = Counted(f"flow-{number % 7}", number % 2, ttl=1e6 if number % 3 else None)
        alive.add(request)
        item = core.wait(request)
        if number % 2:
            core.cancel(item)

    for _ in range(3):
        for number in range(300):
            submit(number)
        locator.set_pods([POD_A])
        core.serve_all()
        locator.set_pods([])
    gc.collect()
    assert len(alive) == 0


@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize("pods", [1, 3])
def test_c7_thousands_of_requests_leave_nothing_in_the_indexes(pods: int, waits: bool) -> None:
    """After any number of requests, at once or through the queue, the core holds as many objects as before them."""
    core, _ = core_of(pods=[POD_A, POD_B, POD_C][:pods], slots=2)

    def serve(requests: int) -> int:
        for number in range(requests):
            tickets = [core.submit(Request("a", number % 3)) for _ in range(2 * pods if waits else 1)]
            if waits:
                core.wait(Request("a", number % 3))
            for ticket in tickets:
                assert isinstance(ticket, Ticket)
                ticket.release()
            core.serve_all()
        gc.collect()
        return len(gc.get_objects())

    before = serve(100)
    assert serve(2_000) - before < 100


async def test_c11_shedding_is_explicit() -> None:
    """A negative priority alone does not shed: what a band does with a request that cannot go is its mode."""
    for mode, outcome in (("queue", QueueOutcome.EVICTED_TTL), ("shed", QueueOutcome.REJECTED_SHED)):
        config = FlowControlConfig(bands=[PriorityBandConfig(-1, mode=mode)])  # type: ignore[arg-type]
        full = CallDetector(lambda pod, load: 1.0)
        async with FlowController(config, locator=StaticPodLocator([POD_A]), detector=full) as controller:
            assert await rejection(controller, Request("a", -1, ttl=1)) is outcome


async def test_c15_full_pods_hold_back_only_those_who_need_them() -> None:
    """Requests that can use another pod go past a blocked head, of their own flow and of higher bands alike."""
    locator = MapLocator(x=[POD_A], y=[POD_B])
    async with (
        FlowController(locator=locator, detector=ConcurrencyDetector(1)) as controller,
        anyio.create_task_group() as tasks,
    ):
        callers = Callers(tasks, controller)
        holder = await callers.start(Request("a", 1, metadata={"model": "x"}))
        blocked = await callers.start(Request("a", 1, metadata={"model": "x"}))
        passing = await callers.start(Request("a", 0, metadata={"model": "y"}))
        assert blocked.ended_at is None
        assert passing.ticket is not None
        assert holder.ticket is not None
        await callers.finish()


# -- and what follows from the one sentence


async def test_limits_bound_the_backlog_alone() -> None:
    """A limit of 0 still admits at once what a pod has room for; only what would wait is refused."""
    config = FlowControlConfig(bands=[PriorityBandConfig(0, max_requests=0, max_bytes=0)], max_requests=0, max_bytes=0)
    async with FlowController(config, locator=StaticPodLocator([POD_A]), detector=ConcurrencyDetector(2)) as controller:
        tickets = [await controller.enqueue_and_wait(Request("a", byte_size=5)) for _ in range(2)]
        assert await rejection(controller, Request("a")) is QueueOutcome.REJECTED_CAPACITY
        assert await rejection(controller, Request("a", byte_size=5)) is QueueOutcome.REJECTED_TOO_LARGE
        for ticket in tickets:
            ticket.release()
        (await controller.enqueue_and_wait(Request("a", byte_size=5))).release()
        assert_idle(controller)


async def test_a_lane_of_one_flow_and_a_lane_of_ten_share_a_pod_one_to_ten() -> None:
    """Lanes that share a pod divide it by their waiting flows; within each, flows take turns; nobody starves."""
    locator, recorder = MapLocator(one=[POD_A], ten=[POD_A]), Recorder()
    async with (
        FlowController(locator=locator, detector=ConcurrencyDetector(1), observers=[recorder]) as controller,
        anyio.create_task_group() as tasks,
    ):
        callers = Callers(tasks, controller)
        holder = await callers.start(Request("holder", metadata={"model": "one"}))
        for _ in range(30):
            for flow in range(10):
                callers.begin(Request(f"ten-{flow}", metadata={"model": "ten"}))
            callers.begin(Request("one", metadata={"model": "one"}))
        await settle()
        holder.release()
        for _ in range(220):
            await settle(6)
            ticket = recorder.of("dispatched")[-1].ticket
            next(caller for caller in callers.all if caller.ticket is ticket).release()
        await settle(6)
        order = [event.flow_key.id for event in recorder.of("dispatched")[1:221]]
        share = Counter(order)
        assert share["one"] == pytest.approx(20, abs=1)
        assert all(share[f"ten-{flow}"] == pytest.approx(20, abs=1) for flow in range(10))
        turns = [place for place, flow in enumerate(order) if flow == "one"]
        assert max(later - earlier for earlier, later in itertools.pairwise(turns)) <= 12
        tasks.cancel_scope.cancel()


async def test_hol_scope_pool_holds_lower_bands_back() -> None:
    """With hol_scope="pool" only the highest band that waits is served, though it may have no candidates at all."""
    locator = MapLocator(x=[], y=[POD_A], z=[POD_B])
    config = FlowControlConfig(hol_scope="pool")
    async with (
        FlowController(config, locator=locator, detector=ConcurrencyDetector(1)) as controller,
        anyio.create_task_group() as tasks,
    ):
        callers = Callers(tasks, controller)
        (await controller.enqueue_and_wait(Request("a", metadata={"model": "y"}))).release()
        head = await callers.start(Request("a", 2, metadata={"model": "x"}))
        low = await callers.start(Request("a", 0, metadata={"model": "y"}))
        equal = await callers.start(Request("a", 2, metadata={"model": "z"}))
        # Lanes of the same band do not block each other.
        assert equal.ticket is not None
        assert low.ended_at is None
        await anyio.sleep(1)
        head.cancel()
        await settle()
        assert low.ended_at == 1
        await callers.finish()
        assert_idle(controller)


@pytest.mark.parametrize("way_out", ["dispatch", "expire", "refresh"])
async def test_hol_scope_pool_goes_on_when_the_highest_band_is_gone(way_out: str) -> None:
    """Whatever way the last of the highest band leaves, the next band is served at that instant."""
    locator = MapLocator(x=[], y=[POD_A], z=[POD_B])
    config = FlowControlConfig(hol_scope="pool")
    async with (
        FlowController(config, locator=locator, detector=ConcurrencyDetector(1)) as controller,
        anyio.create_task_group() as tasks,
    ):
        callers = Callers(tasks, controller)
        metadata: dict[str, object] = {"model": "x"}
        head = await callers.start(Request("a", 1, ttl=2, metadata=metadata))
        low = await callers.start(Request("a", 0, metadata={"model": "y"}))
        await anyio.sleep(1)
        assert low.ended_at is None
        match way_out:
            case "dispatch":
                locator.set(x=[POD_B])
            case "refresh":
                metadata["model"] = "z"
                controller.refresh(head.request)
        await anyio.sleep(2)
        assert low.ended_at == (2 if way_out == "expire" else 1)
        await callers.finish()
        assert_idle(controller)


async def test_a_usage_limit_holds_lower_bands_back_and_lets_them_go_again() -> None:
    """A band below its ceiling goes; one above it waits though the pod has room; idle bands hold nobody back."""

    class HoldBack:
        """Every band but the highest that waits may fill a pod to a half."""

        def ceilings(self, saturation: float, priorities: Sequence[int]) -> Sequence[float]:
            return [1.0, *[0.5] * (len(priorities) - 1)]

    async with (
        FlowController(
            locator=StaticPodLocator([POD_A]), detector=ConcurrencyDetector(4), usage_limit=HoldBack()
        ) as controller,
        anyio.create_task_group() as tasks,
    ):
        callers = Callers(tasks, controller)
        # Alone, the low band is the highest that waits: it may use all.
        held = [await callers.start(Request("low", -1)) for _ in range(4)]
        assert controller.stats().in_flight == 4
        low = await callers.start(Request("low", -1))
        high = await callers.start(Request("high", 1))
        for caller in held[:2]:
            caller.release()
            await settle()
        # Two are out, one of them high: the low one has the rest once no higher band waits.
        assert high.ticket is not None
        assert low.ticket is not None
        await callers.finish()
        assert_idle(controller)
