"""A pod's slot, from the pick to the end of the response."""

import ipaddress
import logging
from collections.abc import Callable
from functools import lru_cache
from typing import Final

from flowgate import Pod
from flowgate.contracts import AdmissionTicket, ReleaseResult

__all__ = ["PodReservation", "is_same_endpoint"]

_log = logging.getLogger("flowgate_epp.director")

_TOO_MANY: Final = 429
_SERVER_ERROR: Final = 500

Elsewhere = Callable[[str, str, str], Pod | None]
"""Told of a request that another endpoint has served: its id, the endpoint picked, the one that served."""


class PodReservation:
    """Holds a ticket until the response has ended, and says how it fared.

    Args:
        ticket: The charge; its pod is the one picked.
        pod: The pod picked.
        closed: Told of that pod once the slot is given back; None where nobody wants to know.
        elsewhere: Told of a request that another endpoint has served; answers with that pod where it is known.
    """

    # Hand-written and slotted: one is made for each request.
    __slots__ = ("_closed", "_elsewhere", "_is_open", "_pod", "_status", "_ticket", "endpoint")

    def __init__(
        self, ticket: AdmissionTicket, pod: Pod, closed: Callable[[Pod], None] | None, elsewhere: Elsewhere
    ) -> None:
        self.endpoint: str = pod.endpoint
        """Where the request is to go, ``ip:port``."""
        self._ticket = ticket
        self._pod = pod
        self._closed = closed
        self._elsewhere = elsewhere
        self._status: int | None = None
        self._is_open = True

    def responded(self, status: int, served: str | None) -> None:
        """Hear that the response has begun; after `close` it is of no interest.

        Args:
            status: Its HTTP status.
            served: The endpoint that Envoy says has served it; None where it does not say.
        """
        if not self._is_open:
            return
        self._status = status
        if served and served != self.endpoint and not is_same_endpoint(served, self.endpoint):
            pod = self._elsewhere(self._ticket.request_id, self.endpoint, served)
            if pod is not None:
                self._ticket.assign(pod)

    def close(self, *, is_complete: bool) -> None:
        """Give the slot back; more than once does no harm.

        Args:
            is_complete: Whether the response came to its end.
        """
        if not self._is_open:
            return
        self._is_open = False
        try:
            self._ticket.release(self._result(is_complete))
        finally:
            if self._closed is not None:
                self._closed(self._pod)

    def _result(self, is_complete: bool) -> ReleaseResult:
        status = self._status
        if status is None:
            return "ignored"  # no response: its client went away, or Envoy tells us of none
        if status >= _SERVER_ERROR or status == _TOO_MANY:
            return "dropped"
        return "ok" if is_complete else "ignored"

    def __repr__(self) -> str:
        return f"<PodReservation {'open' if self._is_open else 'closed'}, at {self.endpoint}>"


def is_same_endpoint(one: str, other: str) -> bool:
    """Return whether two texts name one endpoint, however their IPv6 addresses are written."""
    return one == other or _canonical(one) == _canonical(other)


@lru_cache(maxsize=1_024)
def _canonical(endpoint: str) -> tuple[object, str]:
    host, _, port = endpoint.rpartition(":")
    try:
        return ipaddress.ip_address(host.removeprefix("[").removesuffix("]")), port
    except ValueError:
        return host, port
