"""The requests by which a limit is judged."""

import math

__all__ = ["Round"]

_PRECISION = 0.05
_MOST_SAMPLES = 1_000


class Round:
    """Requests that ended well while a limit was in force: at least `least` of them, and as many as the limit.

    It goes on until the standard error of their mean latency is 5 % of it, or to 1,000 requests: where lengths vary
    much, judgement takes longer, and is not led astray by chance. With little noise it is about a round trip.

    Args:
        least: Fewest requests that make a round.
    """

    __slots__ = ("_count", "_least", "_mean", "_peak", "_squares")

    def __init__(self, least: int) -> None:
        self._least = least
        self.begin()

    def begin(self) -> None:
        """Forget all requests."""
        self._count = 0
        self._mean = 0.0
        self._squares = 0.0
        self._peak = 0

    def add(self, in_flight: int, held: float) -> None:
        """Take a request in: the tickets that the pod held when it ended, and its latency in seconds."""
        # Welford's way, for the difference of two large sums has no digits left.
        self._count += 1
        excess = held - self._mean
        self._mean += excess / self._count
        self._squares += excess * (held - self._mean)
        self._peak = max(self._peak, in_flight)

    def is_complete(self, limit: float) -> bool:
        """Return whether there are enough requests to judge a limit."""
        if self._count < max(self._least, int(limit)):
            return False
        return self._count >= _MOST_SAMPLES or math.sqrt(self._squares) <= _PRECISION * self._mean * self._count

    def is_used(self, limit: float) -> bool:
        """Return whether the pod held at least half of the limit: a limit that nobody needs is not put to the test."""
        return 2 * self._peak >= limit

    @property
    def mean(self) -> float:
        """Mean latency in seconds."""
        return self._mean
