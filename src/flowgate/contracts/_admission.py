"""The question a gateway asks: may this request go on, and to which pods."""

from typing import Protocol, runtime_checkable

from flowgate.contracts._requests import FlowControlRequest
from flowgate.contracts._tickets import AdmissionTicket

__all__ = ["AdmissionController"]


@runtime_checkable
class AdmissionController(Protocol):
    """Admits a request, now or later, or says why not.

    Called once for each request, by its own task. Whoever schedules afterwards checks the ticket's candidates again,
    and answers 503 when none is left.
    """

    async def admit(self, request: FlowControlRequest) -> AdmissionTicket:
        """Wait until the request may go on.

        Returns:
            A ticket: its candidates, and the charge that the caller must release.

        Raises:
            FlowControlError: The request was rejected or evicted.
        """
        ...
