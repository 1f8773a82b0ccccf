"""Pods that come and go: lanes follow what the locator tells, and look at nothing else."""

import math
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any

import attrs
import pytest

from flowgate import FlowControlConfig, Pod, PodMetrics, PriorityBandConfig, QueueOutcome, Request
from flowgate.contracts import PodLoad
from flowgate.items import Item
from flowgate.processor import ShardProcessor
from flowgate.saturation import ConcurrencyDetector, UtilizationDetector
from flowgate.ticket import Ticket
from tests.locators.test_changes import TellingLocator

CONFIG = FlowControlConfig([PriorityBandConfig(0)], default_ttl=math.inf, poll_interval=1.0)


def pod(number: int) -> Pod:
    return Pod(f"p{number}", f"10.0.{number // 250}.{number % 250 + 1}", 8000)


class World:
    """A processor over pods that tell of themselves; each holds one request."""

    def __init__(self, pods: Sequence[Pod] = (), detector: Any = None) -> None:
        self.locator = TellingLocator(pods)
        self.processor = ShardProcessor(CONFIG, locator=self.locator, detector=detector or ConcurrencyDetector(1))
        self.now = 0.0
        self.submitted: list[Any] = []

    def submit(self, model: str = "") -> Any:
        self.submitted.append(self.processor.submit(Request("flow", metadata={"model": model}), self.now))
        return self.submitted[-1]

    def release_all(self) -> None:
        for result in self.submitted:
            ticket = result.result if isinstance(result, Item) else result
            if isinstance(ticket, Ticket):
                ticket.release()

    def settle(self) -> None:
        while self.processor.pending:
            self.processor.advance(self.now)

    def change(self, **told: Sequence[Pod]) -> None:
        self.locator.change(**told)
        self.settle()


MakeWorld = Callable[..., World]


@pytest.fixture
def make_world() -> Iterator[MakeWorld]:
    worlds: list[World] = []

    def make(*told: Any) -> World:
        worlds.append(World(*told))
        return worlds[-1]

    yield make
    for world in worlds:
        world.processor.close(world.now)
        world.release_all()


def test_a_pod_that_comes_takes_who_waits_without_a_look_at_the_others(make_world: MakeWorld) -> None:
    """The locator is asked once for each lane, whatever comes and goes afterwards."""
    world = make_world([pod(number) for number in range(50)])
    tickets = [world.submit() for _ in range(50)]
    waiting = [world.submit() for _ in range(3)]
    assert all(isinstance(item, Item) for item in waiting)
    world.change(added=[pod(50)])
    world.change(removed=[pod(7)], added=[pod(51)])
    assert [item.result.pod.name for item in waiting[:2]] == ["p50", "p51"]
    tickets[7].release()  # its pod has gone
    world.settle()
    assert waiting[2].result is None
    tickets[8].release()
    world.settle()
    assert waiting[2].result.pod.name == "p8"
    assert world.locator.asked == 1


def test_a_lane_hears_only_of_its_own_pods(make_world: MakeWorld) -> None:
    """Others that come are no concern of its."""
    world = make_world()
    one, other = world.submit("p1"), world.submit("p2")
    world.change(added=[pod(1), pod(3)])
    assert one.result.pod.name == "p1"
    assert other.result is None
    world.change(removed=[pod(3)], added=[pod(2)])
    assert other.result.pod.name == "p2"
    assert world.locator.asked == 2


def test_an_arrival_finds_its_lane_as_the_pods_are(make_world: MakeWorld) -> None:
    """A lane in which nobody waits follows when it is needed, also when much has happened since."""
    world = make_world([pod(number) for number in range(100)])
    world.submit().release()
    for number in range(90):
        world.change(removed=[pod(number)])
    assert world.submit().pod.name == "p90"
    assert world.locator.asked == 1
    for _ in range(2_100):
        world.change(removed=[pod(99)], added=[pod(99)])
    assert world.submit().pod.name == "p91"
    assert world.locator.asked == 2  # it would have been more work to follow


