"""The engine's rare branches: each is a promise that somebody may rely on one day."""

import enum
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import anyio
import pytest

from flowgate import FlowControlConfig, FlowControlError, FlowController, PriorityBandConfig, QueueOutcome, Ticket
from flowgate.contracts import Dropped, ItemComparator, Pod, PodLoad, PodMetrics, QueueCapability
from flowgate.items import Item
from flowgate.locators import StaticPodLocator
from flowgate.policies import BestHead, EarliestDeadlineFirst, Fcfs, RoundRobin
from flowgate.processor import ShardProcessor
from flowgate.queues import ListQueue
from flowgate.requests import Request
from flowgate.saturation import ConcurrencyDetector

POD = Pod("a", "10.0.0.1", 80)


class ByName:
    """A locator that announces, with a lane for each ``metadata["at"]``, and pods by name."""

    def __init__(self, *pods: Pod) -> None:
        self.pods = pods
        self.announce: Any = None

    def locate(self, metadata: Mapping[str, object]) -> Sequence[Pod]:
        wanted = metadata.get("at")
        return [pod for pod in self.pods if wanted is None or pod.name in str(wanted)]

    def selection_key(self, metadata: Mapping[str, object]) -> object:
        return metadata.get("at")

    def subscribe(self, callback: Any) -> Any:
        self.announce = callback
        return lambda: None


class Keyless(ByName):
    """The same without names for lanes: each flow is a lane of its own."""

    selection_key = None  # type: ignore[assignment]


def processor(locator: Any, detector: Any = None, **bands: Any) -> ShardProcessor:
    config = FlowControlConfig([PriorityBandConfig(0, **bands)], default_ttl=math.inf)
    return ShardProcessor(config, locator=locator, detector=detector or ConcurrencyDetector(1))


def wait(core: ShardProcessor, flow: str = "a", **request: Any) -> Item:
    item = core.submit(Request(flow, **request), 0.0)
    assert isinstance(item, Item)
    return item


def settle(core: ShardProcessor, now: float = 0.0) -> None:
    while core.pending:
        core.advance(now)


def finish(core: ShardProcessor, items: Iterable[object]) -> None:
    """Release whatever was dispatched, until nobody waits; everybody has gone then."""
    left = list(items)
    while left:
        settle(core)
        gone = [item for item in left if isinstance(getattr(item, "result", item), Ticket)]
        assert gone, f"{left} wait for ever"
        for item in gone:
            left.remove(item)
            getattr(item, "result", item).release()
    assert core.stats().in_flight == core.stats().queued_requests == 0


def test_every_record_of_the_engine_says_what_it_is_in_one_line() -> None:
    """A repr names the thing and its state, and does not print half the engine with it."""
    core = processor(StaticPodLocator())
    item = wait(core)
    (lane,) = core.shard.lanes.waiting
    (group,) = lane.groups.values()
    things = [item, item.queue, item.queue.flow, group, group.band, lane, Request("a")]
    core.shard.pods.see(POD)
    things.append(core.shard.pods.see(POD))
    core.close(0.0)
    things.append(item)
    for thing in things:
        assert "\n" not in repr(thing)
        assert len(repr(thing)) < 120
    assert item.outcome is QueueOutcome.EVICTED_SHUTDOWN


def test_lanes_that_cannot_be_compared_take_turns_instead() -> None:
    """Best heads of two lanes whose keys do not compare are a failure of the policy, and both lanes are served."""

    class Odd(Fcfs):
        @property
        def comparator(self) -> ItemComparator:
            return ItemComparator(object, key=lambda item: item.request.get_metadata()["key"])

    pod = Pod("ab", "10.0.0.1", 80)
    locator = ByName()
    core = processor(locator, dispatch=Odd(), fairness=BestHead(), queue=ListQueue)
    items = [wait(core, metadata={"at": "a", "key": 1}), wait(core, "b", metadata={"at": "b", "key": "x"})]
    locator.pods = (pod,)
    locator.locate = lambda metadata: [pod]  # type: ignore[method-assign]
    locator.announce()
    finish(core, items)
    assert core.ledger.failures["fairness policy", "best-head"] >= 1


