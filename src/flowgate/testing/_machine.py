"""The whole engine on trial, with a plug-in of yours in it: whatever happens, in whatever order."""

from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final
from unittest import TestCase

import hypothesis.strategies as st
from hypothesis import Phase, note, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from flowgate.config import PriorityBandConfig
from flowgate.contracts import PodLocator, SaturationDetector, UsageLimitPolicy
from flowgate.testing._machine_scenes import Chance, Parts
from flowgate.testing._machine_steps import Trial

if TYPE_CHECKING:
    from random import Random

__all__ = ["engine_machine"]

_STEPS: Final = 20
_chances: "st.SearchStrategy[Random]" = st.randoms(note_method_calls=False, use_true_random=False)


def engine_machine(
    *bands: PriorityBandConfig,
    detector: Callable[[], SaturationDetector] | None = None,
    usage_limit: Callable[[], UsageLimitPolicy] | None = None,
    locator: Callable[[PodLocator], PodLocator] | None = None,
) -> type[TestCase]:
    """Make a test of the whole engine with your plug-ins in it.

    Hypothesis lets anything happen, in any order: requests come, are cancelled, expire, are served and settled; pods
    come, go and fill; configurations change; plug-ins other than yours fail. After each step the engine is compared
    with a naive model, and every invariant is checked: each request has one outcome, nothing is left undone, no slot is
    given twice, nobody is overtaken who should not be, and flows and bands get what they are promised. A plug-in of
    yours that raises, or answers nonsense, fails the test.

    Assign the class to a name that pytest collects. How many stories it tries, the Hypothesis profile says; each has 20
    steps, and the first failure is shortened, in less than a minute as a rule. To search otherwise, set
    ``TestIt.settings``.

    Args:
        bands: Bands with your policies, or your queue; their limits and priorities are drawn at random. Without any,
            flowgate's own policies are drawn. A fairness policy that has a `bound` is held to it, unless it is bound
            to a clock.
        detector: Makes your detector. It is asked at any moment, and must answer the same as long as nothing changes.
        usage_limit: Makes your usage-limit policy, under the same condition.
        locator: Makes your locator of another, which is `SelectionKeyed`, and whose changes it must announce. What it
            must answer, `PodLocatorSuite` tests.

    >>> from flowgate.policies import DeficitRoundRobin
    >>> TestMyPolicy = engine_machine(PriorityBandConfig(0, fairness=DeficitRoundRobin(quantum=100)))
    >>> TestMyPolicy.__name__
    'EngineMachine.TestCase'
    """
    parts = Parts(bands, detector, usage_limit, locator)

    class EngineMachine(_Machine):
        """The machine for these parts."""

        trial_parts = parts

    test_case = EngineMachine.TestCase
    test_case.settings = _bounded(test_case.settings)
    answer: type[TestCase] = test_case
    return answer


def _bounded(profile: settings) -> settings:
    """Bound how long a failure takes to be shown: a mistake in a plug-in shows in many stories, most of them long."""
    phases = [phase for phase in profile.phases if phase is not Phase.explain]
    return settings(profile, stateful_step_count=_STEPS, report_multiple_bugs=False, phases=phases)


class _Machine(RuleBasedStateMachine):
    """One trial: what happens is decided by Hypothesis, which finds the shortest story that fails."""

    trial_parts = Parts()

    trial: Trial

    def __init__(self) -> None:
        super().__init__()
        self._cleanup = ExitStack()

    @initialize(chance=_chances)
    def begin(self, chance: Chance) -> None:
        """Draw an engine and where it stands."""
        self.trial = Trial(chance, self.trial_parts, note)
        self._cleanup.callback(self.trial.finish)

    @rule(chance=_chances)
    def step(self, chance: Chance) -> None:
        """Let something happen."""
        self.trial.step(chance)

    def teardown(self) -> None:
        """Let everything end well."""
        self._cleanup.close()
