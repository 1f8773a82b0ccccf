"""Shares of bands: how far a band that waits lags behind what it is guaranteed."""

import attrs

from flowgate.contracts import Pod
from flowgate.testing._model import Model
from flowgate.testing._model_parts import MovableRequest

__all__ = ["Lags"]


@attrs.define
class _Lag:
    """What a band is owed since it began to wait, in slots.

    Attributes:
        now: How far it lags behind its share.
        least: How little it ever did.
        credit: What it has earned and not had yet; never less than nothing.
    """

    now: float = 0.0
    least: float = 0.0
    credit: float = 0.0


class Lags:
    """Holds an engine to the shares that bands are guaranteed.

    The bound is exact where all who wait want the same pods. Once some do not, it is not asked for until nobody waits
    any longer: what a band is owed ends with its wait.
    """

    def __init__(self, model: Model) -> None:
        self._model = model
        self._lags: dict[int, _Lag] = {}
        self._is_exact = True

    def restart(self) -> None:
        """Forget what went on until now: shares may be others."""
        self._lags.clear()

    def note_waiting(self) -> None:
        """Note who waits, after each change: a band that waits no longer is owed nothing."""
        if self._model.config.band_shares is None:
            return
        waiting = {request.priority for request in self._model.waiting}
        self._lags = {priority: lag for priority, lag in self._lags.items() if priority in waiting}
        wanted = {frozenset(self._model.candidates(request)) for request in self._model.waiting}
        self._is_exact = len(wanted) <= 1 and (self._is_exact or not waiting)

    def dispatched(self, request: MovableRequest, pod: Pod) -> None:
        """Count a dispatch of a request that waited, and is still on the list, and check all who might have had it."""
        model = self._model
        if model.config.band_shares is None or not model.is_static:
            return
        shares = model.config.band_shares.shares
        wanting = {
            other.priority for other in model.waiting if model.speaks_for_lane(other) and pod in model.candidates(other)
        }
        for priority in wanting & set(shares):
            lag = self._lags.setdefault(priority, _Lag())
            lag.now += shares[priority] - (request.priority == priority)
            lag.least = min(lag.least, lag.now)
            lag.credit += shares[priority]
            self._check(priority, lag, model.config.band_shares.bound())
        self._check_owed(request, is_first=request.priority == max(wanting))

    def _check_owed(self, request: MovableRequest, *, is_first: bool) -> None:
        lag = self._lags.get(request.priority, _Lag())
        assert is_first or lag.credit >= 1 - 1e-6, (
            f"{request} went before a higher band, and its own is owed {lag.credit:g} slots"
        )
        lag.credit = max(0.0, lag.credit - 1)

    def _check(self, priority: int, lag: _Lag, bound: float) -> None:
        # It lost what lies between how little it once lagged and how far it lags now.
        assert not self._is_exact or lag.now - lag.least <= bound + 1e-9, (
            f"band {priority} lags {lag.now - lag.least:g} slots behind its share, and at most {bound:g} are promised"
        )