def test_a_lane_of_many_pods_that_is_idle_is_no_rival() -> None:
    """It stays known to its pods, and the slot goes to whoever waits."""
    pods = [Pod(f"p{number}", f"10.0.0.{number}", 80) for number in range(1, 21)]
    locator = ByName(*pods)
    core = processor(locator)
    held = [core.submit(Request("a"), 0.0) for _ in pods]
    many = wait(core)
    core.cancel(many, 0.0)
    one = wait(core, "b", metadata={"at": "p1"})
    finish(core, [*held, one])


def test_a_choice_of_somebody_who_does_not_wait_is_a_failure_and_somebody_goes() -> None:
    """A fairness or dispatch policy that names a stranger is done without."""

    class Strange(RoundRobin):
        def new_group(self) -> Any:
            group = super().new_group()
            return type("Group", (), {name: getattr(group, name) for name in told} | {"select": lambda _self: None})()

    class Stranger(Fcfs):
        def select_item(self, queue: Any) -> Any:
            return None

    told = ("activated", "head_changed", "charged", "settled", "emptied")
    locator = StaticPodLocator()
    core = processor(locator, dispatch=Stranger(), fairness=Strange())
    items = [wait(core, flow) for flow in "ab"]
    locator.set_pods([POD])
    finish(core, items)
    assert core.ledger.failures["fairness policy", "round-robin"] >= 1
    assert core.ledger.failures["dispatch policy", "fcfs"] == 2


def test_a_failed_policy_takes_over_again_when_it_can() -> None:
    """After poll_interval a fresh state is tried, and told of the flows that wait."""

    class Once(RoundRobin):
        made = 0

        def new_group(self) -> Any:
            type(self).made += 1
            if self.made == 1:
                raise RuntimeError("not yet")
            return super().new_group()

    locator = StaticPodLocator()
    core = processor(locator, fairness=Once())
    items = [wait(core, flow) for flow in "aab"]
    locator.set_pods([POD])
    settle(core, 1.0)
    assert Once.made == 2
    finish(core, items)


def test_a_policy_that_fails_when_told_is_done_without() -> None:
    """Neither a removal nor a request that did not wait is lost with it."""

    class Deaf(RoundRobin):
        memoryless = False

        def new_group(self) -> Any:
            group: Any = super().new_group()

            class Group:
                activated, head_changed, select = group.activated, group.head_changed, group.select

                def charged(self, flow: object, item: object) -> None:
                    raise RuntimeError("what?")

                emptied = charged

            return Group()

    locator = StaticPodLocator([POD])
    core = processor(locator, ConcurrencyDetector(2), fairness=Deaf())
    held = [core.submit(Request("a"), 0.0), core.submit(Request("a"), 0.0)]
    items = [wait(core, flow) for flow in "aab"]
    first = held.pop()
    assert isinstance(first, Ticket)
    first.release()
    settle(core, 1.0)
    assert core.ledger.failures["fairness policy", "round-robin"] == 2
    finish(core, [*held, *items])


class Blunt(ListQueue):
    """A queue that takes nothing of size 13, and compares keys."""

    capabilities = frozenset({QueueCapability.FIFO, QueueCapability.PRIORITY})

    def add(self, item: Any) -> None:
        if item.byte_size == 13:
            raise LookupError("unlucky")
        if isinstance(item.score, str):
            raise TypeError("text does not compare with the rest")
        super().add(item)


def test_keys_that_do_not_compare_put_the_item_last_and_name_the_policy() -> None:
    """The dispatch policy is to blame, and nothing is lost."""

    class Mixed(Fcfs):
        @property
        def comparator(self) -> ItemComparator:
            return ItemComparator(object, key=lambda item: item.request.get_metadata()["key"])

    locator = StaticPodLocator()
    core = processor(locator, dispatch=Mixed(), queue=Blunt)
    items = [wait(core, metadata={"key": 1}), wait(core, metadata={"key": "x"})]
    assert core.ledger.failures == {("dispatch policy", "fcfs"): 1}
    locator.set_pods([POD])
    finish(core, items)


def test_a_queue_that_takes_nothing_is_to_blame_itself() -> None:
    """Where it refuses an item that has no key either, the request is invalid, and the reason is chained."""

    class Keyless(Fcfs):
        @property
        def comparator(self) -> ItemComparator:
            return ItemComparator(float, key=lambda _item: math.nan)

    core = processor(StaticPodLocator(), dispatch=Keyless(), queue=Blunt)
    dropped = core.submit(Request("a", byte_size=13), 0.0)
    assert isinstance(dropped, Dropped)
    assert dropped.outcome is QueueOutcome.REJECTED_INVALID
    assert isinstance(dropped.cause, LookupError)


