"""Who asks for what: callers, slots, flows, bands, lanes, and the controller that they meet."""

import random
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Protocol

import attrs

from flowgate import FlowControlConfig, FlowController, Pod, PriorityBandConfig, Request
from flowgate.announcer import Announcer
from flowgate.contracts import ChangeCallback, Dispatched, InterFlowDispatchPolicy, Observer, PodLocator, Released
from flowgate.locators import StaticPodLocator
from flowgate.policies import RoundRobin
from flowgate.saturation import ConcurrencyDetector
from flowgate.testing import make_pods

__all__ = ["Load", "PodSettable", "zipf"]

_TTL = 60.0
_UNLIMITED = 1_000_000_000


class PodSettable(PodLocator, Protocol):
    """A locator whose pods are named from outside."""

    def set_pods(self, pods: Iterable[Pod]) -> None:
        """Replace the pods, and announce it."""
        ...


class _LaneLocator:
    """Gives each lane the pods that are its own: as many as any other lane."""

    def __init__(self, lanes: int) -> None:
        self._pods: list[tuple[Pod, ...]] = [()] * lanes
        self._announcer = Announcer()

    def set_pods(self, pods: Iterable[Pod]) -> None:
        dealt, lanes = tuple(pods), len(self._pods)
        self._pods = [dealt[lane::lanes] for lane in range(lanes)]
        self._announcer.announce()

    def locate(self, metadata: Mapping[str, object]) -> tuple[Pod, ...]:
        lane = metadata["lane"]
        assert isinstance(lane, int)
        return self._pods[lane]

    def selection_key(self, metadata: Mapping[str, object]) -> Hashable:
        return metadata["lane"]

    def subscribe(self, callback: ChangeCallback) -> Callable[[], None]:
        return self._announcer.subscribe(callback)


class _Listener(Observer):
    """Hears of every dispatch and release, and does nothing about it."""

    def on_dispatched(self, event: Dispatched) -> None:
        pass

    def on_released(self, event: Released) -> None:
        pass


@lru_cache
def zipf(flows: int, exponent: float = 1.1, draws: int = 50_000) -> Sequence[int]:
    """Draw flows by Zipf's law, the same ones each time: flow k with a weight of (k + 1) ** -exponent."""
    weights = [(flow + 1) ** -exponent for flow in range(flows)]
    return tuple(random.Random(flows).choices(range(flows), weights, k=draws))


@attrs.frozen
class Load:
    """A number of callers, and what they ask for.

    Args:
        callers: How many at a time.
        slots: Of all pods together; each pod has at least one. None for no limit.
        flows: Taken in turn by the requests.
        bands: Taken in turn by the flows of a lane.
        lanes: Taken in turn by the flows; each has pods of its own.
        pods: Of each lane.
        fairness: Between flows.
        draws: The flows that the requests take one after the other; none for each in turn.
        max_flows: That the controller keeps.
    """

    callers: int = 1
    slots: int | None = 1
    flows: int = 1
    bands: int = 1
    lanes: int = 1
    pods: int = 1
    fairness: InterFlowDispatchPolicy = attrs.Factory(RoundRobin)
    draws: Sequence[int] = ()
    max_flows: int = 100_000

    def controller(self, locator: PodLocator) -> FlowController:
        """Make a controller for it, without limits on the backlog."""
        bands = [
            PriorityBandConfig(priority, max_requests=None, max_bytes=None, fairness=self.fairness)
            for priority in range(self.bands)
        ]
        slots = _UNLIMITED if self.slots is None else self.slots
        return FlowController(
            FlowControlConfig(bands, max_flows=self.max_flows),
            locator=locator,
            detector=ConcurrencyDetector(max(1, slots // (self.lanes * self.pods))),
            observers=[_Listener()],
        )

    def closed_locator(self) -> PodSettable:
        """Make a locator that has no pods yet."""
        return StaticPodLocator() if self.lanes == 1 else _LaneLocator(self.lanes)

    def open_locator(self) -> PodSettable:
        """Make a locator that has them all."""
        locator = self.closed_locator()
        locator.set_pods(self.make_pods())
        return locator

    def make_pods(self) -> Sequence[Pod]:
        """Make the pods of all lanes."""
        return make_pods(self.lanes * self.pods)

    def request(self, number: int) -> Request:
        """Make a new request: sizes vary, and each states a TTL."""
        flow = self.draws[number % len(self.draws)] if self.draws else number % self.flows
        size = 100 + number % 9_000
        if self.lanes == 1:
            return Request(f"flow-{flow}", flow % self.bands, size, _TTL)
        lane, place = flow % self.lanes, flow // self.lanes
        return Request(f"flow-{flow}", (lane + place) % self.bands, size, _TTL, {"lane": lane})
