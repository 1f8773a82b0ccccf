"""What the tests of the controller share: callers to start and cancel, observers that keep books, plug-ins to steer."""

import asyncio
import gc
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import anyio
import anyio.abc
import trio

from flowgate import FlowControlConfig, FlowController, Pod, PodLoad, QueueOutcome, Request, Ticket, testing
from flowgate.admission import LegacyAdmissionController
from flowgate.contracts import (
    Dispatched,
    Dropped,
    Enqueued,
    FlowControlRequest,
    PodLocator,
    Released,
    SaturationDetector,
)
from flowgate.items import Item
from flowgate.processor import ShardProcessor
from flowgate.stats import ControllerStats
from flowgate.testing import Caller
from flowgate.testing import until_blocked as settle
from flowgate.waiters import in_trio

__all__ = [
    "POD_A",
    "POD_B",
    "POD_C",
    "CallDetector",
    "Caller",
    "Callers",
    "Core",
    "Ledger",
    "MapLocator",
    "Recorder",
    "StepCounter",
    "assert_books",
    "assert_idle",
    "is_trio",
    "lose_ticket",
    "settle",
]

POD_A = Pod("a", "10.0.0.1", 8000)
POD_B = Pod("b", "10.0.0.2", 8000)
POD_C = Pod("c", "10.0.0.3", 8000)


class Callers(testing.Callers):
    """Callers of one controller, in a task group of the test's own."""

    def __init__(self, tasks: anyio.abc.TaskGroup, controller: FlowController) -> None:
        super().__init__(controller)
        self._tasks = tasks


class Recorder:
    """An observer that keeps every event, with the name of the method that received it."""

    def __init__(self) -> None:
        self.events: list[tuple[str, Any]] = []

    def names(self) -> list[str]:
        return [name for name, _ in self.events]

    def of(self, name: str) -> list[Any]:
        return [event for told, event in self.events if told == name]

    def on_enqueued(self, event: object) -> None:
        self.events.append(("enqueued", event))

    def on_dispatched(self, event: object) -> None:
        self.events.append(("dispatched", event))

    def on_dropped(self, event: object) -> None:
        self.events.append(("dropped", event))

    def on_released(self, event: object) -> None:
        self.events.append(("released", event))

    def on_pass(self, event: object) -> None:
        self.events.append(("pass", event))

    def on_pods_changed(self, event: object) -> None:
        self.events.append(("pods_changed", event))

    def on_plugin_error(self, event: object) -> None:
        self.events.append(("plugin_error", event))


class Ledger:
    """An observer that keeps its own books, to hold against the controller's.

    Attributes:
        waiting: Requests that were queued and have no outcome yet.
        outcomes: How often each came.
        load: Unreleased tickets by the pod that they were charged to at dispatch.
        highest: The most that each pod ever held.
    """

    def __init__(self) -> None:
        self.waiting = 0
        self.outcomes: Counter[QueueOutcome] = Counter()
        self.load: Counter[Pod] = Counter()
        self.highest: Counter[Pod] = Counter()

    def on_enqueued(self, event: Enqueued) -> None:
        self.waiting += 1

    def on_dispatched(self, event: Dispatched) -> None:
        self.waiting -= event.waited
        self.outcomes[QueueOutcome.DISPATCHED] += 1
        pod = event.ticket.candidates[0]
        self.load[pod] += 1
        self.highest[pod] = max(self.highest[pod], self.load[pod])

    def on_dropped(self, event: Dropped) -> None:
        self.waiting -= event.outcome.is_evicted
        self.outcomes[event.outcome] += 1

    def on_released(self, event: Released) -> None:
        self.load[event.ticket.candidates[0]] -= 1


def assert_books(controller: FlowController, submitted: int) -> None:
    """Hold conservation: every request waits or has exactly one outcome, in all and in each band."""
    stats = controller.stats()
    assert submitted == stats.queued_requests + sum(stats.outcomes.values())
    assert stats.queued_requests == sum(band.queued_requests for band in stats.bands.values())
    assert stats.queued_bytes == sum(band.queued_bytes for band in stats.bands.values())
    assert stats.in_flight == sum(band.in_flight for band in stats.bands.values())


def assert_idle(controller: FlowController) -> None:
    """Hold that nothing waits, and no pod is charged with anything."""
    stats = controller.stats()
    assert (stats.queued_requests, stats.queued_bytes, stats.in_flight, stats.overcommitted) == (0, 0, 0, 0)
    assert stats.lanes == 0
    for band in stats.bands.values():
        assert (band.queued_requests, band.queued_bytes, band.in_flight) == (0, 0, 0)