class Fading:
    """A request whose metadata cannot be read a second time."""

    def __init__(self, flow: str, at: str) -> None:
        self._request = Request(flow, metadata={"at": at})
        self.reads = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._request, name)

    def get_metadata(self) -> Mapping[str, object]:
        self.reads += 1
        if self.reads > 1:
            raise RuntimeError("gone")
        return self._request.get_metadata()


@pytest.mark.parametrize("locator_type", [ByName, Keyless])
def test_metadata_that_can_be_read_no_more_sends_nobody_to_a_strangers_pods(locator_type: type[ByName]) -> None:
    """The request keeps the candidates that it had, or waits; its place is free when its caller leaves."""
    locator = locator_type()
    core = processor(locator)
    items = [core.submit(Fading("a", at), 0.0) for at in ("a", "a")]  # type: ignore[arg-type]
    locator.pods = (POD,)
    locator.announce()
    settle(core)
    assert core.ledger.failures["request", "Fading"] >= 1
    for item in items:
        assert isinstance(item, Item)
        assert item.result is None
        core.cancel(item, 0.0)
    assert core.stats().queued_requests == 0


def test_the_place_of_a_request_whose_candidates_are_unknown_is_not_taken_by_a_guess() -> None:
    """In a lane of one flow, a pod that is open for who left says nothing of those who stay."""
    locator = Keyless(POD)
    core = processor(locator)
    held = core.submit(Request("a"), 0.0)
    first = wait(core, metadata={"at": "a"})
    second = core.submit(Fading("a", "a"), 0.0)  # type: ignore[arg-type]
    assert isinstance(second, Item)
    core.cancel(first, 0.0)
    assert isinstance(held, Ticket)
    held.release()
    settle(core)
    assert second.result is None
    core.close(0.0)
    assert second.outcome is not None


def test_the_newer_of_two_records_of_a_pod_is_kept() -> None:
    """Older metrics, or none, do not replace newer ones."""
    core = processor(StaticPodLocator())

    def at(time: float | None) -> Pod:
        metrics = None if time is None else PodMetrics(0, 0, 0.0, updated_at=time)
        return Pod("a", "10.0.0.1", 80, metrics=metrics)

    state = core.shard.pods.see(at(2.0))
    for older in (at(1.0), at(None)):
        core.shard.pods.see(older)
        assert state.pod.metrics == at(2.0).metrics
    core.shard.pods.see(at(3.0))
    assert state.pod.metrics == at(3.0).metrics


def test_a_whole_number_is_a_saturation_and_a_size_may_be_a_subclass_of_int() -> None:
    """What is a number by its value is taken as one."""

    class Idle:
        def saturation(self, pod: Pod, load: PodLoad) -> int:
            return load.in_flight

    class Size(enum.IntEnum):
        SMALL = 3

    core = processor(StaticPodLocator([POD]), Idle())
    ticket = core.submit(Request("a", byte_size=Size.SMALL), 0.0)
    assert isinstance(ticket, Ticket)
    ticket.release()


def test_a_ticket_that_reports_to_the_processor_itself_may_be_assigned_and_lost() -> None:
    """Without a shell the charge is still taken back, in the next step."""
    core = processor(StaticPodLocator([POD]))
    ticket = core.submit(Request("a"), 0.0)
    assert isinstance(ticket, Ticket)
    ticket.assign(Pod("b", "10.0.0.2", 80))
    assert core.stats().overcommitted == 1
    core.ledger.events.clear()
    with pytest.warns(ResourceWarning, match="never released"):
        del ticket
    settle(core)
    assert core.stats().in_flight == 0


