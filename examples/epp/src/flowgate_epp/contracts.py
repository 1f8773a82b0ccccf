"""What the parts of the Endpoint Picker say to each other.

Envoy's stream becomes an `Inbound`; the director answers with a `Reservation` or a `Refusal`; whoever wants to know is
told of each `Decision`. Where pods come from is a `PodSource`, which fills the pool that everybody reads.
"""

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import NamedTuple, Protocol

import attrs

from flowgate import Pod, QueueOutcome

__all__ = ["Decides", "Decision", "DecisionListener", "Inbound", "PodSink", "PodSource", "Refusal", "Reservation"]

_NO_METADATA: Mapping[str, Mapping[str, object]] = MappingProxyType({})


@attrs.define(slots=True)  # unfrozen: one for each request
class Inbound:
    """What Envoy has told of a request when the time has come to decide.

    Args:
        headers: By lower-case name, pseudo-headers (``:path``) included. Of a header that is there several times the
            values are joined with commas; bytes that are no UTF-8 are replaced.
        metadata: Envoy's filter metadata by namespace, as plain Python values.
        body: The whole request body; None where only the headers are sent to us.
    """

    headers: Mapping[str, str]
    metadata: Mapping[str, Mapping[str, object]] = _NO_METADATA
    body: bytes | None = None


@attrs.frozen
class Refusal:
    """A request is not to go on: what its client is told.

    Args:
        status: The HTTP status.
        reason: Why, in a word or two; None when the table of answers gives none.
        message: The same in one sentence.
        headers: Those of the answer: the reason, Retry-After where it is known.
    """

    status: int
    reason: str | None
    message: str
    headers: Mapping[str, str] = attrs.field(factory=dict)


class Reservation(Protocol):
    """A slot of a pod, held for one request until its response has ended."""

    @property
    def endpoint(self) -> str:
        """Where the request is to go, ``ip:port``."""
        ...

    def responded(self, status: int, served: str | None) -> None:
        """Hear that the response has begun.

        Args:
            status: Its HTTP status.
            served: The endpoint that Envoy says has served it; None where it does not say.
        """
        ...

    def close(self, *, is_complete: bool) -> None:
        """Give the slot back; more than once does no harm.

        Args:
            is_complete: Whether the response came to its end; False when the client went away, or the pod failed.
        """
        ...


class Decides(Protocol):
    """The director, as the stream of a request knows it.

    It may also have ``refuses() -> Refusal | None``, which is asked before a body is read.
    """

    async def decide(self, inbound: Inbound) -> "Reservation | Refusal":
        """Hold the request until it may go on, and say where to; cancelled when its client goes away."""
        ...


class Decision(NamedTuple):
    """What was decided on one request; a named tuple, for there is one for each."""

    request_id: str
    """Envoy's, or the client's (``x-request-id``); made up where there is none."""
    headers: Mapping[str, str]
    """The request's, for a trace's context."""
    flow_id: str
    """Whose request it is; shortened and cleaned."""
    priority: int
    """Its band."""
    model: str
    """The model asked for; empty when that is not known."""
    arrived_at: float
    """When it came, in seconds since the epoch."""
    queue_wait: float
    """Seconds from then until flowgate let it go or refused it."""
    pick_seconds: float
    """Seconds that scheduling took after that; 0.0 where it never came to it."""
    outcome: QueueOutcome
    """What flowgate said: DISPATCHED also where no pod was left after that (status 503), REJECTED_INVALID also where
    the director refused before."""
    status: int
    """200 when it went on, else the status its client is told."""
    reason: str | None
    """Why it did not go on."""
    message: str
    """The same in one sentence; empty when it went on."""
    pod: Pod | None
    """Where it went."""


DecisionListener = Callable[[Decision], None]
"""Told of each decision, in the turn in which it is made; must return at once."""


class PodSink(Protocol):
    """The pool, as a source of pods knows it."""

    def set_pods(self, pods: Iterable[Pod]) -> None:
        """Replace all pods of the pool; what is known of those that stay is kept.

        Raises:
            ValueError: Two pods have the same identity; nothing has changed then.
        """
        ...

    def change_pods(self, changed: Iterable[Pod], removed: Iterable[Pod] = ()) -> None:
        """Change some pods of the pool, and look at no other: the way of a source that is told of changes.

        Args:
            changed: Pods that are new, or have other labels; what is known of the latter is kept.
            removed: Pods that have left, before any of the others came; one that is `changed`, too, begins anew.
        """
        ...


class PodSource(Protocol):
    """Where pods come from: a file, DNS, a list, a cluster."""

    async def run(self, sink: PodSink) -> None:
        """Follow the pods until cancelled: tell the sink of all of them at first, and of each change.

        A source that cannot be read logs that once for each outage, leaves the pool as it is, and tries again with
        jittered, growing pauses. Before the first good answer it tells nothing: the program is not ready until then.
        """
        ...
