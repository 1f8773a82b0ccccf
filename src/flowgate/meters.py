"""How fast lanes drain, as far as that was seen.

Each lane has a *meter*, which counts what left for pods while somebody waited: that is what the pods gave, whatever the
reason. What a pool takes at once as it comes up from zero is stock, not flow, and does not count.
"""

import math

import attrs

__all__ = ["DrainMeter", "Pace"]

_SHORTEST, _LONGEST = 5.0, 60.0
"""Seconds of waiting after which a meter turns a page."""
_HOLDS = 2.0
"""How many times as long as a ticket is held a page is at least: where slots come back in batches, it sees two."""
_FORGOTTEN = 60.0
"""Seconds without anybody waiting after which the past says nothing."""
_REMEMBERED = 50
"""Releases that the mean time of a hold looks back on."""
_LEAST_COUNT = 5
"""Dispatches below which a rate is a guess."""


# Slotted and not frozen: written to for each ticket that is released.
@attrs.define(eq=False)
class Pace:
    """How often tickets come back, and after how long: what the meters of all lanes go by.

    Attributes:
        released: Tickets given back since the beginning.
        held: Seconds for which one is held, lately and on average.
    """

    released: int = 0
    held: float = 0.0

    def note(self, held: float) -> None:
        """Note that a ticket came back."""
        self.released = count = self.released + 1
        self.held += (held - self.held) / min(count, _REMEMBERED)

    @property
    def window(self) -> float:
        """Seconds after which a meter turns a page."""
        return min(max(_HOLDS * self.held, _SHORTEST), _LONGEST)


# Slotted and not frozen: written to for each request that waits.
@attrs.define(eq=False)
class _Page:
    """What happened in a stretch of time in which somebody waited."""

    busy: float = 0.0
    went: float = 0.0
    came: dict[int, float] = attrs.Factory(dict[int, float])

    def shortened(self, window: float) -> "_Page":
        """Return the end of it, of no more than so many seconds: a long silence is no long memory."""
        scale = min(1.0, window / self.busy)
        # A page is turned by the first that goes after the window: twice as long a page ends with nobody going.
        went = 0.0 if self.busy >= 2 * window else self.went * scale
        return _Page(self.busy * scale, went, {priority: count * scale for priority, count in self.came.items()})


class DrainMeter:
    """Counts what leaves a lane for pods, and what comes into it, while somebody waits.

    Each call is O(1), or O(bands). It keeps two pages of `Pace.window` seconds, so it forgets within two.

    Args:
        pace: Of all pods.
    """

    __slots__ = ("_mark", "_pace", "_page", "_past", "_since", "_stopped_at")

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._page = _Page()
        self._past = _Page()
        self._since: float | None = None
        self._mark: int | None = None
        self._stopped_at = -math.inf

    def start(self, now: float) -> None:
        """Note that somebody waits, and pods are there."""
        if now - self._stopped_at > _FORGOTTEN:
            self._page, self._past = _Page(), _Page()
        self._since = now

    def restart(self) -> None:
        """Note that pods are there again: nothing counts before the first of them gives a slot back."""
        self._page, self._past = _Page(), _Page()
        self._since = None
        self._mark = self._pace.released

    def stop(self, now: float) -> None:
        """Note that nobody waits any longer, or no pods are there."""
        self._accrue(now)
        self._since = self._mark = None
        self._stopped_at = now

    def came(self, priority: int, now: float) -> None:
        """Note that a request of a band began to wait; while no pods are there, nobody counts."""
        since = self._since
        if since is None:
            return
        if self._page.busy + now - since >= _SHORTEST:  # else no page can be over
            self._accrue(now)
        came = self._page.came
        came[priority] = came.get(priority, 0.0) + 1.0

    def went(self, now: float) -> None:
        """Note that a request left for a pod."""
        if self._since is None:
            if self._mark is not None and self._mark != self._pace.released:
                self._since, self._mark = now, None
            return
        self._page.went += 1.0
        if self._page.busy + now - self._since >= _SHORTEST:
            self._accrue(now)

    def _accrue(self, now: float) -> None:
        if self._since is not None:
            self._page.busy += now - self._since
            self._since = now
        if self._page.busy >= _SHORTEST and self._page.busy >= (window := self._pace.window):
            self._past, self._page = self._page.shortened(window), _Page()

    def rate(self, now: float) -> tuple[float, float] | None:
        """Return requests that leave each second, and how many were counted; None when that is not known.

        Where it was watched long enough and nothing left, the rate is that of one: it cannot be much higher.
        """
        if not self._pace.released or (self._since is None and now - self._stopped_at > _FORGOTTEN):
            return None
        self._accrue(now)
        went, busy = self._page.went + self._past.went, self._page.busy + self._past.busy
        is_known = busy >= self._pace.window or (went >= _LEAST_COUNT and busy > 0)
        return (max(went, 1.0) / busy, max(went, 1.0)) if is_known else None

    def rate_above(self, priority: int) -> float:
        """Return requests of higher bands that come each second, and keep coming: a burst is no rate."""
        if not self._past.busy or not self._page.busy:
            return 0.0
        return min(_above(self._past, priority), _above(self._page, priority))


def _above(page: _Page, priority: int) -> float:
    return sum(count for other, count in page.came.items() if other > priority) / page.busy
