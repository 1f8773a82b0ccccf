"""What can be told of one request: why it waits, or how it went."""

import json
import math
from typing import Any

import attrs

from flowgate.contracts import FlowKey, Pod
from flowgate.outcomes import QueueOutcome
from flowgate.pods import PodStats

__all__ = ["Explanation", "printable"]

_LONGEST = 200


@attrs.frozen(kw_only=True)
class Explanation:
    """Why one request waits, or how it went; ``str()`` tells it in a few lines.

    Of a request that waits, everything is as it is now. Of one that went, pods and ceiling are as they are when a
    ticket is asked, and as they were just after the decision where it comes from the recent decisions.

    Attributes:
        request_id: The request's own id.
        outcome: How its stay ended; None while it waits.
        reason: Why, in one sentence.
        time: When this was so, in seconds of the controller's clock.
        waited: Seconds from arrival until then, or until the outcome.
        flow_key: Its flow and priority; None where they could not be read.
        band: The band's name.
        lane: The key of its candidate selection, as text; empty where it is not kept.
        gate: The mean of min(1, saturation) over its candidates: 1.0 without any. None where it is not kept.
        ceiling: How full its band may make a pod, 0..1; None where there is no such band.
        pods: Its candidates, at most 16 of them; of a request in the recent decisions, the pod that it went to.
        pod_count: How many candidates there are in all.
        pod: Where it went; None while it waits, or when it went nowhere.
        place: Its place in its flow, 1 for the next by the dispatch policy's order; None once it left.
        ahead: The ids of those before it in its flow, at most 8, the next one first.
        turn: How many dispatches in its lane it takes until it has gone, itself counted, by the rules of its band as
            far as they can be foretold; None once it left.
        above: How many of these are requests of higher bands.
        estimate: Seconds until it goes, from that and the measured rate; None where that is not known.
        budget_left: Seconds until it is evicted, if nothing changes; infinite for never, None once it left.
    """

    request_id: str
    outcome: QueueOutcome | None
    reason: str
    time: float
    waited: float
    flow_key: FlowKey | None
    band: str = ""
    lane: str = ""
    gate: float | None = None
    ceiling: float | None = None
    pods: tuple[PodStats, ...] = ()
    pod_count: int = 0
    pod: Pod | None = None
    place: int | None = None
    ahead: tuple[str, ...] = ()
    turn: int | None = None
    above: int = 0
    estimate: float | None = None
    budget_left: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return it as values that JSON can hold; a budget without end is None."""
        key = self.flow_key
        return {
            "request_id": self.request_id,
            "outcome": "waiting" if self.outcome is None else self.outcome.value,
            "reason": self.reason,
            "time": self.time,
            "waited": self.waited,
            "flow": None if key is None else key.id,
            "priority": None if key is None else key.priority,
            "band": self.band,
            "lane": self.lane,
            "gate": _finite(self.gate),
            "ceiling": self.ceiling,
            "pods": [
                {
                    "name": each.pod.name,
                    "namespace": each.pod.namespace,
                    "endpoint": each.pod.endpoint,
                    "in_flight": each.in_flight,
                    "saturation": _finite(each.saturation),
                }
                for each in self.pods
            ],
            "pod_count": self.pod_count,
            "pod": None if self.pod is None else self.pod.endpoint,
            "place": self.place,
            "ahead": list(self.ahead),
            "turn": self.turn,
            "above": self.above,
            "estimate": _finite(self.estimate),
            "budget_left": _finite(self.budget_left),
        }

    def as_json(self) -> str:
        """Return `as_dict` as one line of JSON."""
        return json.dumps(self.as_dict(), separators=(",", ":"))

    def text(self) -> str:
        """Tell it in a few lines for a terminal or a log; what a client chose is escaped where it is not printable."""
        whose = "" if self.flow_key is None else f" of {self.flow_key}"
        done = "waits" if self.outcome is None else f"was {self.outcome.value}"
        lines = [f"request {printable(self.request_id)}{printable(whose)} {done} after {self.waited:.3f} s"]
        lines.append(f"  why: {printable(self.reason)}")
        if self.band:
            lines.append(f"  band: {printable(self.band)}")
        if self.lane:
            lines.append(f"  lane: {printable(self.lane)}")
        lines.extend(self._queue_lines())
        lines.extend(self._pod_lines())
        if self.budget_left is not None:
            lines.append(f"  budget: {_left(self.budget_left)}")
        return "\n".join(lines)

    __str__ = text

    def _queue_lines(self) -> list[str]:
        if self.place is None or self.turn is None:
            return []
        before = ", ".join(map(printable, self.ahead))
        more = self.place - 1 - len(self.ahead)
        behind = f", behind {before}{f' and {more} more' if more else ''}" if before else ""
        higher = f", {self.above} of them of higher bands" if self.above else ""
        lines = [
            f"  place: {self.place} in its flow{behind}",
            f"  turn: {self.turn - 1} requests of its lane go before it{higher}",
        ]
        if self.estimate is not None:
            lines.append(f"  estimate: about {self.estimate:.3g} s more, as pods free up now")
        return lines

    def _pod_lines(self) -> list[str]:
        lines: list[str] = []
        if self.gate is not None and self.ceiling is not None:
            lines.append(f"  gate: candidates are {self.gate:.0%} full; its band may fill a pod to {self.ceiling:.0%}")
        lines.extend(
            f"  pod: {printable(each.pod.name)} at {printable(each.pod.endpoint)}: {each.in_flight} in flight, "
            f"saturation {each.saturation:.2f}"
            for each in self.pods
        )
        if self.pod_count > len(self.pods):
            lines.append(f"  and {self.pod_count - len(self.pods)} more pods")
        return lines


def printable(text: str) -> str:
    r"""Return a text that is safe on a terminal: escaped where it is not printable, and cut after 200 characters.

    >>> printable("a\x1b[2Jb")
    'a\\x1b[2Jb'
    """
    cut = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in cut)


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else value


def _left(budget: float) -> str:
    if budget == math.inf:
        return "it may wait for ever"
    return f"evicted in {max(0.0, budget):.3f} s, if nothing changes"
