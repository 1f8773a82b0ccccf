"""Why a request waits, or how it went: a record, as text, and as what JSON can hold."""

import math
from typing import TYPE_CHECKING, Literal

import attrs

from flowgate.contracts import FlowKey, Pod
from flowgate.outcomes import QueueOutcome
from flowgate.pods import PodStats
from flowgate.requests import id_of

if TYPE_CHECKING:
    from flowgate.ticket import Ticket

__all__ = ["Explanation", "explain_ticket"]

_LONGEST = 120


@attrs.frozen(kw_only=True)
class Explanation:
    """One request, explained: as it is while it waits, else as it was when it left.

    What is not known, or was not kept, is None or empty.

    Attributes:
        request_id: Its id; several requests may have the same one.
        outcome: How it ended; None while it waits.
        reason: In one word. Of a request that waits: ``"no-pods"``, ``"full"`` (all candidates), ``"held-back"`` (they
            have room, but not for its band), ``"higher-band"`` (under ``hol_scope="pool"`` one comes first), ``"due"``
            (a pass comes). Of one that went: ``"at-once"``, ``"in-turn"``, or ``"went"`` where that was not kept. Of
            one that was dropped: its outcome.
        message: The reason as a sentence, without the request.
        flow: Its flow and priority; None where they could not be read.
        band: The name of its band.
        lane: What named its lane, as Python writes it: the locator's selection key, or its flow.
        at: When this was so, in seconds of the controller's clock: now, or when it left.
        waited: Seconds that it waited until then.
        ttl_left: Seconds until it is evicted; infinite for never, None unless it waits.
        place: Its place in its flow's queue, 1 for the next to go; None unless it waits.
        ahead_in_band: How many of its band and lane go before it: exactly where the order between flows is known
            (one flow, or `BestHead`), else as many as there would be if the flows took turns; None unless it waits.
        ahead_above: How many of higher bands wait in its lane; None unless it waits.
        ahead: The ids of the first 10 of all those, highest band first, then by arrival.
        ahead_on_arrival: How many of its band and of higher ones waited in its lane when it came.
        estimate: Expected wait from now on in seconds, by how fast its lane drained; None where that is not known.
        saturation: How full its least full candidate is, or the pod that it went to was: 1.0 and more is full.
        ceiling: How full a pod may be for its band to use it: the request goes where the saturation is below.
        pods: Its first 10 candidates, least full first. Of one that went, those that were open, the charged pod first.
        pod_count: How many candidates there are in all.
        pod: The pod that it was charged to at first; None unless it went.
        retry_after: Seconds after which its caller was told to come back, if it was.
    """

    request_id: str
    outcome: QueueOutcome | None
    reason: str
    message: str
    flow: FlowKey | None
    band: str = ""
    lane: str | None = None
    at: float
    waited: float
    ttl_left: float | None = None
    place: int | None = None
    ahead_in_band: int | None = None
    ahead_above: int | None = None
    ahead: tuple[str, ...] = ()
    ahead_on_arrival: int | None = None
    estimate: float | None = None
    saturation: float | None = None
    ceiling: float | None = None
    pods: tuple[PodStats, ...] = ()
    pod_count: int = 0
    pod: Pod | None = None
    retry_after: float | None = None

    @property
    def state(self) -> Literal["waiting", "dispatched", "dropped"]:
        """Where it stands."""
        if self.outcome is None:
            return "waiting"
        return "dispatched" if self.outcome is QueueOutcome.DISPATCHED else "dropped"

    def as_dict(self) -> dict[str, object]:
        """Return plain values that JSON can hold: the attributes by name, and `state`. An infinite number is None."""
        return {
            "request_id": self.request_id,
            "state": self.state,
            "outcome": None if self.outcome is None else self.outcome.value,
            "reason": self.reason,
            "message": self.message,
            "flow": None if self.flow is None else self.flow.id,
            "priority": None if self.flow is None else self.flow.priority,
            "band": self.band,
            "lane": self.lane,
            "at": self.at,
            "waited": self.waited,
            "ttl_left": _finite(self.ttl_left),
            "place": self.place,
            "ahead_in_band": self.ahead_in_band,
            "ahead_above": self.ahead_above,
            "ahead": list(self.ahead),
            "ahead_on_arrival": self.ahead_on_arrival,
            "estimate": _finite(self.estimate),
            "saturation": _finite(self.saturation),
            "ceiling": self.ceiling,
            "pods": [
                {**_pod(each.pod), "in_flight": each.in_flight, "saturation": _finite(each.saturation)}
                for each in self.pods
            ],
            "pod_count": self.pod_count,
            "pod": None if self.pod is None else _pod(self.pod),
            "retry_after": self.retry_after,
        }

    def text(self) -> str:
        """Return a few lines for people. What a terminal would obey is escaped, and what is long is cut."""
        lines = [f"request {_plain(self.request_id)} {self._state_text()}: {_visible(self.message)}"]
        lines.extend(
            f"  {line}"
            for line in (self._place_text(), self._queue_text(), self._time_text(), self._gate_text())
            if line
        )
        lines.extend(
            f"  pod {_plain(each.pod.name)} at {_plain(each.pod.endpoint)}: saturation {each.saturation:.3g},"
            f" {each.in_flight} in flight"
            for each in self.pods
        )
        if self.pod_count > len(self.pods) > 0:
            lines.append(f"  and {self.pod_count - len(self.pods)} more pods")
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.text()

    def _state_text(self) -> str:
        if self.outcome is None:
            return f"has waited {self.waited:.3f} s"
        if self.pod is not None:
            return f"went to {_plain(self.pod.endpoint)} after {self.waited:.3f} s"
        what = "went" if self.state == "dispatched" else f"was dropped ({self.outcome.value})"
        return f"{what} after {self.waited:.3f} s"

    def _place_text(self) -> str:
        if self.flow is None:
            return ""
        band = f"band {self.flow.priority}" + (f" {_plain(self.band)}" if self.band else "")
        lane = "" if self.lane is None else f", lane {_plain(self.lane)}"
        return f"{band}, flow {_plain(self.flow.id)}{lane}"

    def _queue_text(self) -> str:
        parts: list[str] = []
        if self.place is not None:
            parts.append(f"place {self.place} in its flow")
            parts.append(f"ahead of it {self.ahead_in_band} of its band and {self.ahead_above} of higher bands")
        if self.ahead:
            more = (self.ahead_in_band or 0) + (self.ahead_above or 0) - len(self.ahead)
            rest = f" and {more} more" if more > 0 else ""
            parts[-1] += f" ({', '.join(map(_plain, self.ahead))}{rest})"
        return "; ".join(parts)

    def _time_text(self) -> str:
        parts: list[str] = []
        if self.ahead_on_arrival is not None:
            parts.append(f"{self.ahead_on_arrival} were there when it came")
        if self.estimate is not None:
            parts.append(f"about {self.estimate:.3g} s to wait")
        if self.ttl_left is not None:
            parts.append("no deadline" if self.ttl_left == math.inf else f"{self.ttl_left:.3f} s left")
        if self.retry_after is not None:
            parts.append(f"told to come back after {self.retry_after:.3g} s")
        return "; ".join(parts)

    def _gate_text(self) -> str:
        ceiling = None if self.ceiling is None else f"its band may use a pod below {self.ceiling:.3g}"
        if self.saturation is None:
            return ceiling or ""
        whose = "least full candidate" if self.pod is None else "pod"
        gate = f"{whose} at saturation {self.saturation:.3g}"
        return f"{gate}; {ceiling}" if ceiling else gate


def explain_ticket(ticket: "Ticket") -> Explanation:
    """Return what a ticket itself knows of how its request went."""
    flow, first = ticket.flow, ticket.first
    return Explanation(
        request_id=id_of(ticket.request) or "",
        outcome=QueueOutcome.DISPATCHED,
        reason="went",
        message="it was let go, and no more of it is kept",
        flow=None if flow is None else flow.key,
        band="" if flow is None else flow.band.config.name,
        at=ticket.dispatched_at,
        waited=ticket.queue_wait,
        pod_count=len(ticket.candidates),
        pod=None if first is None else first.pod,
    )


def _pod(pod: Pod) -> dict[str, object]:
    return {"name": pod.name, "namespace": pod.namespace, "endpoint": pod.endpoint}


def _finite(value: float | None) -> float | None:
    return None if value is None or math.isinf(value) else value


def _visible(text: str) -> str:
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def _plain(text: str) -> str:
    shown = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
    return _visible(shown)
