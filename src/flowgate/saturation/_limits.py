"""What every algorithm that looks for a pod's limit has to do with."""

from typing import Protocol

import attrs

from flowgate.contracts import ReleaseResult

__all__ = ["Bounds", "PodLimit"]


@attrs.frozen
class Bounds:
    """Where a limit begins, and between which values it stays.

    Args:
        initial: Tickets that a pod may hold before anything is known of it.
        lowest: Fewest tickets.
        highest: Most tickets.
    """

    initial: float
    lowest: float
    highest: float

    def clip(self, limit: float) -> float:
        """Return the limit, or the bound that it passes."""
        return min(self.highest, max(self.lowest, limit))


class PodLimit(Protocol):
    """One pod's limit, while it is learned."""

    value: float
    """Tickets that the pod may hold now."""

    def released(self, in_flight: int, held: float, result: ReleaseResult, now: float) -> None:
        """Learn from one ticket.

        Args:
            in_flight: Tickets that the pod held, this one counted.
            held: Seconds from dispatch to release.
            result: ``"ok"`` or ``"dropped"``.
            now: The time in seconds.
        """
        ...
