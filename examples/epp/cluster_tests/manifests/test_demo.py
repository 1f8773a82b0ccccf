"""The overlay for newcomers, applied as a whole; the program runs with the rights that it grants, and with its file."""

import json

import pytest
import yaml

from examples.stage import wait_until
from examples.stage.gateway import Gateway

NAMESPACE = "flowgate"
POOL = f"/apis/inference.networking.k8s.io/v1/namespaces/{NAMESPACE}/inferencepools/model"
SCALE = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/model/scale"
PODS = f"/api/v1/namespaces/{NAMESPACE}/pods"

pytestmark = pytest.mark.anyio


async def test_a_request_to_the_demo_wakes_the_model_server_and_is_answered_by_it(cluster, manifests, namespace, stage):
    await cluster.apply(manifests / "overlays/demo", namespace)
    waiting = json.loads(await cluster.kubectl("get", "deployment", "flowgate-epp", "-o", "json", namespace=namespace))
    assert waiting["spec"]["replicas"] == 1
    await cluster.ask("PATCH", SCALE, {"spec": {"replicas": 0}})
    port = stage.port()
    await cluster.ask("PATCH", POOL, {"spec": {"targetPorts": [{"number": port}]}})
    user = await cluster.make_account(namespace, "flowgate-epp")
    kubeconfig = stage.folder / "kubeconfig"
    cluster.write_kubeconfig(kubeconfig, user=user, namespace=namespace)
    config = yaml.safe_load((manifests / "components/activator/epp.yaml").read_text("utf-8"))
    # A fake model server beside the test, with its real metrics, as in the demo.
    async with Gateway.open(stage, {**config, "kubernetes": {"kubeconfig": str(kubeconfig)}}) as gateway:
        call = gateway.call(x_gateway_inference_objective="chat")
        state = await gateway.holds(1)
        assert "10" in json.dumps(state["bands"])

        async def is_woken():
            return (await cluster.ask("GET", SCALE))["spec"].get("replicas", 0) == 1

        await wait_until(is_woken, 10.0, "the Deployment is scaled to 1")
        await stage.start_model_server("model-0", port=port)
        labels = {"app.kubernetes.io/name": "model"}
        spec = {"containers": [{"name": "fake-vllm", "image": "flowgate-epp"}]}
        await cluster.ask("POST", PODS, {"metadata": {"name": "model-0", "labels": labels}, "spec": spec})
        status = {
            "phase": "Running",
            "podIP": "127.0.0.1",
            "podIPs": [{"ip": "127.0.0.1"}],
            "conditions": [{"type": "Ready", "status": "True"}],
        }
        await cluster.ask("PATCH", f"{PODS}/model-0/status", {"status": status})
        assert (await call.answer()).status == 200
        lease = await cluster.kubectl(
            "get", "lease", "flowgate-epp", "-o", "jsonpath={.spec.holderIdentity}", namespace=namespace
        )
        assert lease
        said = " ".join(gateway.epp.process.said())
        assert "orbidden" not in said, said