def test_the_log_of_changes_is_bounded(make_world: MakeWorld) -> None:
    """A lane that has not asked for long asks the locator anew."""
    world = make_world([pod(number) for number in range(10)])
    world.submit().release()
    log = world.processor.shard.lanes.log
    for _ in range(5_000):
        world.change(removed=[pod(0)], added=[pod(0)])
        assert log.end - log.base <= 4_096
    assert isinstance(world.submit(), Ticket)
    assert world.locator.asked == 2


def test_budgets_follow_when_the_last_pod_goes_and_the_first_comes(make_world: MakeWorld) -> None:
    """A lane without pods is on the other budget, and says so."""
    config = attrs.evolve(CONFIG, default_ttl=10.0, no_pods_ttl=2.0)
    world = make_world([pod(0)])
    world.processor.reconfigure(config, 0.0)
    world.submit()
    item = world.submit()
    world.now = 5.0
    world.change(removed=[pod(0)])
    world.now = 6.9
    world.processor.advance(world.now)
    assert item.result is None
    world.now = 7.1
    world.processor.advance(world.now)
    assert item.result.outcome is QueueOutcome.EVICTED_NO_PODS


def test_a_pod_that_comes_back_has_said_nothing_yet(make_world: MakeWorld) -> None:
    """What it has said before it left is forgotten, though tickets are still charged to it."""
    metrics = PodMetrics(waiting=0, running=0, kv_cache_usage=0.0, updated_at=0.0)
    ready = attrs.evolve(pod(0), metrics=metrics)
    world = make_world([ready], UtilizationDetector(queue_depth_threshold=1, staleness=10.0))
    ticket = world.submit()
    assert isinstance(ticket, Ticket)
    waiting = world.submit()
    world.change(removed=[ready], added=[pod(0)])
    ticket.release()
    world.settle()
    assert waiting.result is None
    world.change(renewed=[attrs.evolve(ready, metrics=attrs.evolve(metrics, updated_at=1.0))])
    assert waiting.result.pod.name == "p0"


def test_a_pod_that_leaves_and_comes_back_in_one_telling_is_last(make_world: MakeWorld) -> None:
    """It has begun anew; who waits is not lost."""
    world = make_world([pod(0), pod(1)])
    world.submit(), world.submit()
    waiting = world.submit()
    world.change(removed=[pod(0)], added=[pod(0)])
    assert waiting.result is None  # its ticket is still charged
    lane = next(iter(world.processor.shard.lanes.waiting))
    assert [state.pod.name for state in lane.candidates.pods] == ["p1", "p0"]


@pytest.mark.parametrize("told", [{"removed": ["p0"]}, {"added": [7]}, {"removed": [[]]}], ids=str)
def test_nonsense_that_is_told_is_a_failure_and_ends_nothing(make_world: MakeWorld, told: dict[str, Any]) -> None:
    """Nothing is lost by it."""
    world = make_world()
    waiting = world.submit()
    world.locator.pods = {pod(0): None}
    world.locator.announcer.announce((), **told)
    world.settle()
    assert waiting.result.pod.name == "p0"
    assert sum(world.processor.stats().plugin_failures.values()) == 1


def test_selects_that_raises_is_a_failure_and_the_locator_is_asked(make_world: MakeWorld) -> None:
    """As if it had said that anything has changed."""
    world = make_world()
    waiting = world.submit()

    def fail(key: Hashable, pod: Pod) -> bool:
        raise RuntimeError(f"{key!r} of {pod!r}?")

    world.processor.shard.lanes.log.selects = fail
    world.change(added=[pod(0)])
    assert waiting.result.pod.name == "p0"
    assert sum(world.processor.stats().plugin_failures.values()) == 1


