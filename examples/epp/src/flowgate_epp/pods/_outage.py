"""What everything has in common that asks somebody else again and again: pauses, and few words about failures."""

import logging
import random

import attrs

__all__ = ["Backoff", "Outage", "jittered"]

_MOST_REASONS = 8
_LONGEST_REASON = 600


def jittered(seconds: float, share: float = 0.1) -> float:
    """Return a time drawn evenly from around another one, up to a share of it to either side.

    Args:
        seconds: The time, in seconds.
        share: How far from it, 0..1.
    """
    return seconds * random.uniform(1.0 - share, 1.0 + share)


@attrs.define
class Backoff:
    """Pauses between attempts that fail: each twice the one before, jittered downwards by up to a half.

    Args:
        first: The first pause, in seconds.
        most: The longest, in seconds.
    """

    first: float
    most: float
    _next: float = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.reset()

    def pause(self) -> float:
        """Return the pause after a failure, in seconds."""
        pause, self._next = self._next, min(2.0 * self._next, self.most)
        return jittered(0.75 * pause, share=1 / 3)

    def reset(self) -> None:
        """Begin anew: an attempt was good."""
        self._next = min(self.first, self.most)


class Outage:
    """Says in the log that something fails: once for each reason of an outage, and once that it is over.

    Args:
        logger: Where to.
        what: What fails, at the beginning of a sentence.
        consequence: What that means meanwhile.
        calm: Good answers in a row that end an outage: more than 1, so that a source that fails now and then, and is
            asked often, does not fill the log.
    """

    def __init__(self, logger: logging.Logger, what: str, consequence: str, calm: int = 1) -> None:
        self._logger = logger
        self._what = what
        self._consequence = consequence
        self._calm = calm
        self._good = 0
        self._reasons: set[str] = set()
        self.failures: int = 0
        """Failures of the present outage; 0 when there is none."""

    def fail(self, reason: str) -> None:
        """Note a failure."""
        self.failures += 1
        self._good = 0
        # Others write the reasons: neither their number nor their length is up to them.
        reason = reason[:_LONGEST_REASON]
        if reason not in self._reasons and len(self._reasons) < _MOST_REASONS:
            self._reasons.add(reason)
            self._logger.warning("%s: %s; %s", self._what, reason, self._consequence)

    def recover(self) -> None:
        """Note a good answer."""
        if not self.failures:
            return
        self._good += 1
        if self._good >= self._calm:
            self._logger.info("%s: well again, after %d failures", self._what, self.failures)
            self.failures = 0
            self._reasons.clear()
