"""A limit by the gradient of latency."""

import math

import attrs

from flowgate.contracts import ReleaseResult
from flowgate.saturation._limits import Bounds, PodLimit
from flowgate.saturation._rounds import Round
from flowgate.validators import at_least, number, positive

__all__ = ["Gradient2"]

_STEEPEST = 0.5
"""No round takes more than half of a limit away."""
_STILL_FALLING = 0.7
"""Half the load gave less than this share of the latency: there was a queue, and may still be one."""

_ALIKE = 0.2
"""Share by which two means of an idle pod may differ."""

_SOON = 2
"""Rounds to the next probe when the baseline is in doubt. One is not enough: queues fill or drain in it."""


@attrs.frozen
class Gradient2:
    """Follow the latency that a pod has without load: more than a tolerated part above it is a queue that stands there.

    After each round of requests, as many as the limit and so about a round trip, the limit becomes limit * gradient +
    queue_size, where gradient is tolerance * baseline / latency, between 0.5 and 1. While the gradient is 1 the pod
    keeps up, and each further round adds twice as much as the one before, but never raises a limit of which less than
    half was in use. A dropped request multiplies it by `backoff` at once, and its latency teaches nothing.

    The idea is that of the limit of the same name in Netflix's concurrency-limits, which in turn follows TCP Vegas
    (Brakmo and Peterson, "TCP Vegas: end to end congestion avoidance on a global Internet", 1995). There the baseline
    is a long moving average, which a queue that never empties raises bit by bit, until overload looks normal. Here it
    is measured: every `probe_interval` rounds the limit is halved for one round, and again while that makes the pod
    much faster, so that its queue is empty; then the limit comes back. The baseline is the mean of two such probes. One
    that contradicts the last is repeated at once: the pod may have changed in the midst of it. So the baseline follows
    a pod that becomes slower or faster by nature, and no queue. It costs one or two requests in a hundred. Rounds need
    no smoothing, for they last until their mean is known well.

    It needs no threshold, but latencies that can be compared: requests of like length, or so many that their mean is
    stable. A pod that serves only a handful at a time gives it little to judge by. With the defaults it settles within
    60 round trips of a capacity that changed from 32 to 8 or back, while the pod is always asked for more than it can
    do and request lengths vary by a quarter. O(1) for each release.

    Args:
        tolerance: Multiple of the baseline that is no sign of a queue; finite, 1 or more.
        queue_size: Requests that may stand in the pod's queue beyond that; finite, more than 0. None: half of the
            limit's square root.
        backoff: What a drop multiplies the limit by; more than 0, less than 1.
        probe_interval: Rounds between probes, 1 or more.
        min_samples: Fewest requests that make a round, 1 or more.

    Raises:
        ValueError: A number is out of range.
        TypeError: It is none.

    >>> from flowgate.contracts import Pod, PodLoad
    >>> from flowgate.saturation import AdaptiveDetector, Gradient2
    >>> detector = AdaptiveDetector(Gradient2(min_samples=1), initial=4)
    >>> now = 0.0
    >>> detector.bind(lambda: now)
    >>> pod = Pod("a", "10.0.0.1", 8000)
    >>> for now in (1.0, 2.0, 3.0, 4.0):
    ...     detector.released(pod, PodLoad(in_flight=4, since_metrics=4), 1.0, "ok")
    >>> detector.limit_of(pod)
    5
    """

    tolerance: float = attrs.field(
        default=1.1, validator=number(lambda n: 1 <= n < math.inf, "be finite and 1 or more")
    )
    queue_size: float | None = attrs.field(default=None, validator=attrs.validators.optional(positive))
    backoff: float = attrs.field(default=0.9, validator=number(lambda n: 0 < n < 1, "be more than 0 and less than 1"))
    probe_interval: int = attrs.field(default=50, validator=at_least(1))
    min_samples: int = attrs.field(default=10, validator=at_least(1))

    def new_limit(self, bounds: Bounds) -> PodLimit:
        """Begin to learn one pod's limit; an `AdaptiveDetector` calls it."""
        return _GradientLimit(self, bounds)


