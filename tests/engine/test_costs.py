"""What policies and detectors are told besides who waits: costs, settlements, the time, and how requests fared."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import anyio
import pytest

from flowgate import (
    FlowControlConfig,
    FlowController,
    FlowKey,
    Pod,
    PodLoad,
    PriorityBandConfig,
    QueueOutcome,
    Request,
    Ticket,
)
from flowgate.admission import LegacyAdmissionController
from flowgate.contracts import Dropped, FlowQueueView, ItemComparator, PluginFailed, QueueItem
from flowgate.items import Item
from flowgate.locators import StaticPodLocator
from flowgate.policies import Fcfs, RoundRobin
from flowgate.processor import ShardProcessor
from flowgate.queues import ListQueue
from flowgate.saturation import ConcurrencyDetector

POD = Pod("a", "10.0.0.1", 80)
OTHER = Pod("b", "10.0.0.2", 80)


class Ledger:
    """A fairness policy that writes down what it is told, and charges what a test says."""

    name = "ledger"

    def __init__(self, cost: Any = None) -> None:
        self.cost = cost
        self.told: list[tuple[Any, ...]] = []
        self.fails_to_settle = False

    def cost_of(self, item: QueueItem) -> float:
        if isinstance(self.cost, Exception):
            raise self.cost
        return item.byte_size if self.cost is None else self.cost

    def new_group(self) -> Any:
        return _Group(self)


class _Group:
    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.flows: dict[FlowQueueView, None] = {}

    def activated(self, flow: FlowQueueView) -> None:
        self.flows[flow] = None

    def head_changed(self, flow: FlowQueueView) -> None: ...

    def charged(self, flow: FlowQueueView, item: QueueItem) -> None:
        self.ledger.told.append(("charged", flow.flow_key.id, item.cost, flow in self.flows))

    def settled(self, flow: FlowQueueView, delta: float) -> None:
        if self.ledger.fails_to_settle:
            raise RuntimeError("no pen")
        self.ledger.told.append(("settled", flow.flow_key.id, delta, flow in self.flows))

    def emptied(self, flow: FlowQueueView) -> None:
        del self.flows[flow]

    def select(self) -> FlowQueueView:
        return next(iter(self.flows))


def core(fairness: Any = None, pods: Sequence[Pod] = (POD,), detector: Any = None, **band: Any) -> ShardProcessor:
    config = FlowControlConfig([PriorityBandConfig(0, fairness=fairness or RoundRobin(), **band)], default_ttl=math.inf)
    return ShardProcessor(config, locator=StaticPodLocator(pods), detector=detector or ConcurrencyDetector(1))


def go(processor: ShardProcessor, flow: str, size: int = 1, now: float = 0.0) -> Ticket:
    ticket = processor.submit(Request(flow, byte_size=size), now)
    assert isinstance(ticket, Ticket)
    return ticket


def wait(processor: ShardProcessor, flow: str, size: int = 1) -> Item:
    item = processor.submit(Request(flow, byte_size=size), 0.0)
    assert isinstance(item, Item)
    return item


def ticket_of(item: Item) -> Ticket:
    assert isinstance(item.result, Ticket)
    return item.result


def failures(processor: ShardProcessor) -> list[str]:
    return [str(event.error) for event in processor.ledger.events if isinstance(event, PluginFailed)]


# -- costs


def test_an_item_costs_what_its_fairness_policy_says_and_at_least_one() -> None:
    """Asked once for each: at enqueue, or at a dispatch without waiting."""
    ledger = Ledger()
    processor = core(ledger)
    first = go(processor, "a", size=7)
    items = [wait(processor, "b", size=0), wait(processor, "b", size=5)]
    assert [item.cost for item in items] == [1, 5]
    first.release()
    processor.advance(0.0)
    ticket_of(items[0]).release()
    processor.advance(0.0)
    assert ledger.told == [("charged", "a", 7, False), ("charged", "b", 1, True), ("charged", "b", 5, True)]
    ticket_of(items[1]).release()


def test_where_requests_are_counted_each_costs_one() -> None:
    """Round robin never asks what they cost."""
    processor = core()
    ticket = go(processor, "a")
    assert wait(processor, "a", size=500).cost == 1
    ticket.release()


@pytest.mark.parametrize("cost", [math.nan, -1.0, math.inf, "much", ValueError("no idea")], ids=repr)
def test_a_cost_that_is_none_is_a_failure_and_bytes_count_instead(cost: Any) -> None:
    """The request is not lost, and the policy hears of it as of any other."""
    ledger = Ledger(cost)
    processor = core(ledger)
    ticket = go(processor, "a", size=9)
    assert ledger.told == [("charged", "a", 9, False)]
    (message,) = failures(processor)
    assert message == "no idea" or "cost_of()" in message or "not supported" in message
    ticket.release()


def test_another_policy_counts_in_its_own_unit() -> None:
    """A reconfiguration prices what waits anew."""
    processor = core()
    ticket = go(processor, "a")
    item = wait(processor, "a", size=30)
    processor.reconfigure(FlowControlConfig([PriorityBandConfig(0, fairness=Ledger())], default_ttl=math.inf), 0.0)
    assert item.cost == 30
    processor.reconfigure(FlowControlConfig([PriorityBandConfig(0)], default_ttl=math.inf), 0.0)
    assert item.cost == 1
    ticket.release()


# -- settlements


def test_a_settlement_tells_the_difference_and_the_last_word_holds() -> None:
    """More, then less, then the same: what was charged in the end is what was said last."""
    ledger = Ledger()
    ticket = go(core(ledger), "a", size=10)
    for cost in (25, 4.5, 4.5, 0):
        ticket.settle(cost)
    assert ledger.told[1:] == [
        ("settled", "a", 15, False),
        ("settled", "a", -20.5, False),
        ("settled", "a", -3.5, False),
    ]
    assert sum(delta for _, _, delta, _ in ledger.told) == 1
    ticket.release()


def test_a_settlement_names_the_flow_as_it_waits_now() -> None:
    """The view of a flow that waits again is the one that the group knows."""
    ledger = Ledger()
    processor = core(ledger)
    first = go(processor, "b")
    item = wait(processor, "a", size=10)
    first.release()
    processor.advance(0.0)
    wait(processor, "a")
    ticket_of(item).settle(11)
    assert ledger.told[-1] == ("settled", "a", 1, True)
    ticket_of(item).release()


def test_who_counts_requests_takes_no_notice_of_a_settlement() -> None:
    """Round robin, and the eager controller."""
    ticket = go(core(), "a")
    ticket.settle(1_000)
    ticket.release()


@pytest.mark.anyio
async def test_the_eager_controller_s_tickets_can_be_settled_too() -> None:
    """Code written for one admission controller works with the other."""
    controller = LegacyAdmissionController(StaticPodLocator([POD]), ConcurrencyDetector(1))
    with await controller.admit(Request("a")) as ticket:
        ticket.settle(5)


@pytest.mark.anyio
async def test_a_caller_settles_while_it_holds_its_ticket() -> None:
    """Through the front door."""
    ledger = Ledger()
    config = FlowControlConfig([PriorityBandConfig(0, fairness=ledger)])
    async with FlowController(config, locator=StaticPodLocator([POD]), detector=ConcurrencyDetector(1)) as controller:
        async with controller.admitted(Request("a", byte_size=3)) as ticket:
            ticket.settle(10)
        assert ledger.told == [("charged", "a", 3, False), ("settled", "a", 7, False)]
        with pytest.raises(RuntimeError, match="is released already"):
            ticket.settle(11)


@pytest.mark.parametrize(
    ("cost", "kind", "message"),
    [
        ("ten", TypeError, "a cost must be a number, not 'ten'"),
        (True, TypeError, "a cost must be a number, not True"),
        (-1, ValueError, "a cost must be finite and 0 or more, not -1"),
        (math.nan, ValueError, "a cost must be finite and 0 or more, not nan"),
        (math.inf, ValueError, "a cost must be finite and 0 or more, not inf"),
    ],
)
def test_a_settlement_of_nonsense_is_refused(cost: Any, kind: type[Exception], message: str) -> None:
    """The error names the value and the rule, and nothing is corrected."""
    ledger = Ledger()
    ticket = go(core(ledger), "a")
    with pytest.raises(kind, match=message):
        ticket.settle(cost)
    assert len(ledger.told) == 1
    ticket.release()


def test_a_policy_that_fails_to_settle_is_replaced_and_nothing_is_lost() -> None:
    """Its failure is told, the ticket can be released, and a fresh state takes over."""
    ledger = Ledger()
    processor = core(ledger)
    ticket = go(processor, "a")
    item = wait(processor, "b")
    ledger.fails_to_settle = True
    ticket.settle(5)
    assert failures(processor) == ["no pen"]
    ticket.settle(6)  # meanwhile nobody keeps books
    ticket.release()
    processor.advance(10.0)
    assert ledger.told[-1][:2] == ("charged", "b")
    ticket_of(item).release()


# -- the time


class Timed(Fcfs):
    """A policy that wants to know the time."""

    clock: Any = None

    def bind(self, clock: Any) -> None:
        object.__setattr__(self, "clock", clock)


def test_policies_that_want_the_time_get_the_controller_s() -> None:
    """Those of bands, of the template and of a new configuration: within a step it stands still."""
    policies = [Timed() for _ in range(3)]
    config = FlowControlConfig(
        [PriorityBandConfig(0, dispatch=policies[0])], default_band=PriorityBandConfig(0, dispatch=policies[1])
    )
    processor = ShardProcessor(config, locator=StaticPodLocator(), detector=ConcurrencyDetector(1))
    processor.advance(5.0)
    assert [policies[0].clock(), policies[1].clock()] == [5.0, 5.0]
    processor.reconfigure(FlowControlConfig([PriorityBandConfig(0, dispatch=policies[2])]), 6.0)
    assert policies[2].clock() == 6.0


def test_a_policy_that_cannot_take_the_clock_leaves_the_configuration_as_it_was() -> None:
    """A reconfiguration is taken over whole, or not at all."""

    class Clockless(Timed):
        def bind(self, clock: Any) -> None:
            raise RuntimeError("no clock")

    processor = core()
    before = processor.shard.config
    with pytest.raises(RuntimeError, match="no clock"):
        processor.reconfigure(FlowControlConfig([PriorityBandConfig(0, dispatch=Clockless())], default_ttl=1.0), 0.0)
    assert processor.shard.config is before
    assert processor.shard.registry.config is before


# -- weights


class Weigher(Ledger):
    """A fairness policy with weights, some of which cannot be told."""

    def weight_of(self, key: FlowKey) -> float:
        return {"gold": 4.0, "zero": 0.0, "nan": math.nan, "huge": 10**400}[key.id]  # type: ignore[return-value]


def test_a_flow_weighs_what_its_fairness_policy_says() -> None:
    """The policy reads it from the flow, and it was asked for once."""
    processor = core(Weigher())
    ticket = go(processor, "gold")
    assert wait(processor, "gold").queue.weight == 4.0
    ticket.release()
    assert failures(processor) == []


@pytest.mark.parametrize("flow", ["stranger", "zero", "nan", "huge"])
def test_a_weight_that_cannot_be_told_is_one_and_harms_no_other_flow(flow: str) -> None:
    """The failure is told, and the group goes on: an id that a client made up must not end fairness for all."""
    fairness = Weigher()
    processor = core(fairness)
    ticket = go(processor, "gold")
    items = [wait(processor, "gold"), wait(processor, flow)]
    assert [item.queue.weight for item in items] == [4.0, 1.0]
    assert len(failures(processor)) == 1
    assert items[0].queue.group.policy is not None
    ticket.release()
    processor.close(0.0)


# -- queues and requests that break the engine's trust


class Unruly(ListQueue):
    """A queue that fails where it is told to."""

    fails = ""

    def __init__(self, comparator: ItemComparator) -> None:
        if self.fails == "made":
            raise RuntimeError("unruly")
        super().__init__(comparator)

    def peek_head(self) -> QueueItem | None:
        if self.fails == "peek":
            raise RuntimeError("unruly")
        return super().peek_head()


def test_a_queue_that_cannot_show_its_head_takes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The request is refused whole: no count of it stays behind, and others go on."""
    processor = core(queue=Unruly)
    ticket = go(processor, "a")
    monkeypatch.setattr(Unruly, "fails", "peek")
    refused = processor.submit(Request("a"), 0.0)
    assert isinstance(refused, Dropped)
    assert refused.outcome is QueueOutcome.REJECTED_INVALID
    assert processor.stats().queued_requests == 0
    assert not processor.has_waiting
    monkeypatch.setattr(Unruly, "fails", "")
    item = wait(processor, "a")
    ticket.release()
    processor.advance(0.0)
    ticket_of(item).release()