def test_pods_are_forgotten_when_lanes_name_others_and_shares_with_them() -> None:
    """How far a lane was served on a pod that it names no longer is nobody's memory."""
    first, second = Pod("ab", "10.0.0.1", 80), Pod("abx", "10.0.0.2", 80)
    locator = ByName(first)
    core = processor(locator)
    held = core.submit(Request("a"), 0.0)
    assert isinstance(held, Ticket)
    items = [wait(core, flow, metadata={"at": at}) for at in ("ab", "ab ") for flow in "xyz"]
    held.release()
    settle(core)
    locator.pods = (second,)
    locator.locate = lambda metadata: list(locator.pods)  # type: ignore[method-assign]
    locator.announce()
    settle(core)
    lanes = core.shard.lanes.waiting
    assert all(state.pod == second for lane in lanes for group in lane.groups.values() for state in group.served)
    finish(core, items)


def test_a_bound_clock_stands_at_zero_before_the_controller_is_entered() -> None:
    """A plug-in may look at its clock as soon as it has one."""
    seen: list[float] = []

    class Clocked(StaticPodLocator):
        def bind(self, clock: Any) -> None:
            seen.append(clock())

    FlowController(locator=Clocked(), detector=ConcurrencyDetector(1))
    assert seen == [0.0]


@pytest.mark.anyio
async def test_a_turn_that_was_planned_before_the_controller_closed_does_nothing() -> None:
    """Closing in the same turn of the loop as a change: everybody is evicted once, and nothing runs afterwards."""
    locator = StaticPodLocator()
    errors: list[FlowControlError] = []
    async with FlowController(locator=locator, detector=ConcurrencyDetector(1)) as controller:

        async def ask() -> None:
            try:
                await controller.enqueue_and_wait(Request("a"))
            except FlowControlError as error:
                errors.append(error)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            await anyio.wait_all_tasks_blocked()
            locator.set_pods([POD])
            await controller.aclose()
    assert [error.outcome for error in errors] == [QueueOutcome.EVICTED_SHUTDOWN]


@pytest.mark.anyio
async def test_a_request_that_ends_before_its_caller_parks_ends_all_the_same() -> None:
    """An observer that closes the controller when a request is queued evicts that very request."""
    errors: list[QueueOutcome] = []

    class Closing:
        def on_enqueued(self, _event: object) -> None:
            controller._close()

    async with FlowController(
        locator=StaticPodLocator(), detector=ConcurrencyDetector(1), observers=[Closing()]
    ) as controller:
        try:
            await controller.enqueue_and_wait(Request("a"))
        except FlowControlError as error:
            errors.append(error.outcome)
    assert errors == [QueueOutcome.EVICTED_SHUTDOWN]


def test_flows_that_shared_the_overflow_flow_are_collected_with_it() -> None:
    """A table that is full gets room again, and the overflow flow goes when it is idle."""
    config = FlowControlConfig(max_flows=1, default_ttl=math.inf)
    core = ShardProcessor(config, locator=StaticPodLocator(), detector=ConcurrencyDetector(1))
    kept, shared = wait(core, "kept"), wait(core, "shared")
    assert core.stats().flows == 2
    core.cancel(shared, 0.0)
    core.cancel(kept, 0.0)
    other = wait(core, "other")
    assert core.stats().flows == 1
    core.cancel(other, 0.0)


def test_edf_falls_back_to_arrival_order_where_it_fails() -> None:
    """The item that came first goes, whatever the queue's order."""

    class Fails(EarliestDeadlineFirst):
        def select_item(self, queue: Any) -> Any:
            raise RuntimeError("no")

    locator = StaticPodLocator()
    core = processor(locator, dispatch=Fails())
    items = [wait(core, ttl=9.0), wait(core, ttl=1.0)]
    locator.set_pods([POD])
    settle(core)
    assert isinstance(items[0].result, Ticket)
    finish(core, items)


def test_a_large_lane_comes_and_goes_and_is_forgotten_with_the_idle_longest() -> None:
    """Lanes of many pods stay known to them between waits, and leave nothing behind once they are forgotten."""
    pods = [Pod(f"p{number:02}", f"10.0.0.{number}", 80) for number in range(1, 31)]
    locator = ByName(*pods)
    core = processor(locator, max_requests=None)
    held = [core.submit(Request("a"), 0.0) for _ in pods]
    for _ in range(2):
        core.cancel(wait(core), 0.0)
    assert all(len(core.shard.pods.see(pod).lanes) == 1 for pod in pods)
    others = [wait(core, metadata={"at": f"nowhere {number}"}) for number in range(1_030)]
    for item in others:
        core.cancel(item, 0.0)
    core.cancel(wait(core, metadata={"at": "elsewhere"}), 0.0)
    assert all(not core.shard.pods.see(pod).lanes for pod in pods)
    finish(core, held)


