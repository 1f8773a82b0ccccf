"""Who is at each address and port."""

from flowgate import Pod
from flowgate_epp.pods._entries import canonical_endpoint

__all__ = ["Endpoints"]

_Endpoint = tuple[str, int]


class Endpoints:
    """Gives each address and port to the first pod that says it is there; its twins wait until it has left.

    >>> endpoints = Endpoints()
    >>> first, twin = Pod("a", "10.0.0.1", 8000), Pod("b", "10.0.0.1", 8000)
    >>> endpoints.join(first), endpoints.join(twin).name, endpoints.leave(first).name
    (None, 'a', 'b')
    """

    def __init__(self) -> None:
        self._endpoints: dict[Pod, _Endpoint] = {}
        self._holders: dict[_Endpoint, Pod] = {}
        self._waiting: dict[_Endpoint, dict[Pod, Pod]] = {}

    def is_waiting(self, pod: Pod) -> bool:
        """Return whether a pod waits for another one to leave. O(1)."""
        return pod in self._waiting.get(self._endpoints.get(pod, ("", 0)), ())

    def join(self, pod: Pod) -> Pod | None:
        """Let a pod have its endpoint, or wait for it; return who is there, None for the pod itself. O(1)."""
        endpoint = self._endpoints.get(pod)
        if endpoint is None:
            endpoint = self._endpoints[pod] = canonical_endpoint(pod)
        holder = self._holders.setdefault(endpoint, pod)
        if holder == pod:
            return None
        self._waiting.setdefault(endpoint, {})[pod] = pod
        return holder

    def leave(self, pod: Pod) -> Pod | None:
        """Let a pod go, wherever it is; return the twin that takes its place, if there is one. O(1)."""
        endpoint = self._endpoints.pop(pod, None)
        if endpoint is None:
            return None
        waiting = self._waiting.get(endpoint, {})
        heir = None
        if waiting.pop(pod, None) is None:
            del self._holders[endpoint]
            if waiting:
                heir = waiting.pop(next(iter(waiting)))
                self._holders[endpoint] = heir
        if not waiting:
            self._waiting.pop(endpoint, None)
        return heir
