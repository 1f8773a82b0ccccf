"""A real API server takes every overlay, as it is shipped."""

import re
from pathlib import Path

import pytest
import yaml

OVERLAYS = sorted(path.name for path in (Path(__file__).parents[2] / "manifests/overlays").iterdir())

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("overlay", OVERLAYS)
async def test_the_api_server_would_take_every_object_of_the_overlay(cluster, manifests, namespace, overlay):
    """Validated strictly: a key that is misspelt is a mistake."""
    folder = manifests / "overlays" / overlay
    built = list(yaml.safe_load_all(await cluster.kubectl("kustomize", str(folder))))
    taken = await cluster.kubectl(
        "apply", "--dry-run=server", "--validate=strict", "-k", str(folder), namespace=namespace
    )
    lines = taken.splitlines()
    assert len(lines) == len(built)
    assert all(line.endswith(" created (server dry run)") for line in lines), taken


@pytest.mark.parametrize("overlay", OVERLAYS)
async def test_names_are_put_in_where_kustomize_has_to(cluster, manifests, namespace, overlay):
    text = await cluster.kubectl("kustomize", str(manifests / "overlays" / overlay))
    assert "NAMESPACE" not in text
    objects = list(yaml.safe_load_all(text))
    assert {each["metadata"]["namespace"] for each in objects} == {namespace}
    generated = {each["metadata"]["name"] for each in objects if each["kind"] == "ConfigMap"}
    assert all(re.search(r"-[a-z0-9]{10}$", name) for name in generated)
    mounted = {
        volume["configMap"]["name"]
        for each in objects
        if each["kind"] == "Deployment"
        for volume in each["spec"]["template"]["spec"].get("volumes", ())
        if "configMap" in volume
    }
    assert mounted == generated
    subjects = [subject for each in objects if each["kind"] == "RoleBinding" for subject in each["subjects"]]
    assert {subject["namespace"] for subject in subjects} == {namespace}
    addresses = [
        trigger["metadata"].get("scalerAddress")
        for each in objects
        if each["kind"] == "ScaledObject"
        for trigger in each["spec"]["triggers"]
        if trigger["type"] == "external-push"
    ]
    assert set(addresses) <= {f"flowgate-epp.{namespace}.svc:9003"}


async def test_an_apply_leaves_the_replicas_alone(cluster, manifests):
    """They are an autoscaler's: an upgrade of the manifests must not wake, or put to sleep, what it has scaled."""
    namespace = "applied"
    await cluster.ask("POST", "/api/v1/namespaces", {"metadata": {"name": namespace}})
    folder = manifests / "components/demo-model"
    await cluster.kubectl("apply", "-f", str(folder / "deployment.yaml"), namespace=namespace)
    scale = f"/apis/apps/v1/namespaces/{namespace}/deployments/model/scale"
    assert (await cluster.ask("GET", scale))["spec"]["replicas"] == 1
    await cluster.ask("PATCH", scale, {"spec": {"replicas": 0}})
    await cluster.kubectl("apply", "-f", str(folder / "deployment.yaml"), namespace=namespace)
    assert (await cluster.ask("GET", scale))["spec"].get("replicas", 0) == 0
