"""The engine against its invariants, whatever happens, in whatever order: with our parts, and with other people's."""

import random
from collections.abc import Callable
from typing import Any, cast
from unittest import TestCase

import pytest
from hypothesis import Phase, settings

from flowgate import PriorityBandConfig
from flowgate.contracts import BandView, FlowQueueView, QueueItem, SaturationDetector, UsageLimitPolicy
from flowgate.locators import CachedPodLocator
from flowgate.policies import (
    DeficitRoundRobin,
    LeastAttainedService,
    PriorityHoldback,
    SloDeadline,
    SoftReflectiveCeiling,
    StartTimeFairQueuing,
    StaticUsageLimit,
    VirtualTokenCounter,
)
from flowgate.queues import PriorityQueue
from flowgate.saturation import AdaptiveDetector, ConcurrencyDetector, UtilizationDetector, slow_start
from flowgate.testing._machine_scenes import Parts
from flowgate.testing._machine_steps import Trial
from flowgate.testing.suites import engine_machine

SEEDS = 120


class LongestQueue:
    """A fairness policy in its small form."""

    def select_queue(self, band: BandView) -> FlowQueueView | None:
        return max(band.queues, key=len)


def play(seed: int, parts: Parts, steps: int = 40) -> list[str]:
    """Play a trial that a seed decides; return its story."""
    story: list[str] = []
    chance = random.Random(seed)
    trial = Trial(chance, parts, story.append)
    try:
        for _ in range(steps):
            trial.step(chance)
    finally:
        trial.finish()
    return story


@pytest.mark.parametrize("seed", range(SEEDS))
def test_seeded_trial_keeps_every_invariant(seed: int) -> None:
    """Whatever a seed lets happen, all invariants hold after each step, and everything ends well."""
    assert len(play(seed, Parts())) >= 40


def test_trial_is_repeatable() -> None:
    """One seed, one story."""
    assert play(3, Parts()) == play(3, Parts())


BANDS = {
    "deficit round robin": PriorityBandConfig(0, fairness=DeficitRoundRobin(quantum=5, weights={"x": 3.0})),
    "start-time fair queuing": PriorityBandConfig(0, fairness=StartTimeFairQueuing()),
    "virtual token counter": PriorityBandConfig(0, fairness=VirtualTokenCounter(max_idle_flows=1)),
    "least attained service": PriorityBandConfig(0, fairness=LeastAttainedService(half_life=1.0)),
    "a selector": PriorityBandConfig(0, fairness=LongestQueue()),
    "another queue": PriorityBandConfig(0, dispatch=SloDeadline(), queue=PriorityQueue),
}
DETECTORS: dict[str, Callable[[], SaturationDetector]] = {
    "concurrency": lambda: ConcurrencyDetector(2),
    "utilization": lambda: UtilizationDetector(3, staleness=2.0),
    "utilization, lenient": lambda: UtilizationDetector(3, on_stale="ignore"),
    "adaptive": lambda: AdaptiveDetector(initial=2),
    "slow start": lambda: slow_start(ConcurrencyDetector(4), 3.0),
}
USAGE_LIMITS: dict[str, Callable[[], UsageLimitPolicy]] = {
    "static": lambda: StaticUsageLimit(0.5),
    "holdback": lambda: PriorityHoldback(0.4),
    "soft reflective": SoftReflectiveCeiling,
}


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("band", BANDS)
def test_engine_keeps_its_promises_with_any_policy(band: str, seed: int) -> None:
    """Policies and queues of the author's choice, in every band."""
    play(seed, Parts(bands=(BANDS[band],)))


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("detector", DETECTORS)
def test_engine_keeps_its_promises_with_any_detector(detector: str, seed: int) -> None:
    """Detectors that learn, that go stale, and that depend on time."""
    play(seed, Parts(detector=DETECTORS[detector]))


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("limit", USAGE_LIMITS)
def test_engine_keeps_its_promises_with_any_usage_limit(limit: str, seed: int) -> None:
    """Ceilings that stand still, and that move."""
    play(seed, Parts(usage_limit=USAGE_LIMITS[limit]))


@pytest.mark.parametrize("seed", range(8))
def test_engine_keeps_its_promises_with_any_locator(seed: int) -> None:
    """A locator around the pool of the trial."""
    play(seed, Parts(locator=CachedPodLocator))


class Favour:
    """A policy that promises turns, and gives them all to the flow with the least id."""

    name = "favour"
    memoryless = True

    def bound(self, max_cost: tuple[float, float] = (1, 1), weights: tuple[float, float] = (1, 1)) -> float:
        return 1.0

    def new_group(self) -> "FavourGroup":
        return FavourGroup()


class FavourGroup:
    def __init__(self) -> None:
        self.flows: list[FlowQueueView] = []

    def activated(self, flow: FlowQueueView) -> None:
        self.flows.append(flow)

    def head_changed(self, flow: FlowQueueView) -> None:
        pass

    def charged(self, flow: FlowQueueView, item: QueueItem) -> None:
        pass

    def settled(self, flow: FlowQueueView, delta: float) -> None:
        pass

    def emptied(self, flow: FlowQueueView) -> None:
        self.flows.remove(flow)

    def select(self) -> FlowQueueView:
        return min(self.flows, key=lambda flow: flow.flow_key.id)


class Breaks(Favour):
    """A policy with a mistake in it."""

    def new_group(self) -> FavourGroup:
        raise ZeroDivisionError("a mistake")


REPEATABLE = settings(
    max_examples=60,
    stateful_step_count=20,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.generate],  # the shortest story takes its time
)


def test_engine_machine_passes_a_policy_that_keeps_its_promise() -> None:
    """What it makes is a test that pytest collects, and Hypothesis steers."""
    test = engine_machine(PriorityBandConfig(0, fairness=VirtualTokenCounter()))
    assert issubclass(test, TestCase)
    test.settings = settings(REPEATABLE, max_examples=5)
    test("runTest").debug()


@pytest.mark.parametrize(
    ("policy", "message"),
    [(Favour(), "favour: while flows 'x' and 'y'"), (Breaks(), "the fairness policy 'favour' failed: ZeroDivision")],
)
def test_engine_machine_finds_a_policy_that_breaks_its_promise(policy: Any, message: str) -> None:
    """A bound that does not hold, or a mistake: the failure says which, and its notes tell the story."""
    test = engine_machine(PriorityBandConfig(0, fairness=policy))
    test.settings = REPEATABLE
    with pytest.raises(AssertionError, match=message) as caught:
        test("runTest").debug()
    notes = "\n".join(caught.value.__notes__)
    assert "submit MovableRequest" in notes


def test_engine_machine_is_bounded_and_else_as_the_profile_says() -> None:
    """A failure is shown soon: stories are short, one failure is shortened, and not explained."""
    bounded, profile = cast("Any", engine_machine()).settings, settings()
    assert (bounded.stateful_step_count, bounded.report_multiple_bugs) == (20, False)
    assert set(bounded.phases) == set(profile.phases) - {Phase.explain}
    assert bounded.max_examples == profile.max_examples


# The model looks at every pair of requests after every step: more examples find more than longer ones.
TestEngine = engine_machine()
TestEngine.settings = settings(max_examples=3 * settings.default.max_examples, stateful_step_count=30)
