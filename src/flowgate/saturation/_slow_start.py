"""A new pod's capacity, given out step by step."""

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable

import attrs

from flowgate.contracts import Pod, PodLoad, SaturationDetector
from flowgate.inner import Bind, NextChange, Subscribe, Wrapper
from flowgate.saturation._inner import InnerDetector, Released, unless_nan
from flowgate.validators import check_at_least, check_number

__all__ = ["slow_start"]


def slow_start(
    detector: SaturationDetector,
    window: float = 30.0,
    initial: float = 0.1,
    *,
    steps: int = 10,
    warm: Iterable[Pod] = (),
    forget_after: float = math.inf,
    max_pods: int = 10_000,
) -> SaturationDetector:
    """Let a detector's new pods warm up: at first only a share of each may be used, after a while all of it.

    The detector's answer is divided by a ramp that climbs from `initial` to 1 over the window, in equal steps, so that
    it stays the same from one step to the next and `next_change` tells the next one. A pod with nothing in flight is
    answered for by the detector alone: however new it is, a first request may go there. O(1) for each answer.

    A pod is new when it is first asked about. That includes the pods that are there when the controller starts, for
    nothing tells them from one that a pool scaled up from zero for the first request; name them in `warm` if they have
    been serving. A pod that vanishes and comes back with the same identity goes on where it was, unless nobody asked
    for it for `forget_after`. That is never by default: of a pod without traffic nobody asks, and it has not vanished.
    Pods made anew usually have new names.

    The optional parts are the detector's own. One that can tell of no change is polled, and so is this. One that is an
    async context manager is entered and left with this. Until a clock is bound, `time.monotonic` is used.

    Args:
        detector: Says how full a warm pod is.
        window: Seconds from the first step to full capacity; finite, more than 0.
        initial: The first step: share of the capacity, more than 0, at most 1.
        steps: How many steps lead up to the full capacity, 1 or more.
        warm: Pods that need no warming up.
        forget_after: Seconds without being asked about after which a pod is new again; more than 0.
        max_pods: Most pods remembered, those last asked about; one forgotten is new again. Must exceed the pool's size.

    Raises:
        ValueError: A number is out of range.
        TypeError: It is none, or the detector has no `saturation`.

    >>> from flowgate.saturation import ConcurrencyDetector, slow_start
    >>> now = 0.0
    >>> detector = slow_start(ConcurrencyDetector(100), window=30.0, initial=0.25, steps=3)
    >>> detector.bind(lambda: now)
    >>> pod, load = Pod("a", "10.0.0.1", 8000), PodLoad(in_flight=25, since_metrics=25)
    >>> detector.saturation(pod, load), detector.next_change()
    (1.0, 10.0)
    >>> now = 10.0
    >>> detector.saturation(pod, load), detector.next_change()
    (0.5, 20.0)
    """
    ramp = _Ramp(
        check_number("window", window, lambda n: 0 < n < math.inf, "be finite and more than 0 seconds"),
        check_number("initial", initial, lambda n: 0 < n <= 1, "be more than 0 and at most 1"),
        check_at_least("steps", steps, 1),
    )
    check_number("forget_after", forget_after, lambda n: n > 0, "be more than 0 seconds")
    return _SlowStart(detector, ramp, tuple(warm), forget_after, check_at_least("max_pods", max_pods, 1))


@attrs.frozen
class _Ramp:
    """How much of a pod may be used, by the steps that it has taken.

    Args:
        window: Seconds that all steps take.
        initial: Share of the capacity before the first step.
        steps: How many there are.
    """

    window: float
    initial: float
    steps: int

    def share(self, step: int) -> float:
        """Share of the capacity after so many steps."""
        return 1.0 if step == self.steps else self.initial + (1 - self.initial) * step / self.steps

    def at(self, born: float, step: int) -> float:
        """When a pod takes a step, in seconds."""
        return born + self.window * step / self.steps


# Slotted and not frozen: one for each pod, written at each answer.
@attrs.define(eq=False)
class _Warming:
    """How far a pod is: first and last asked about at these times (seconds), after so many steps."""

    born: float
    asked: float
    step: int = 0


class _SlowStart(Wrapper[InnerDetector]):
    """What `slow_start` makes; a part that it does not offer is None."""

    def __init__(
        self, detector: SaturationDetector, ramp: _Ramp, warm: tuple[Pod, ...], forget_after: float, max_pods: int
    ) -> None:
        self._inner = InnerDetector(detector)
        self._ramp = ramp
        self._warm = warm
        self._forget_after = forget_after
        self._max_pods = max_pods
        self._clock: Callable[[], float] = time.monotonic
        self.subscribe: Subscribe | None = self._inner.subscribe
        self.next_change: NextChange | None = None if self._inner.is_silent else self._next_change
        self.bind: Bind = self._bind
        self.released: Released | None = self._inner.released
        self._forget_all()

    @property
    def name(self) -> str:
        """``"slow_start"``, as logs show it."""
        return "slow_start"

    def __repr__(self) -> str:
        ramp = self._ramp
        return f"slow_start({self._inner.detector!r}, window={ramp.window}, initial={ramp.initial}, steps={ramp.steps})"

    def saturation(self, pod: Pod, load: PodLoad) -> float:
        """Return how full the share of the pod is that may be used already."""
        share = self._share_of(pod)
        answer = self._inner.saturation(pod, load)
        return answer / share if load.in_flight else answer

    def _bind(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._forget_all()
        if self._inner.bind:
            self._inner.bind(clock)

    def _next_change(self) -> float | None:
        """Return the time of the next step, or of the detector's own change, or an earlier time."""
        self._forget_past(self._clock())
        times = [] if self._next == math.inf else [self._next]
        inner = self._inner.next_change() if self._inner.next_change else None
        if inner is not None:
            times.append(inner)
        return unless_nan(min, times) if times else None

    def _forget_all(self) -> None:
        # Least recently asked about first.
        self._pods: OrderedDict[Pod, _Warming] = OrderedDict(
            (pod, _Warming(-math.inf, math.inf, self._ramp.steps)) for pod in self._warm
        )
        # No later than the first step of a pod that was asked about, and than the time when one is forgotten.
        self._next = math.inf

    def _forget_past(self, now: float) -> None:
        if now >= self._next:
            self._next = math.inf

    def _share_of(self, pod: Pod) -> float:
        now = self._clock()
        self._forget_past(now)
        warming = self._pods.get(pod)
        if warming is None or now > warming.asked + self._forget_after:
            warming = self._pods[pod] = _Warming(now, now)
        self._pods.move_to_end(pod)
        if len(self._pods) > self._max_pods:
            self._pods.popitem(last=False)
        warming.asked = now
        self._climb(warming, now)
        return self._ramp.share(warming.step)

    def _climb(self, warming: _Warming, now: float) -> None:
        """Take the steps whose time has come, and note when the next is due."""
        ramp = self._ramp
        while warming.step < ramp.steps and now >= ramp.at(warming.born, warming.step + 1):
            warming.step += 1
        if warming.step < ramp.steps:
            self._next = min(self._next, ramp.at(warming.born, warming.step + 1))
        self._next = min(self._next, now + self._forget_after)