def test_lower_bands_of_other_lanes_are_no_rivals() -> None:
    """The highest band that waits for the pod goes, in whichever lane and order the lanes came."""
    locator = ByName(POD)
    config = FlowControlConfig(default_ttl=math.inf)
    core = ShardProcessor(config, locator=locator, detector=ConcurrencyDetector(1))
    held = core.submit(Request("a"), 0.0)
    assert isinstance(held, Ticket)
    low, high, lowest = (wait(core, priority=p, metadata={"at": f"a{p}"}) for p in (0, 1, -1))
    held.release()
    settle(core)
    assert [item.result is None for item in (low, high, lowest)] == [True, False, True]
    finish(core, [high, low, lowest])


def test_a_pod_that_changes_while_the_pass_looks_at_others_is_looked_at_again() -> None:
    """What was read of a pod is not believed any more when the locator tells of newer metrics in the same pass."""

    class Fresher(Keyless):
        """Each answer tells of newer metrics, and of fuller pods."""

        answers = 0

        def locate(self, metadata: Mapping[str, object]) -> Sequence[Pod]:
            self.answers += 1
            metrics = PodMetrics(self.answers, 0, 0.0, updated_at=float(self.answers))
            return [Pod(pod.name, pod.address, pod.port, metrics=metrics) for pod in super().locate(metadata)]

    class ByWaiting:
        def saturation(self, pod: Pod, load: PodLoad) -> float:
            assert pod.metrics is not None
            return pod.metrics.waiting / 1_000 + load.in_flight / 4

        def subscribe(self, callback: object) -> Any:
            return lambda: None

    locator = Fresher()
    core = processor(locator, ByWaiting())
    items = [wait(core, flow, metadata={"at": at}) for flow, at in zip("wwxxyyzz", "abbaabba", strict=True)]
    locator.pods = (POD, Pod("b", "10.0.0.2", 80))
    locator.announce()
    settle(core)
    assert core.stats().in_flight == 8
    finish(core, items)


def test_a_view_of_a_flow_tells_its_bytes_and_both_ends() -> None:
    """What a fairness policy may look at is there."""
    core = processor(StaticPodLocator())
    first, last = wait(core, byte_size=3), wait(core, byte_size=4)
    view = first.queue
    assert (view.byte_size, view.head, view.tail, len(view)) == (7, first, last, 2)
    core.close(0.0)


def test_records_of_pods_refuse_what_is_no_number_and_take_brackets_off() -> None:
    """An address has one form, and metrics are numbers."""
    assert Pod("a", "[fd00::1]", 80) == Pod("a", "fd00::1", 80)
    with pytest.raises(TypeError, match="updated_at must be a number, not 'now'"):
        PodMetrics(0, 0, 0.0, updated_at="now")  # type: ignore[arg-type]


def test_a_ticket_of_the_bare_core_knows_which_candidates_are_open() -> None:
    """Without a shell around it, too; nothing is marked or read for that."""
    core = processor(StaticPodLocator([POD, Pod("other", "10.0.0.9", 80)]))
    one, two = core.submit(Request("a"), 0.0), core.submit(Request("b"), 0.0)
    assert isinstance(one, Ticket)
    assert isinstance(two, Ticket)
    assert one.open_candidates() == (one.pod,)
    two.release()
    assert one.open_candidates() == (one.pod, two.pod)
    one.release()


def test_budgets_that_shrink_again_and_again_leave_nothing_behind() -> None:
    """Each makes the lane's deadline void, and one more comes: those that are void are swept up."""
    config = FlowControlConfig(default_ttl=3_000.0)
    core = ShardProcessor(config, locator=StaticPodLocator([POD]), detector=ConcurrencyDetector(1))
    held = core.submit(Request("a"), 0.0)
    assert isinstance(held, Ticket)
    item = wait(core)
    for number in range(1_000):
        core.reconfigure(FlowControlConfig(default_ttl=2_000.0 - number), 0.0)
        assert len(core.shard.deadlines) < 200
    assert core.next_due == 1_001.0
    core.advance(1_001.0)
    assert item.outcome is QueueOutcome.EVICTED_TTL
    held.release()
