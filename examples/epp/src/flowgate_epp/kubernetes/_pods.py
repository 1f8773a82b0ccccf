"""From the pods of a cluster to those that serve."""

import ipaddress
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from flowgate import Pod
from flowgate_epp.contracts import PodSink
from flowgate_epp.kubernetes._pool import table

__all__ = ["PodsFollower", "serving", "trimmed"]


def trimmed(pod: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return of a pod what is looked at here: a list of thousands need not be there at full length."""
    metadata, status = table(pod.get("metadata")), table(pod.get("status"))
    return {
        "metadata": {key: metadata.get(key) for key in ("name", "namespace", "labels", "deletionTimestamp")},
        "status": {key: status.get(key) for key in ("phase", "conditions", "podIP")},
    }


def serving(pod: Mapping[str, Any], ports: Sequence[int]) -> tuple[Pod, ...]:
    """Return where a pod serves: at each port, while it runs, is ready, is not being deleted and has an IP address."""
    metadata, status = table(pod.get("metadata")), table(pod.get("status"))
    if metadata.get("deletionTimestamp") is not None or status.get("phase") != "Running" or not _is_ready(status):
        return ()
    address = status.get("podIP")
    if not isinstance(address, str) or not _is_ip(address):
        return ()
    labels = table(metadata.get("labels"))
    return tuple(
        [Pod(metadata["name"], address, port, namespace=metadata["namespace"], labels=labels) for port in ports]
    )


def _is_ready(status: Mapping[str, Any]) -> bool:
    conditions = status.get("conditions")
    return isinstance(conditions, list) and any(
        table(condition).get("type") == "Ready" and condition.get("status") == "True" for condition in conditions
    )


def _is_ip(address: str) -> bool:
    try:
        ipaddress.ip_address(address)
    except ValueError:
        return False
    return "%" not in address  # Envoy does not read zones


class PodsFollower:
    """Tells a sink of the pods that serve, as a reflector tells of those that there are.

    A change costs O(change), whatever the number of pods; and one that leaves them where they are, such as most that a
    node reports, tells the sink nothing.

    Args:
        sink: The pool.
        ports: Where each pod serves.
        on_synced: Called before the sink is told of anything, when the whole list is there.
    """

    def __init__(self, sink: PodSink, ports: Sequence[int], on_synced: Callable[[], None]) -> None:
        self._sink = sink
        self._ports = ports
        self._on_synced = on_synced
        self._is_synced = False
        # Of those that serve alone, by name: they are all of one namespace.
        self._serving: dict[str, tuple[Pod, ...]] = {}

    def update(self, changed: Sequence[Mapping[str, Any]], removed: Sequence[Mapping[str, Any]]) -> None:
        """Take what has changed; at first, the whole list."""
        gone = [pod for each in removed for pod in self._serving.pop(each["metadata"]["name"], ())]
        newer: dict[Pod, Pod] = {}
        for each in changed:
            name, now = each["metadata"]["name"], serving(each, self._ports)
            before = self._serving.pop(name, ())
            if now:
                self._serving[name] = now
            newer.update((pod, pod) for pod in now if not _is_same(pod, before))
            for pod in before:
                if pod not in now:
                    gone.append(pod)
                    newer.pop(pod, None)
        self._tell(newer, gone)

    def listen_at(self, ports: Sequence[int]) -> None:
        """Let all pods serve at these ports, at once. O(pods), where they are others than before."""
        if tuple(ports) == tuple(self._ports):
            return
        self._ports = ports
        before, self._serving = self._serving, {}
        for name, pods in before.items():
            first = pods[0]
            self._serving[name] = tuple(
                [Pod(name, first.address, port, namespace=first.namespace, labels=first.labels) for port in ports]
            )
        if self._is_synced:
            old = {pod for pods in before.values() for pod in pods}
            new = {pod: pod for pods in self._serving.values() for pod in pods}
            self._tell(
                {pod: pod for pod in new if pod not in old},
                [pod for pods in before.values() for pod in pods if pod not in new],
            )

    def _tell(self, changed: Mapping[Pod, Pod], removed: Sequence[Pod]) -> None:
        if not self._is_synced:
            self._is_synced = True
            self._on_synced()
            self._sink.set_pods([pod for pods in self._serving.values() for pod in pods])
        elif changed or removed:
            self._sink.change_pods(changed.values(), removed)


def _is_same(pod: Pod, before: Sequence[Pod]) -> bool:
    return any(pod == other and pod.labels == other.labels for other in before)