class MapLocator:
    """Candidates by ``metadata["model"]``, one lane for each; announces what a test changes."""

    def __init__(self, **models: Sequence[Pod]) -> None:
        self.models = models
        self._callbacks: list[Callable[[Sequence[Pod] | None], None]] = []

    def set(self, **models: Sequence[Pod]) -> None:
        self.models.update(models)
        for callback in self._callbacks:
            callback(None)

    def locate(self, metadata: Mapping[str, object]) -> Sequence[Pod]:
        return self.models.get(str(metadata["model"]), ())

    def selection_key(self, metadata: Mapping[str, object]) -> Hashable:
        return metadata["model"]

    def subscribe(self, callback: Callable[[Sequence[Pod] | None], None]) -> Callable[[], None]:
        self._callbacks.append(callback)
        return lambda: self._callbacks.remove(callback)


class CallDetector:
    """Asks a function how full a pod is; announces what a test says."""

    def __init__(self, answer: Callable[[Pod, PodLoad], Any]) -> None:
        self.answer = answer
        self.calls = 0
        self._callbacks: list[Callable[[Sequence[Pod] | None], None]] = []

    def announce(self, pods: Sequence[Pod] | None = None) -> None:
        for callback in self._callbacks:
            callback(pods)

    def saturation(self, pod: Pod, load: PodLoad) -> Any:
        self.calls += 1
        return self.answer(pod, load)

    def subscribe(self, callback: Callable[[Sequence[Pod] | None], None]) -> Callable[[], None]:
        self._callbacks.append(callback)
        return lambda: self._callbacks.remove(callback)


def is_trio() -> bool:
    """Say whether the running loop is trio."""
    return in_trio()


async def lose_ticket(controller: FlowController | LegacyAdmissionController) -> None:
    """Take a slot, and let its ticket be collected unreleased."""
    admit = controller.enqueue_and_wait if isinstance(controller, FlowController) else controller.admit
    await admit(Request("loses its ticket"))
    gc.collect()


class StepCounter:
    """Counts what the loop runs: callbacks on asyncio's virtual loop, steps of tasks on trio."""

    def __init__(self) -> None:
        self._steps = 0

    def __enter__(self) -> "StepCounter":
        if is_trio():
            trio.lowlevel.add_instrument(self)  # type: ignore[arg-type]
        return self

    def __exit__(self, *exc: object) -> None:
        if is_trio():
            trio.lowlevel.remove_instrument(self)  # type: ignore[arg-type]

    def before_task_step(self, task: object) -> None:
        self._steps += 1

    def count(self) -> int:
        if is_trio():
            return self._steps
        return asyncio.get_running_loop().callbacks  # type: ignore[attr-defined,no-any-return]

    async def during_sleep(self, seconds: float) -> int:
        """Return how much ran while this task slept; its own waking included."""
        before = self.count()
        await anyio.sleep(seconds)
        return self.count() - before


class Core:
    """The synchronous core alone, where a test counts what it keeps; the only place that looks inside it."""

    def __init__(
        self, config: FlowControlConfig | None = None, *, locator: PodLocator, detector: SaturationDetector
    ) -> None:
        self.processor = ShardProcessor(config or FlowControlConfig(), locator=locator, detector=detector)
        self.processor.ledger.hears = frozenset()

    def submit(self, request: FlowControlRequest, now: float = 0.0) -> Ticket | Item | Dropped:
        result = self.processor.submit(request, now)
        self.processor.ledger.events.clear()
        return result

    def wait(self, request: FlowControlRequest, now: float = 0.0) -> Item:
        """Submit a request that must be queued."""
        item = self.submit(request, now)
        assert isinstance(item, Item)
        return item

    def serve_all(self, now: float = 0.0) -> None:
        """Dispatch what waits, and release every ticket at once."""
        ledger = self.processor.ledger
        while self.stats().queued_requests:
            self.processor.advance(now)
            finished, ledger.finished = ledger.finished, []
            assert finished, "nothing more goes"
            for item in finished:
                assert isinstance(item.result, Ticket)
                item.result.release()
        ledger.events.clear()

    def cancel(self, item: Item, now: float = 0.0) -> None:
        self.processor.cancel(item, now)

    def stats(self) -> ControllerStats:
        return self.processor.stats()

    @property
    def lanes(self) -> int:
        return len(self.processor.shard.lanes)

    @property
    def pods(self) -> int:
        return len(self.processor.shard.pods)

    @property
    def deadlines(self) -> int:
        return len(self.processor.shard.deadlines)
