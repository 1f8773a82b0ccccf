"""A limit by additive increase and multiplicative decrease."""

import math

import attrs

from flowgate.contracts import ReleaseResult
from flowgate.saturation._limits import Bounds, PodLimit
from flowgate.saturation._rounds import Round
from flowgate.validators import at_least, number, positive

__all__ = ["Aimd"]

_DEEPEST_CUT = 0.5


@attrs.frozen
class Aimd:
    """Grow a pod's limit step by step while the pod keeps up; cut it by a share when it does not.

    A round of requests, as many as the limit, takes about a round trip. After one whose mean latency is within the
    threshold the limit grows by `increase`, if at least half of it was in use; after a slower one it is cut: to
    `backoff` times what it was, or, where the latency is further over the threshold than that, in proportion, to half
    at most. A dropped request cuts it at once. What was sent before a cut tells of the old limit and is not counted, so
    there is one cut in a round trip. The limit then saws about the load at which the pod turns slow, as TCP's window
    does (Chiu and Jain, "Analysis of the increase and decrease algorithms for congestion avoidance in computer
    networks", 1989).

    It grows from `a` to `b` in (b - a) / increase round trips, and falls within a few. With the defaults it settles
    within 60 round trips of a capacity that changed from 32 to 8 or back, while the pod is always asked for more than
    it can do and request lengths vary by a quarter. Where they vary much more, a round lasts longer. O(1) for each
    release.

    Args:
        latency_threshold: Mean seconds from dispatch to release above which a pod is overloaded; between what it is
            without load and what callers will bear. ``math.inf``: only drops count.
        backoff: What a cut multiplies the limit by; more than 0, less than 1.
        increase: Tickets added by a good round; finite, more than 0.
        min_samples: Fewest requests that make a round, 1 or more.

    Raises:
        ValueError: A number is out of range.
        TypeError: It is none.

    >>> from flowgate.contracts import Pod, PodLoad
    >>> from flowgate.saturation import AdaptiveDetector, Aimd
    >>> detector = AdaptiveDetector(Aimd(latency_threshold=2.0), initial=20)
    >>> pod = Pod("a", "10.0.0.1", 8000)
    >>> detector.released(pod, PodLoad(in_flight=20, since_metrics=20), 0.1, "dropped")
    >>> detector.limit_of(pod)
    18
    """

    latency_threshold: float = attrs.field(
        default=math.inf, validator=number(lambda n: n > 0, "be more than 0 seconds")
    )
    backoff: float = attrs.field(default=0.9, validator=number(lambda n: 0 < n < 1, "be more than 0 and less than 1"))
    increase: float = attrs.field(default=1.0, validator=positive)
    min_samples: int = attrs.field(default=10, validator=at_least(1))

    def new_limit(self, bounds: Bounds) -> PodLimit:
        """Begin to learn one pod's limit; an `AdaptiveDetector` calls it."""
        return _AimdLimit(self, bounds)


class _AimdLimit:
    """One pod's limit, and the round under way."""

    __slots__ = ("_backed_off_at", "_bounds", "_round", "_settings", "value")

    def __init__(self, settings: Aimd, bounds: Bounds) -> None:
        self._settings = settings
        self._bounds = bounds
        self._backed_off_at = -math.inf
        self._round = Round(settings.min_samples)
        self.value: float = bounds.initial

    def released(self, in_flight: int, held: float, result: ReleaseResult, now: float) -> None:
        if now - held < self._backed_off_at:
            return  # it was sent under the old limit, which has had its answer
        if result == "dropped":
            self._back_off(self._settings.backoff, now)
            return
        self._round.add(in_flight, held)
        if self._round.is_complete(self.value):
            self._judge(now)

    def _judge(self, now: float) -> None:
        settings = self._settings
        overload = self._round.mean / settings.latency_threshold
        if overload > 1:
            # Latency grows with the load, so its excess says how much to cut; the queue that stands there adds to it.
            self._back_off(min(settings.backoff, max(_DEEPEST_CUT, 1 / overload)), now)
            return
        if self._round.is_used(self.value):
            self.value = self._bounds.clip(self.value + settings.increase)
        self._round.begin()

    def _back_off(self, share: float, now: float) -> None:
        self.value = self._bounds.clip(self.value * share)
        self._backed_off_at = now
        self._round.begin()