class _GradientLimit:
    """One pod's limit.

    During a probe `value` is the lowered limit, and `_loaded` what the last round before it had: its limit, its mean
    latency, and whether the limit was in use. `_last_mean` is that of the probe's last round.
    """

    __slots__ = (
        "_backed_off_at",
        "_baseline",
        "_bounds",
        "_last_mean",
        "_loaded",
        "_round",
        "_settings",
        "_since",
        "_stride",
        "_until_probe",
        "value",
    )

    def __init__(self, settings: Gradient2, bounds: Bounds) -> None:
        self._settings = settings
        self._bounds = bounds
        self._round = Round(settings.min_samples)
        self._baseline = math.inf
        self._last_mean = math.inf
        self._loaded: tuple[float, float, bool] | None = None
        # An early probe, for nothing says that the pod is idle at first; not the first round, in which queues fill.
        self._until_probe = _SOON
        self._stride = 1.0
        self._backed_off_at = -math.inf
        self._since = -math.inf
        self.value: float = bounds.initial

    def released(self, in_flight: int, held: float, result: ReleaseResult, now: float) -> None:
        sent_at = now - held
        if result == "dropped":
            # Not `_since`: a request that fails slowly is often older than that.
            if sent_at >= self._backed_off_at:
                self._back_off(now)
        elif sent_at >= self._since:
            self._round.add(in_flight, held)
            if self._round.is_complete(self.value):
                self._judge(now)

    def _back_off(self, now: float) -> None:
        backoff = self._settings.backoff
        if self._loaded is not None:  # a probe goes on, and comes back to less
            limit, mean, is_used = self._loaded
            self._loaded = self._bounds.clip(limit * backoff), mean, is_used
        self.value = self._bounds.clip(self.value * backoff)
        self._stride = 1.0
        self._since = self._backed_off_at = now

    def _judge(self, now: float) -> None:
        mean = self._round.mean
        if self._loaded is not None:
            self._go_on_probing(*self._loaded, mean, now)
            return
        is_used = self._round.is_used(self.value)
        self._until_probe -= 1
        if self._until_probe:
            self._set(self._follow(self.value, mean, is_used=is_used), now)
        else:
            self._loaded = self.value, mean, is_used
            self._halve(mean, now)

    def _go_on_probing(self, limit: float, loaded: float, is_used: bool, mean: float, now: float) -> None:
        if mean < _STILL_FALLING * self._last_mean:
            self._halve(mean, now)
            return
        self._loaded = None
        self._learn_baseline(mean)
        self._since = now  # what was sent during the probe met an idle pod
        self._set(self._follow(limit, loaded, is_used=is_used), now)

    def _learn_baseline(self, mean: float) -> None:
        before = self._baseline
        if abs(mean - before) < _ALIKE * before < math.inf:
            self._baseline = (before + mean) / 2
            self._until_probe = self._settings.probe_interval
        else:
            # The pod is another now, or was overloaded even in the probe, because its capacity just fell: look again.
            self._baseline = mean
            self._until_probe = _SOON

    def _halve(self, mean: float, now: float) -> None:
        self._last_mean = mean
        self._set(self._bounds.clip(self.value / 2), now)

    def _follow(self, limit: float, mean: float, *, is_used: bool) -> float:
        """Return the next limit after a round of this mean latency at a limit."""
        tolerated = self._settings.tolerance * self._baseline
        if mean > tolerated:
            self._stride = 1.0
            target = limit * max(_STEEPEST, tolerated / mean) + self._queue(limit)
        else:
            # The pod keeps up: each round in a row that it does so asks for twice as much more.
            target = limit + min(limit / 2, self._stride * self._queue(limit))
            self._stride *= 2
        return self._bounds.clip(target if is_used else min(limit, target))

    def _queue(self, limit: float) -> float:
        size = self._settings.queue_size
        return math.sqrt(limit) / 2 if size is None else size

    def _set(self, limit: float, now: float) -> None:
        # What was sent under a higher limit says nothing of a lower one; the other way round it does no harm.
        if limit < self.value:
            self._since = now
        self.value = limit
        self._round.begin()
