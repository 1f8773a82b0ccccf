"""What an InferencePool says."""

import pytest

from flowgate_epp.kubernetes import ClusterSettings, KubernetesObjectives, KubernetesPods
from flowgate_epp.kubernetes._pool import PoolSpec


def pool(**spec):
    return {"spec": {"selector": {"matchLabels": {"app": "llama"}}, "targetPorts": [{"number": 8000}], **spec}}


def test_selector_and_ports_are_read():
    """Labels in one order whatever the object's; each port once."""
    ports = [{"number": 2}, {"number": 1}, {"number": 2}]
    read = PoolSpec.of(pool(selector={"matchLabels": {"b": "", "a.io/x": "1"}}, targetPorts=ports))
    assert read == PoolSpec("a.io/x=1,b=", (2, 1))
    assert PoolSpec.of(pool(targetPorts=[{"number": port} for port in range(1, 9)])).ports == tuple(range(1, 9))


@pytest.mark.parametrize(
    "ports",
    [
        *(None, [], "8000", [8000], [{}], [{"number": 0}], [{"number": 65_536}], [{"number": "8000"}]),
        [{"number": True}],
        [{"number": port} for port in range(1, 10)],
    ],
    ids=str,
)
def test_ports_that_are_none_are_refused(ports):
    """None is made up."""
    with pytest.raises(
        ValueError, match=r"spec\.targetPorts must have 1 to 8 entries with a number in 1\.\.65535, not"
    ):
        PoolSpec.of(pool(targetPorts=ports))


@pytest.mark.parametrize("selector", [None, {}, {"matchLabels": {}}, {"matchLabels": {"a": 1}}, {"matchLabels": ["a"]}])
def test_a_selector_that_names_no_label_is_refused(selector):
    """It would select every pod of the namespace."""
    with pytest.raises(ValueError, match=r"spec\.selector\.matchLabels must name one label at least, not"):
        PoolSpec.of(pool(selector=selector))


@pytest.mark.parametrize(
    ("told", "says"),
    [
        ({"namespace": "a/b"}, "namespace must be the name of a Kubernetes namespace, not 'a/b'"),
        ({"namespace": ""}, "namespace must be the name of a Kubernetes namespace, not ''"),
        ({"namespace": "a" * 64}, f"namespace must be the name of a Kubernetes namespace, not '{'a' * 64}'"),
        ({"silence": 0.4}, "silence must be 1 or more seconds, not 0.4"),
        ({"kubeconfig": ""}, "kubeconfig must not be empty"),
        ({"context": ""}, "context must not be empty"),
    ],
)
def test_a_clusters_names_are_checked_at_the_start(told, says):
    with pytest.raises(ValueError, match=f"^{says}$"):
        ClusterSettings(**told)


@pytest.mark.parametrize("settings", [KubernetesPods, KubernetesObjectives])
def test_names_are_those_of_kubernetes(settings):
    """A mistake is told at the start."""
    assert settings("llama.v1", "team-a") == settings(pool="llama.v1", namespace="team-a")
    for name in ("", "Llama", "a/b", "-a", "a" * 254, 7):
        with pytest.raises(ValueError, match="pool must be the name of a Kubernetes object, not"):
            settings(name)
    for name in ("", "Team", "a.b", "../x", 7):
        with pytest.raises(ValueError, match="namespace must be the name of a Kubernetes namespace, not"):
            settings("llama", name)
