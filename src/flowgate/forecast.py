"""How long a request would wait, as far as that can be known: from the backlog ahead and the rate at which it drains.

Each lane has a *meter*, which counts what left for pods while somebody waited: that is what the pods gave, whatever the
reason. What a pool takes at once as it comes up from zero is stock, not flow, and does not count.
"""

import math
import sys
from typing import TYPE_CHECKING

import attrs

from flowgate.validators import finite_seconds, number_in

if TYPE_CHECKING:
    from flowgate.lanes import Lane
    from flowgate.registry import Band, Flow

__all__ = ["DrainMeter", "Forecast", "Pace", "RetryAfter", "chance_to_miss", "forecast"]

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
_LEAST_SHARE = 0.05
"""Of the rate, what a lower band gets at least in a forecast, however much arrives above it."""
_GOLDEN = (math.sqrt(5) - 1) / 2


@attrs.frozen
class RetryAfter:
    """How a caller that is sent away learns when to come back.

    It is told the predicted wait of a request like its own, never less than `least` nor more than `most`, and then up
    to `jitter` of that more, spread evenly, so that those who were refused together do not come back together.

    Args:
        least: Seconds.
        most: Seconds; no less than `least`.
        jitter: Share of the wait, 0..1.

    Raises:
        ValueError: A value is out of range.
        TypeError: A value is no number.

    >>> RetryAfter().seconds(0.2, turn=0)
    1.0
    """

    least: float = attrs.field(default=1.0, validator=finite_seconds)
    most: float = attrs.field(default=60.0, validator=finite_seconds)
    jitter: float = attrs.field(default=0.2, validator=number_in(0.0, 1.0))

    def __attrs_post_init__(self) -> None:
        if self.most < self.least:
            raise ValueError(f"most must be no less than least={self.least!r}, not {self.most!r}")

    def seconds(self, wait: float, turn: int) -> float:
        """Return what to tell a caller whose wait is predicted.

        Args:
            wait: Seconds.
            turn: The caller's number: any two in a row are told times that lie well apart.
        """
        return min(max(wait, self.least), self.most) * (1.0 + self.jitter * (turn * _GOLDEN % 1.0))


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
        self.released += 1
        self.held += (held - self.held) / min(self.released, _REMEMBERED)

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
        if self._since is None:
            return
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


@attrs.frozen
class Forecast:
    """What can be said of a request that would join the queue now.

    Attributes:
        turn: Its place among those that go before it, itself counted, by the rules of its band.
        rate: Requests that leave each second, of those with its rank or less.
        counted: How many dispatches the rate was measured on; older ones count less.
    """

    turn: int
    rate: float
    counted: float

    @property
    def wait(self) -> float:
        """Predicted wait in seconds."""
        return self.turn / self.rate


def forecast(lane: "Lane", band: "Band", flow: "Flow | None", share: float, now: float) -> Forecast | None:
    """Predict the wait of a request; None when too little is known, or the lane has no pods. O(bands of the lane).

    Args:
        lane: Where it would wait.
        band: Its band.
        flow: Its flow; None for a new one.
        share: Of dispatches, what its band is guaranteed; 0.0 for nothing.
        now: Seconds.
    """
    if lane.meter is None or not lane.candidates.pods:
        return None
    measured = lane.meter.rate(now)
    if measured is None:
        return None
    rate, counted = measured
    above = sum(group.waiting for priority, group in lane.groups.items() if priority > band.priority)
    turn = _turn_in_band(lane, band, flow)
    below = max(rate - lane.meter.rate_above(band.priority), _LEAST_SHARE * rate)
    if turn * below < (above + turn) * share * rate:
        return Forecast(turn, share * rate, counted)
    return Forecast(above + turn, below, counted)


def _turn_in_band(lane: "Lane", band: "Band", flow: "Flow | None") -> int:
    group = lane.groups.get(band.priority)
    if group is None:
        return 1
    queue = None if flow is None else group.flows.get(flow)
    if group.is_ranked:
        return group.waiting + 1
    flows = len(group.flows) + (queue is None)
    return min(group.waiting + 1, (1 if queue is None else len(queue) + 1) * flows)


def chance_to_miss(predicted: Forecast, budget: float) -> float:
    """Return how likely it is, 0..1, that fewer requests leave within a budget (seconds) than must.

    The number that leaves is taken as normal, with the variance of a Poisson process and that of the rate's own
    measurement.
    """
    expected = min(predicted.rate * budget, sys.float_info.max)
    if not expected:
        return 1.0
    spread = math.sqrt(expected) * math.sqrt(1.0 + expected / predicted.counted)
    return 0.5 * (1.0 + math.erf((predicted.turn - expected) / (spread * math.sqrt(2.0))))
