"""What a checked engine works with: requests, pods and their fullness, all changed by the test as it likes."""

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import cast

import attrs

from flowgate.announcer import Announcer
from flowgate.contracts import (
    ChangeCallback,
    FlowGroup,
    FlowKey,
    Pod,
    PodLoad,
    PodMetrics,
    PoolCallback,
    QueueItem,
    SafeQueue,
)
from flowgate.policies import EarliestDeadlineFirst, RoundRobin

__all__ = [
    "Holdback",
    "KeyedSubsetPool",
    "Mood",
    "MoodyDispatch",
    "MoodyFairness",
    "MovableRequest",
    "RoomGauge",
    "Subset",
    "SubsetPool",
    "TellingSubsetPool",
]

Subset = frozenset[str] | None
"""The names of the pods that a request may go to; None for all."""


@attrs.define(eq=False)
class MovableRequest:
    """A request whose metadata a test may change.

    Attributes:
        flow_id: Its flow.
        priority: Its band.
        size: Bytes.
        ttl: Seconds; None for the controller's budgets.
        subset: Where it may go.
    """

    flow_id: str
    priority: int = 0
    size: int = 0
    ttl: float | None = None
    subset: Subset = None

    def request_id(self) -> str:
        """Return its flow's name."""
        return f"{self.flow_id}@{self.priority}"

    def flow_key(self) -> FlowKey:
        """Return its flow."""
        return FlowKey(self.flow_id, self.priority)

    def byte_size(self) -> int:
        """Return its bytes."""
        return self.size

    def initial_effective_ttl(self) -> float | None:
        """Return its seconds."""
        return self.ttl

    def get_metadata(self) -> Mapping[str, object]:
        """Return its subset, as it is now."""
        return {"subset": self.subset}


class SubsetPool:
    """A locator of pods that a test names: a subset's are those that it names, too. It announces each change.

    Attributes:
        names: The pods that there are.
        fails: Whether it raises instead of answering.
    """

    def __init__(self) -> None:
        self.names: tuple[str, ...] = ()
        self.fails: bool = False
        self._records: dict[str, Pod] = {}
        self._announcer = Announcer()

    def pod(self, name: str) -> Pod:
        """Return the record of a pod, made when needed; it stays the same while its metrics do."""
        if name not in self._records:
            self._records[name] = Pod(name, f"10.0.0.{ord(name[0]) % 250 + 1}", 8_000)
        return self._records[name]

    def locate(self, metadata: Mapping[str, object]) -> Sequence[Pod]:
        """Return the pods of a subset."""
        if self.fails:
            raise RuntimeError("no view of the pods")
        subset = metadata["subset"]
        return [self.pod(name) for name in self.names if not isinstance(subset, frozenset) or name in subset]

    def set_names(self, names: Sequence[str]) -> None:
        """Let there be these pods."""
        self.names = tuple(names)
        self._announcer.announce()

    def set_fails(self, fails: bool) -> None:
        """Fail, or recover."""
        self.fails = fails
        self._announcer.announce()

    def set_metrics(self, name: str, metrics: PodMetrics) -> None:
        """Let a pod say something new of itself."""
        self._records[name] = attrs.evolve(self.pod(name), metrics=metrics)
        self._announcer.announce([self._records[name]] if name in self.names else None)

    def subscribe(self, callback: ChangeCallback) -> Callable[[], None]:
        """Register a callback for changes; returns a function that takes it back."""
        return self._announcer.subscribe(callback)


class KeyedSubsetPool(SubsetPool):
    """The same, where the requests of one subset share a lane."""

    def selection_key(self, metadata: Mapping[str, object]) -> Hashable:
        """Return the subset."""
        return metadata["subset"]


class TellingSubsetPool(KeyedSubsetPool):
    """The same, and it tells which pods come and go."""

    def set_names(self, names: Sequence[str]) -> None:
        """Let there be these pods; where that changes the order of others, anything may have changed."""
        before, self.names = self.names, tuple(names)
        stay = [name for name in before if name in names]
        come = [name for name in names if name not in before]
        if [*stay, *come] == list(names):
            gone = [self.pod(name) for name in before if name not in names]
            self._announcer.announce((), removed=gone, added=[self.pod(name) for name in come])
        else:
            self._announcer.announce()

    def selects(self, key: Hashable, pod: Pod) -> bool:
        """Say whether a subset has a pod."""
        return not isinstance(key, frozenset) or pod.name in key

    def subscribe_changes(self, callback: PoolCallback) -> Callable[[], None]:
        """Register a callback that is told which pods come and go; returns a function that takes it back."""
        return self._announcer.subscribe_changes(callback)


class RoomGauge:
    """A detector: tickets over a pod's room, and what a test adds; it fails for the pods that a test names.

    Args:
        room: Requests that fill a pod.
    """

    def __init__(self, room: int) -> None:
        self.room: int = room
        self._extra: dict[str, float] = {}
        self._failing: set[str] = set()
        self._announcer = Announcer()

    def saturation(self, pod: Pod, load: PodLoad) -> float:
        """Return how full a pod is."""
        if pod.name in self._failing:
            return math.nan
        return load.in_flight / self.room + self._extra.get(pod.name, 0.0)

    def set_extra(self, name: str, extra: float) -> None:
        """Let a pod be fuller than flowgate's own load says."""
        self._extra[name] = extra
        self._announcer.announce()

    def set_fails(self, name: str, fails: bool) -> None:
        """Answer nonsense for a pod, or recover."""
        (self._failing.add if fails else self._failing.discard)(name)
        self._announcer.announce()

    def subscribe(self, callback: ChangeCallback) -> Callable[[], None]:
        """Register a callback for changes; returns a function that takes it back."""
        return self._announcer.subscribe(callback)


class Holdback:
    """A usage-limit policy: the fuller the pods, the lower the ceilings of lower bands."""

    name = "holdback"

    def ceilings(self, saturation: float, priorities: Sequence[int]) -> list[float]:
        """Return 1.0 for the highest band, and less for each one below."""
        return [max(0.0, 1.0 - 0.5 * saturation * rank) for rank in range(len(priorities))]


@attrs.define(eq=False)
class Mood:
    """Whether the policies that share it fail."""

    is_bad: bool = False

    def check(self) -> None:
        """Raise while it is bad."""
        if self.is_bad:
            raise RuntimeError("in a bad mood")


@attrs.frozen
class MoodyDispatch(EarliestDeadlineFirst):
    """Earliest deadline first, unless its mood is bad."""

    mood: Mood

    def select_item(self, queue: SafeQueue) -> QueueItem | None:
        """Return the head."""
        self.mood.check()
        return super().select_item(queue)


@attrs.frozen
class MoodyFairness(RoundRobin):
    """Round robin, unless its mood is bad when it is to choose, or to make a group."""

    mood: Mood

    def new_group(self) -> FlowGroup:
        """Make a ring that may fail."""
        self.mood.check()
        return cast("FlowGroup", _MoodyGroup(super().new_group(), self.mood))


class _MoodyGroup:
    """A ring of flows whose every call may fail."""

    def __init__(self, group: FlowGroup, mood: Mood) -> None:
        self._group = group
        self._mood = mood

    def __getattr__(self, name: str) -> object:
        self._mood.check()
        return getattr(self._group, name)
