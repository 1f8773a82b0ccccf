"""What an admitted caller holds."""

from collections.abc import Sequence
from typing import Literal, Protocol

from flowgate.contracts._pods import Pod

__all__ = ["AdmissionTicket", "ReleaseResult"]

ReleaseResult = Literal["ok", "dropped", "ignored"]
"""How a request's stay at a pod ended: well; badly, by the pod's fault; in a way that says nothing of the pod."""


class AdmissionTicket(Protocol):
    """The right to send one request on, and the charge for it: what `flowgate.Ticket` offers, as a contract.

    Its holder releases it once, when the response has ended; until then it counts as load of its pod.
    """

    @property
    def request_id(self) -> str:
        """The request's own id."""
        ...

    @property
    def candidates(self) -> Sequence[Pod]:
        """The pods that may serve the request, the charged one first."""
        ...

    @property
    def pod(self) -> Pod | None:
        """The pod that it is charged to; None when there was none."""
        ...

    @property
    def queue_wait(self) -> float:
        """Seconds from arrival to dispatch."""
        ...

    def open_candidates(self) -> Sequence[Pod]:
        """Return the candidates that still have room for the request, the charged one first."""
        ...

    def assign(self, pod: Pod) -> None:
        """Move the charge to another pod, which the caller's own scheduler prefers."""
        ...

    def settle(self, cost: float) -> None:
        """Say what the request truly cost, in the unit of the band's fairness policy; the last word holds."""
        ...

    def release(self, result: ReleaseResult = "ok") -> None:
        """Give the slot back. Only the first call does anything."""
        ...
