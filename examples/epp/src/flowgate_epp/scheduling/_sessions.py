"""A scorer for requests that belong together."""

from collections import OrderedDict
from collections.abc import Sequence

import attrs

from flowgate import Pod
from flowgate.validators import at_least, instance_of
from flowgate_epp.scheduling._requests import InferenceRequest

__all__ = ["SessionAffinity"]


def _lower(value: str) -> str:
    return value.lower() if isinstance(value, str) else value


@attrs.define(eq=False)
class SessionAffinity:
    """The pod that served the session's last request scores 1.0, any other 0.0.

    A header names the session. Requests without one, and first requests of a session, score 0.0 everywhere, and so go
    where the other scorers want them. Time is O(pods), memory O(`max_sessions`), whatever clients send.

    Args:
        header: The header, in any case.
        max_sessions: How many sessions are remembered; the one that was quiet longest is forgotten first.

    Raises:
        ValueError: `max_sessions` is less than 1.
    """

    header: str = attrs.field(default="x-session-id", converter=_lower, validator=instance_of(str))
    max_sessions: int = attrs.field(default=10_000, validator=at_least(1))
    # By the id's hash, for ids may be long. That of a text is keyed by the process: nobody can make up collisions.
    _pods: OrderedDict[int, Pod] = attrs.field(factory=OrderedDict[int, Pod], init=False, repr=False)

    @property
    def name(self) -> str:
        """``"session-affinity"``."""
        return "session-affinity"

    def score(self, request: InferenceRequest, pods: Sequence[Pod]) -> Sequence[float]:
        """Score the session's last pod with 1.0."""
        session = request.headers.get(self.header)
        last = self._pods.get(hash(session)) if session else None
        if last is None:
            return [0.0] * len(pods)
        return [1.0 if pod == last else 0.0 for pod in pods]

    def picked(self, request: InferenceRequest, pod: Pod) -> None:
        """Remember where the session's request goes."""
        session = request.headers.get(self.header)
        if not session:
            return
        number = hash(session)
        self._pods[number] = pod
        self._pods.move_to_end(number)
        if len(self._pods) > self.max_sessions:
            self._pods.popitem(last=False)
