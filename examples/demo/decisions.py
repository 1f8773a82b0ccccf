"""What the Endpoint Picker has decided: its log, line by line."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs

from flowgate import QueueOutcome

__all__ = ["OK", "Decision", "DecisionLog"]

OK = 200


@attrs.frozen
class Decision:
    """What was decided on one request.

    Attributes:
        request_id: Which one.
        tenant: Whose it was.
        priority: Its band.
        arrived_at: When it came, in seconds since the epoch.
        queue_wait: Seconds from then until it was let go or refused.
        outcome: What flowgate said.
        status: 200 when it went on, else the status that its client is told.
        reason: Why it did not go on; empty when it did.
        pod: Where it went; empty when it went nowhere.
    """

    request_id: str
    tenant: str
    priority: int
    arrived_at: float
    queue_wait: float
    outcome: QueueOutcome
    status: int
    reason: str = ""
    pod: str = ""

    @property
    def left_at(self) -> float:
        """When it was let go or refused, in seconds since the epoch."""
        return self.arrived_at + self.queue_wait

    @property
    def went_on(self) -> bool:
        """Whether it was sent to a pod."""
        return self.status == OK


class DecisionLog:
    """Reads a log while it is written.

    Args:
        path: The log.

    Attributes:
        errors: What else it says, and calls an error.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read = 0
        self.errors: list[str] = []

    def news(self) -> Iterator[Decision]:
        """Give each decision that was written since the last call, in the order in which they were made."""
        with self._path.open("rb") as log:
            log.seek(self._read)
            for line in log:
                if not line.endswith(b"\n"):
                    return  # the rest of it is being written
                self._read += len(line)
                decision = self._read_line(line)
                if decision is not None:
                    yield decision

    def _read_line(self, line: bytes) -> Decision | None:
        try:
            told: dict[str, Any] = json.loads(line)
        except ValueError:
            return None  # gRPC's own words, which are no JSON
        if told.get("logger") == "flowgate_epp.decisions":
            return Decision(
                request_id=told["request_id"],
                tenant=told["flow"],
                priority=told["priority"],
                arrived_at=told["arrived_at"],
                queue_wait=told["queue_wait"],
                outcome=QueueOutcome(told["outcome"]),
                status=told["status"],
                reason=told["reason"] or "",
                pod=told["pod"] or "",
            )
        if told.get("level") in {"error", "critical"}:
            self.errors.append(str(told.get("event")))
        return None
