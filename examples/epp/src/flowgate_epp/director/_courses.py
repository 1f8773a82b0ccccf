"""What a request went through, for those who want to know."""

import asyncio
import time
from typing import Final

from flowgate import Pod, QueueOutcome
from flowgate_epp.contracts import Decision, Inbound, Refusal
from flowgate_epp.director._requests import GatewayRequest

__all__ = ["Course"]

_OK: Final = 200


class Course:
    """Takes the times of one request; made only where somebody listens.

    Args:
        inbound: The request.
    """

    __slots__ = ("_admitted_at", "_arrived_at", "_began", "_inbound", "_time")

    def __init__(self, inbound: Inbound) -> None:
        self._inbound = inbound
        self._time = asyncio.get_running_loop().time
        self._arrived_at = time.time()
        self._began = self._time()
        self._admitted_at: float | None = None

    def admitted(self) -> None:
        """Note that flowgate has let it go."""
        self._admitted_at = self._time()

    def placed(self, request: GatewayRequest, pod: Pod) -> Decision:
        """Tell that it goes to a pod."""
        return self._decision(request, QueueOutcome.DISPATCHED, _OK, None, "", pod)

    def refused(self, request: GatewayRequest, outcome: QueueOutcome, refusal: Refusal) -> Decision:
        """Tell that it does not go."""
        return self._decision(request, outcome, refusal.status, refusal.reason, refusal.message, None)

    def _decision(
        self,
        request: GatewayRequest,
        outcome: QueueOutcome,
        status: int,
        reason: str | None,
        message: str,
        pod: Pod | None,
    ) -> Decision:
        now = self._time()
        admitted_at = now if self._admitted_at is None else self._admitted_at
        return Decision(
            request.request_id(),
            self._inbound.headers,
            request.key.id,
            request.key.priority,
            request.model,
            self._arrived_at,
            admitted_at - self._began,
            now - admitted_at,
            outcome,
            status,
            reason,
            message,
            pod,
        )