def test_a_queue_that_cannot_be_made_costs_no_request_that_need_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is charged then, and the failure is told."""
    ledger = Ledger()
    processor = core(ledger, queue=Unruly)
    monkeypatch.setattr(Unruly, "fails", "made")
    ticket = go(processor, "a")
    assert failures(processor) == ["unruly"]
    assert ledger.told == []
    ticket.settle(5)
    ticket.release()


def test_a_group_that_hides_its_parts_costs_no_caller_its_outcome() -> None:
    """Whether it ranks is asked once, where it may fail."""

    class Hiding(_Group):
        def __getattr__(self, name: str) -> Any:
            raise KeyError(name)

    class Policy(Ledger):
        def new_group(self) -> Any:
            return Hiding(self)

    processor = core(Policy())
    ticket = go(processor, "a")
    item = processor.submit(Request("b", ttl=1.0), 0.0)
    assert isinstance(item, Item)
    processor.advance(1.0)
    assert item.outcome is QueueOutcome.EVICTED_TTL
    ticket.release()


@pytest.mark.parametrize(
    "values", [{"ttl": 10**400}, {"byte_size": 10**400}, {"byte_size": 2**63}], ids=["ttl", "size", "more than a word"]
)
def test_numbers_that_no_machine_can_hold_are_refused(values: dict[str, Any]) -> None:
    """JSON can carry them; they end at the constructor, and in a request of another class as invalid."""
    with pytest.raises(ValueError, match=r"ttl must be finite|byte_size must be 0 or more, and at most"):
        Request("a", **values)


def test_a_settlement_that_no_float_can_hold_is_refused() -> None:
    """As any that is not finite."""
    ticket = go(core(Ledger()), "a")
    with pytest.raises(ValueError, match="a cost must be finite"):
        ticket.settle(10**400)
    ticket.release()


# -- how requests fared


class Listener(ConcurrencyDetector):
    """A detector that hears of releases."""

    def __init__(self, limit: int = 2) -> None:
        super().__init__(limit)
        self.heard: list[tuple[Any, ...]] = []
        self.fails = False

    def released(self, pod: Pod, load: PodLoad, held: float, result: str) -> None:
        if self.fails:
            raise RuntimeError("deaf")
        self.heard.append((pod.name, load.in_flight, held, result))


def test_a_detector_hears_how_each_request_fared() -> None:
    """The pod charged last, its load with this ticket, how long it was held, and the result."""
    detector = Listener()
    processor = core(detector=detector, pods=(POD, OTHER))
    first, second, third = (go(processor, "a") for _ in range(3))
    assert first.pod is not None
    processor.advance(2.0)
    first.release("dropped")
    second.assign(POD)
    processor.advance(3.5)
    second.release("ignored")
    third.release()
    first.release()
    assert detector.heard == [("a", 2, 2.0, "dropped"), ("a", 2, 3.5, "ignored"), ("a", 1, 3.5, "ok")]


def test_a_ticket_without_a_pod_is_no_news_of_any() -> None:
    """Nothing is told of a request that had nowhere to go."""

    async def admit() -> None:
        detector = Listener()
        controller = LegacyAdmissionController(StaticPodLocator(), detector)
        (await controller.admit(Request("a"))).release()
        assert not detector.heard

    anyio.run(admit)


def test_a_detector_that_fails_to_hear_is_a_failure_of_its_own() -> None:
    """The slot comes back all the same, and the pod is asked for again."""
    detector = Listener(1)
    processor = core(detector=detector)
    ticket = go(processor, "a")
    item = wait(processor, "b")
    detector.fails = True
    ticket.release()
    processor.advance(0.0)
    assert failures(processor) == ["deaf"]
    detector.fails = False
    ticket_of(item).release()


@pytest.mark.anyio
async def test_the_eager_controller_s_detector_learns_as_well() -> None:
    """With the seconds for which the ticket was held."""
    detector = Listener()
    controller = LegacyAdmissionController(StaticPodLocator([POD]), detector)
    with await controller.admit(Request("a")):
        await anyio.sleep(1.5)
    assert detector.heard == [("a", 1, 1.5, "ok")]


# -- requests that do not say where they may go


class Fickle(Request):
    """A request whose metadata can be read until it cannot."""

    is_broken = False

    def get_metadata(self) -> Mapping[str, object]:
        if self.is_broken:
            raise RuntimeError("gone")
        return super().get_metadata()


class Keyless:
    """A locator that names no lanes, so that each flow is one."""

    def locate(self, metadata: Mapping[str, object]) -> Sequence[Pod]:
        return (POD,)


def test_a_flow_whose_requests_cannot_be_read_holds_no_pod_that_others_wait_for() -> None:
    """In a lane of its own, with metadata that fails while it waits: it has no candidates until it can be read."""
    config = FlowControlConfig([PriorityBandConfig(0), PriorityBandConfig(5)], default_ttl=math.inf)
    processor = ShardProcessor(config, locator=Keyless(), detector=ConcurrencyDetector(1))
    holder = go(processor, "holder")
    broken = Fickle("broken", priority=5)
    first = processor.submit(broken, 0.0)
    second = wait(processor, "waits")
    assert isinstance(first, Item)
    broken.is_broken = True
    processor.notify(0.0)
    holder.release()
    processor.advance(0.0)
    assert first.result is None
    ticket_of(second).release()
    processor.advance(1.0)
    assert first.result is None
    broken.is_broken = False
    processor.advance(2.0)
    ticket_of(first).release()
