"""Which pods serve, and what the pool is told of them."""

import copy

import pytest

from flowgate import PodMetrics
from flowgate_epp.kubernetes._pods import PodsFollower, serving, trimmed
from flowgate_epp.pods import PodStore


def running(name="a", address="10.0.0.1", **status):
    return {
        "metadata": {"name": name, "namespace": "models", "labels": {"app": "llama"}, "uid": name},
        "spec": {"containers": []},
        "status": {
            "phase": "Running",
            "podIP": address,
            "conditions": [{"type": "Initialized", "status": "True"}, {"type": "Ready", "status": "True"}],
            **status,
        },
    }


def stub(name):
    return {"metadata": {"name": name, "namespace": "models", "uid": name}}


def deleting(pod):
    return {**pod, "metadata": {**pod["metadata"], "deletionTimestamp": "2026-01-01T00:00:00Z"}}


class Told:
    """A store that a follower fills, and what it was told."""

    def __init__(self, ports=(8000,)):
        self.store = PodStore()
        self.calls = []
        self.follower = PodsFollower(self, ports, lambda: self.calls.append("synced"))

    def set_pods(self, pods):
        self.calls.append("set")
        self.store.set_pods(pods)

    def change_pods(self, changed, removed=()):
        changed = list(changed)
        self.calls.append((sorted(pod.endpoint for pod in changed), sorted(pod.endpoint for pod in removed)))
        self.store.change_pods(changed, removed)

    @property
    def endpoints(self):
        return [pod.endpoint for pod in self.store.pods]


@pytest.mark.parametrize("see", [lambda pod: pod, trimmed], ids=["whole", "trimmed"])
def test_each_port_of_a_ready_pod_is_an_endpoint(see):
    """With its name, namespace and labels; IPv6, too."""
    first, second = serving(see(running(address="fd00::1")), [8000, 8001])
    assert (first.endpoint, second.endpoint) == ("[fd00::1]:8000", "[fd00::1]:8001")
    assert (first.name, first.namespace, first.labels) == ("a", "models", {"app": "llama"})


@pytest.mark.parametrize(
    "pod",
    [
        running(phase="Pending"),
        running(phase="Succeeded"),
        running(podIP=None),
        running(podIP=""),
        running(podIP="fe80::1%eth0"),
        running(podIP="node-1"),
        running(podIP=7),
        running(conditions=None),
        running(conditions=[]),
        running(conditions=[{"type": "Ready", "status": "False"}]),
        running(conditions=[{"type": "Ready", "status": "Unknown"}]),
        running(conditions=[{"type": "ContainersReady", "status": "True"}, "Ready"]),
        deleting(running()),
        {"metadata": {"name": "a", "namespace": "models"}},
    ],
)
def test_a_pod_that_does_not_serve_is_none(pod):
    """It runs, is ready, is not being deleted and has an address; all of it."""
    assert serving(pod, [8000]) == ()
    assert serving(trimmed(pod), [8000]) == ()


def test_a_pod_without_labels_has_none():
    """They are optional."""
    pod = running()
    del pod["metadata"]["labels"]
    assert serving(pod, [8000])[0].labels == {}


def test_the_first_list_is_told_as_a_whole_even_when_nobody_serves():
    """So the pool is known."""
    told = Told()
    told.follower.update([running("a", phase="Pending")], [])
    assert told.calls == ["synced", "set"]
    assert told.store.is_synced
    told.follower.update([running("a"), running("b", "10.0.0.2")], [])
    assert told.endpoints == ["10.0.0.1:8000", "10.0.0.2:8000"]


@pytest.mark.parametrize("worse", [deleting, lambda pod: running(phase="Failed")])
def test_a_pod_that_serves_no_longer_leaves_with_its_metrics(worse):
    """At once, though it is still there; and comes back without them."""
    told = Told()
    told.follower.update([running()], [])
    told.store.set_metrics(told.store.pods[0], PodMetrics(waiting=1, running=1, kv_cache_usage=0.5, updated_at=1.0))
    told.follower.update([worse(running())], [])
    assert told.endpoints == []
    told.follower.update([running()], [])
    assert told.store.pods[0].metrics is None


def test_what_does_not_matter_is_not_told():
    """Nodes report much; the pool hears of what differs."""
    told = Told()
    told.follower.update([running()], [])
    probed = copy.deepcopy(running())
    probed["status"]["conditions"][1]["lastProbeTime"] = "2026-01-01T00:00:00Z"
    told.follower.update([probed], [])
    told.follower.update([running("b", phase="Pending")], [stub("c")])
    assert told.calls[2:] == []
    probed["metadata"]["labels"] = {"app": "llama", "zone": "eu"}
    told.follower.update([probed], [])
    assert told.calls[2:] == [(["10.0.0.1:8000"], [])]
    assert told.store.pods[0].labels["zone"] == "eu"


def test_a_pod_at_another_address_is_another_one():
    """The old endpoint leaves in the same change."""
    told = Told([8000, 8001])
    told.follower.update([running()], [])
    told.follower.update([running(address="10.0.0.9")], [])
    assert told.calls[2:] == [(["10.0.0.9:8000", "10.0.0.9:8001"], ["10.0.0.1:8000", "10.0.0.1:8001"])]


def test_a_pod_made_anew_under_its_name_begins_anew():
    """It is both gone and there."""
    told = Told()
    told.follower.update([running(), running("b", "10.0.0.2")], [])
    told.follower.update([running()], [stub("a")])
    assert told.calls[2:] == [(["10.0.0.1:8000"], ["10.0.0.1:8000"])]
    told.follower.update([], [stub("a")])
    assert told.endpoints == ["10.0.0.2:8000"]


def test_other_ports_are_taken_at_once():
    """Of the same pods; ports that stay are not touched."""
    told = Told([8000, 8001])
    told.follower.listen_at([8000])  # before anything is known
    told.follower.update([running(), running("b", "10.0.0.2")], [])
    assert told.endpoints == ["10.0.0.1:8000", "10.0.0.2:8000"]
    told.follower.listen_at([8000, 9000])
    assert told.calls[2:] == [(["10.0.0.1:9000", "10.0.0.2:9000"], [])]
    told.follower.listen_at([9000])
    assert told.endpoints == ["10.0.0.1:9000", "10.0.0.2:9000"]
    told.follower.listen_at([9000])
    assert len(told.calls) == 4
    told.follower.update([running("c", "10.0.0.3")], [])
    assert told.endpoints[-1] == "10.0.0.3:9000"
