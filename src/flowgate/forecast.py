"""How long a request would wait, as far as that can be known: the backlog ahead, at the rate at which it drains."""

import math
import sys
from typing import TYPE_CHECKING

import attrs

from flowgate.validators import finite_seconds, number_in

if TYPE_CHECKING:
    from flowgate.lanes import Lane
    from flowgate.registry import Band, Flow

__all__ = ["Forecast", "RetryAfter", "chance_to_miss", "forecast"]

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


def forecast(
    lane: "Lane", band: "Band", flow: "Flow | None", share: float, now: float, *, turn: int | None = None
) -> Forecast | None:
    """Predict the wait of a request; None when too little is known, or the lane has no pods. O(bands of the lane).

    Args:
        lane: Where it would wait.
        band: Its band.
        flow: Its flow; None for a new one.
        share: Of dispatches, what its band is guaranteed; 0.0 for nothing.
        now: Seconds.
        turn: Its place in its band, of a request that waits already; None for one that would join now.
    """
    if lane.meter is None or not lane.candidates:
        return None
    measured = lane.meter.rate(now)
    if measured is None:
        return None
    rate, counted = measured
    above = sum(group.waiting for priority, group in lane.groups.items() if priority > band.priority)
    turn = _turn_in_band(lane, band, flow) if turn is None else turn
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
