"""Only the leader decides: what reaches another Endpoint Picker is told to come again."""

import random
from http import HTTPStatus
from typing import Final, Protocol

import attrs

from flowgate_epp.contracts import Decides, Inbound, Refusal, Reservation

__all__ = ["LeaderOnly"]

_AGAIN: Final = (1, 2, 3)
"""Seconds, drawn for each: a new leader takes that long, and not everybody is to come at once."""
_REASON: Final = "x-flowgate-dropped-reason"


class _Leads(Protocol):
    @property
    def is_leader(self) -> bool: ...

    @property
    def is_lost(self) -> bool: ...


class LeaderOnly:
    """Decides like another, for as long as we lead; else it refuses, with 503 and Retry-After.

    Asked before a body is read (`refuses`), as a request comes, and once more when one that was held may go: what a
    stalled leader lets go when it wakes up might go to pods that another fills by then. After a resignation in good
    order those that are held go on.

    Args:
        decides: Who decides.
        election: Whether we lead, and whether we have lost it.
    """

    def __init__(self, decides: Decides, election: _Leads) -> None:
        self._decides = decides
        self._election = election

    def refuses(self) -> Refusal | None:
        """Return what a request is told that comes now; None when it may go on to `decide`."""
        return None if self._election.is_leader else _not_leading()

    async def decide(self, inbound: Inbound) -> Reservation | Refusal:
        """Hold the request as the other does, or refuse it at once."""
        if (refusal := self.refuses()) is not None:
            return refusal
        answer = await self._decides.decide(inbound)
        if isinstance(answer, Refusal):
            return _with_retry_after(answer)
        if not self._election.is_lost:
            return answer
        answer.close(is_complete=False)
        return _not_leading()


def _not_leading() -> Refusal:
    return Refusal(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "not-leading",
        "Another endpoint picker leads, or soon will.",
        {_REASON: "not-leading", "retry-after": _again()},
    )


def _with_retry_after(refusal: Refusal) -> Refusal:
    """Complete what is told to those who waited as the leadership ended: nobody there can say how long."""
    if refusal.reason != "shutting-down" or "retry-after" in refusal.headers:
        return refusal
    return attrs.evolve(refusal, headers={**refusal.headers, "retry-after": _again()})


def _again() -> str:
    return str(random.choice(_AGAIN))
