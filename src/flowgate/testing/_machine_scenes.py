"""Where an engine's trial takes place: a configuration at random, of a kind that brings out one thing or another."""

import math
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol, TypeVar

import attrs

from flowgate.config import FlowControlConfig, PriorityBandConfig
from flowgate.contracts import PodLocator, SaturationDetector, UsageLimitPolicy
from flowgate.policies import (
    BestHead,
    DeficitRoundRobin,
    EarliestDeadlineFirst,
    Fcfs,
    LeastAttainedService,
    RoundRobin,
    StartTimeFairQueuing,
    VirtualTokenCounter,
)
from flowgate.shares import BandShares
from flowgate.testing._machine_engine import CheckedEngine
from flowgate.testing._model_parts import Holdback, Mood, MoodyDispatch, MoodyFairness, SubsetPool

__all__ = ["Chance", "Parts", "Scene", "draw_scene"]

_T = TypeVar("_T")
_WEIGHTS: Final = {"x": 2.0, "y": 0.5}
_PRIORITIES: Final = (-1, 0, 1, 2)


class Chance(Protocol):
    """Whoever decides: a `random.Random` does, and so does Hypothesis."""

    def choice(self, seq: Sequence[_T], /) -> _T:
        """Return one of several options; the plainest stand first."""
        ...


@attrs.frozen
class Parts:
    """What the author of a plug-in puts on trial; what is None is drawn, or is the engine's own.

    Attributes:
        bands: Bands of which only policies and queue count: the rest is drawn.
        detector: Makes a detector.
        usage_limit: Makes a usage-limit policy.
        locator: Makes a locator of a pool.
    """

    bands: tuple[PriorityBandConfig, ...] = ()
    detector: Callable[[], SaturationDetector] | None = None
    usage_limit: Callable[[], UsageLimitPolicy] | None = None
    locator: Callable[[SubsetPool], PodLocator] | None = None


@attrs.frozen
class Scene:
    """An engine on trial, and what may happen to it.

    Attributes:
        engine: The engine.
        kind: ``"anything"``, ``"contest"`` (few pods, many who want them, and nothing fails) or ``"flood"`` (the same,
            where there is room for few).
        parts: What is on trial.
        mood: Whether the policies that may fail do.
    """

    engine: CheckedEngine
    kind: str
    parts: Parts
    mood: Mood


def draw_scene(chance: Chance, parts: Parts) -> Scene:
    """Draw a scene."""
    mood, kind = Mood(), chance.choice(["contest", "flood", "anything", "anything"])
    keyed = chance.choice([True, True, True, False]) or parts.locator is not None
    engine = CheckedEngine(
        draw_config(chance, kind, parts, mood),
        keyed=keyed,
        telling=chance.choice([True, False]),
        room=chance.choice([1, 2, 3]),
        detector=parts.detector and parts.detector(),
        usage_limit=_draw_usage_limit(chance, parts),
        wrap=parts.locator,
    )
    if kind != "anything":
        engine.set_pods("ab")
    return Scene(engine, kind, parts, mood)


def _draw_usage_limit(chance: Chance, parts: Parts) -> UsageLimitPolicy | None:
    if parts.usage_limit is not None:
        return parts.usage_limit()
    return chance.choice([None, None, None, Holdback()])


def draw_config(chance: Chance, kind: str, parts: Parts, mood: Mood) -> FlowControlConfig:
    """Draw a configuration for a kind of scene."""
    if kind == "contest":
        return _contest(chance, parts)
    return _flood(chance, parts) if kind == "flood" else _anything(chance, parts, mood)


def _contest(chance: Chance, parts: Parts) -> FlowControlConfig:
    shares = chance.choice([None, {-1: 0.2, 0: 0.3}, {-1: 0.25, 0: 0.25, 1: 0.25, 2: 0.25}, {0: 0.9, 1: 0.1}])
    policies = draw_policies(chance, parts)
    return FlowControlConfig(
        [attrs.evolve(policies, priority=priority, max_requests=None, max_bytes=None) for priority in _PRIORITIES],
        max_dispatch_batch=chance.choice([1_000, 1]),
        poll_interval=0.5,
        band_shares=None if shares is None else BandShares(shares),
    )


def _flood(chance: Chance, parts: Parts) -> FlowControlConfig:
    band = attrs.evolve(
        draw_policies(chance, parts),
        max_requests=chance.choice([4, 6, None]),
        max_bytes=chance.choice([None, 60]),
        when_full=chance.choice(["longest-flow", "longest-flow", "reject"]),
        max_flow_requests=chance.choice([None, None, 5]),
    )
    return FlowControlConfig(
        [attrs.evolve(band, priority=priority) for priority in _PRIORITIES],
        max_requests=chance.choice([None, 6]),
        max_bytes=chance.choice([None, None, 80]),
        poll_interval=0.5,
    )


def _anything(chance: Chance, parts: Parts, mood: Mood) -> FlowControlConfig:
    hol_scope: Any = chance.choice(["candidates", "candidates", "pool"])
    shares = chance.choice([None, BandShares({0: 0.3}), BandShares({0: 1.0})])
    priorities = chance.choice([(0,), (0, 1), (-1, 0, 2)])
    return FlowControlConfig(
        bands=[_any_band(chance, priority, parts, mood) for priority in priorities],
        default_band=chance.choice([draw_policies(chance, parts), None]),
        band_shares=None if hol_scope == "pool" else shares,
        max_requests=chance.choice([None, None, 4]),
        max_bytes=chance.choice([None, None, 60]),
        default_ttl=chance.choice([1.0, 5.0, math.inf]),
        no_pods_ttl=chance.choice([None, 2.0, math.inf]),
        poll_interval=0.5,
        max_flows=chance.choice([100, 2]),
        max_bands=chance.choice([100, 3]),
        hol_scope=hol_scope,
        max_dispatch_batch=chance.choice([1_000, 1, 2]),
    )


def _any_band(chance: Chance, priority: int, parts: Parts, mood: Mood) -> PriorityBandConfig:
    mode: Any = chance.choice(["queue", "queue", "queue", "shed"])
    when_full: Any = chance.choice(["reject", "longest-flow"])
    return attrs.evolve(
        draw_policies(chance, parts, mood),
        priority=priority,
        max_requests=chance.choice([None, 0, 2, 5]),
        max_bytes=chance.choice([None, 40]),
        mode=mode,
        displace=chance.choice([True, False]),
        max_flow_requests=chance.choice([None, None, 1, 3]),
        max_flow_bytes=chance.choice([None, None, 20]),
        when_full=when_full,
        reject_infeasible=chance.choice([None, None, 0.5, 0.99]),
    )


def draw_policies(chance: Chance, parts: Parts, mood: Mood | None = None) -> PriorityBandConfig:
    """Draw a band for its policies and queue alone; those that may fail are among them where there is a mood."""
    if parts.bands:
        return chance.choice(parts.bands)
    dispatch: list[Any] = [Fcfs(), Fcfs(), EarliestDeadlineFirst()]
    fairness: list[Any] = [
        RoundRobin(),
        RoundRobin(),
        BestHead(),
        DeficitRoundRobin(quantum=chance.choice([1, 20])),
        StartTimeFairQueuing(weights=_WEIGHTS),
        VirtualTokenCounter(weights=_WEIGHTS),
        LeastAttainedService(weights=_WEIGHTS),
    ]
    if mood is not None:
        dispatch.append(MoodyDispatch(mood))
        fairness.append(MoodyFairness(mood))
    return PriorityBandConfig(0, dispatch=chance.choice(dispatch), fairness=chance.choice(fairness))