def test_strangers_that_go_and_acquaintances_that_come_change_nothing(make_world: MakeWorld) -> None:
    """A locator may tell what everybody knows."""
    world = make_world([pod(0)])
    world.submit()
    waiting = world.submit()
    world.change(removed=[pod(5)], added=[pod(0)])
    assert waiting.result is None
    assert world.locator.asked == 1


def test_nobody_waits_and_nothing_is_due(make_world: MakeWorld) -> None:
    """Changes of an idle pool cause no pass."""
    world = make_world([pod(0)])
    world.locator.change(added=[pod(1)])
    assert not world.processor.pending
    world.submit(), world.submit()
    item = world.submit()
    world.locator.change(removed=[pod(1)])
    assert world.processor.pending
    world.processor.cancel(item, world.now)
    assert not world.processor.pending


@pytest.mark.parametrize("scale", [1, 8])
def test_a_change_costs_the_same_among_many_pods(make_world: MakeWorld, scale: int) -> None:
    """The detector is asked about the pods that changed, and no others."""
    asked = list[str]()

    class Counting:
        def saturation(self, pod: Pod, load: PodLoad) -> float:
            asked.append(pod.name)
            return 1.0

        def subscribe(self, callback: object) -> Callable[[], None]:
            return lambda: None

    world = make_world([pod(number) for number in range(100 * scale)], Counting())
    world.submit()
    world.settle()
    asked.clear()
    world.change(removed=[pod(3)])
    world.change(added=[pod(3)])
    assert asked == ["p3"]


def test_objectives_that_change_for_ever_never_use_up_the_bands() -> None:
    """A band that was made for a priority goes when another one needs its place, and no request is waiting in it."""
    config = FlowControlConfig([PriorityBandConfig(0)], max_bands=10)
    locator = TellingLocator([pod(0)])
    processor = ShardProcessor(config, locator=locator, detector=ConcurrencyDetector(1))
    holder = processor.submit(Request("flow", priority=-5), 0.0)
    kept = processor.submit(Request("flow", priority=-7), 0.0)
    assert isinstance(holder, Ticket)
    assert isinstance(kept, Item)
    for priority in range(1, 1_000):
        item = processor.submit(Request("flow", priority=priority), 0.0)
        assert isinstance(item, Item)
        processor.cancel(item, 0.0)
        assert len(processor.stats().bands) <= 10
    assert {0, -5, -7} <= set(processor.stats().bands)
    holder.release()
    processor.advance(0.0)
    assert isinstance(kept.result, Ticket)
    kept.result.release()


def test_a_pod_that_has_gone_is_forgotten(make_world: MakeWorld) -> None:
    """By the table, and by the lane; so is what was told, once it is done."""
    world = make_world([pod(number) for number in range(3)])
    for _ in range(4):
        world.submit()
    shard = world.processor.shard
    lane = next(iter(shard.lanes.waiting))
    held = shard.pods.find(pod(1))
    assert held is not None
    world.change(removed=[pod(1)])
    assert lane not in held.lanes  # a ticket is charged to it still
    world.submitted[1].release()
    assert shard.pods.find(pod(1)) is None
    assert lane.cursor == shard.lanes.log.end


def test_an_answer_that_is_the_same_again_counts_after_changes(make_world: MakeWorld) -> None:
    """The lane is no longer what it was when it heard it first."""
    world = make_world([pod(0)])
    answer = (pod(0),)
    world.locator.locate = lambda metadata: answer  # type: ignore[method-assign]
    world.submit()
    world.submit()
    lane = next(iter(world.processor.shard.lanes.waiting))
    world.locator.announcer.announce()
    world.settle()
    ticket = world.submitted[0]
    world.change(removed=[pod(0)])
    world.locator.announcer.announce()
    world.settle()
    assert [state.pod for state in lane.candidates.pods] == [pod(0)]
    ticket.release()
    world.settle()
    assert world.submitted[1].result.pod == pod(0)
