"""The API server's own evictions, under the shipped budget.

There is no controller here, so the tests write the budget's status as the disruption controller counts it: healthy pods
are those that are ready, wanted is none (``maxUnavailable: 100%``), and allowed the difference.
"""

import aiohttp
import pytest
import yaml

NAMESPACE = "evictions"
LABELS = {"app.kubernetes.io/name": "flowgate-epp"}
BUDGET = f"/apis/policy/v1/namespaces/{NAMESPACE}/poddisruptionbudgets/flowgate-epp"
PODS = f"/api/v1/namespaces/{NAMESPACE}/pods"
TOO_MANY_REQUESTS = 429

pytestmark = pytest.mark.anyio


@pytest.fixture
async def budget(cluster, manifests):
    await cluster.ask("POST", "/api/v1/namespaces", {"metadata": {"name": NAMESPACE}}, accept=409)
    text = (manifests / "base/disruption-budgets.yaml").read_text("utf-8")
    (ours,) = [each for each in yaml.safe_load_all(text) if each["metadata"]["name"] == "flowgate-epp"]
    await cluster.ask("POST", BUDGET.rpartition("/")[0], ours)
    yield
    await cluster.ask("DELETE", BUDGET)


async def count(cluster, healthy):
    generation = (await cluster.ask("GET", BUDGET))["metadata"]["generation"]
    status = {
        "observedGeneration": generation,
        "expectedPods": 2,
        "desiredHealthy": 0,
        "currentHealthy": healthy,
        "disruptionsAllowed": healthy,
    }
    await cluster.ask("PATCH", f"{BUDGET}/status", {"status": status})


async def run(cluster, name, *, is_ready):
    container = {"name": "epp", "image": "flowgate-epp"}
    await cluster.ask("POST", PODS, {"metadata": {"name": name, "labels": LABELS}, "spec": {"containers": [container]}})
    ready = {"type": "Ready", "status": str(is_ready)}
    await cluster.ask("PATCH", f"{PODS}/{name}/status", {"status": {"phase": "Running", "conditions": [ready]}})


async def evict(cluster, name):
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}}
    await cluster.ask("POST", f"{PODS}/{name}/eviction", body)


@pytest.mark.parametrize("first", ["leader", "standby"])
async def test_one_may_go_and_the_other_once_there_is_a_leader_again(cluster, budget, first):
    second = {"leader": "standby", "standby": "leader"}[first]
    await run(cluster, "leader", is_ready=True)
    await run(cluster, "standby", is_ready=False)
    await count(cluster, healthy=1)
    await evict(cluster, first)
    with pytest.raises(aiohttp.ClientResponseError) as refused:
        await evict(cluster, second)
    assert refused.value.status == TOO_MANY_REQUESTS
    # It has taken over, or still leads.
    await count(cluster, healthy=1)
    await evict(cluster, second)
