"""The Roles of the manifests: enough for all that the program does, and nothing that it could do without."""

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from examples.stage import wait_until
from examples.stage.kubernetes import RealCluster
from examples.stage.kubernetes.pool import Pool

pytestmark = pytest.mark.anyio

MANIFESTS = Path(__file__).parents[1] / "manifests"
ACCOUNT = "flowgate-epp"
ROLES = "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/roles"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/{}/leases"
DEPLOYMENTS = "/apis/apps/v1/namespaces/{}/deployments"
SHORT = {"duration": 3.0, "renew_deadline": 2.0, "retry_interval": 0.5}
ACTIVATOR = {"activator": {"target": "model", "kind": "Deployment"}}

Role = dict[str, Any]


def roles(part: str) -> list[Role]:
    documents = yaml.safe_load_all((MANIFESTS / part / "rbac.yaml").read_text("utf-8"))
    return [document for document in documents if document["kind"] == "Role"]


BASE, WAKING = roles("base"), roles("components/activator")


def without_each_verb(given: list[Role]) -> Iterator[Any]:
    for number, role in enumerate(given):
        for place, rule in enumerate(role["rules"]):
            for verb in rule["verbs"]:
                left = copy.deepcopy(given)
                left[number]["rules"][place]["verbs"].remove(verb)
                # A rule of no verbs is none.
                left[number]["rules"] = [rule for rule in left[number]["rules"] if rule["verbs"]]
                (resource,) = rule["resources"]
                yield pytest.param(left, verb, resource, id=f"{verb}-{resource.replace('/', '-')}")


async def grant(cluster: RealCluster, namespace: str, granted: list[Role]) -> str:
    """Give the account these roles, and return it as a user."""
    user = await cluster.make_account(namespace, ACCOUNT)
    subject = {"kind": "ServiceAccount", "name": ACCOUNT, "namespace": namespace}
    for role in granted:
        name = role["metadata"]["name"]
        await cluster.ask("POST", ROLES.format(namespace), {**role, "metadata": {"name": name}})
        reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name}
        binding = {"metadata": {"name": name}, "roleRef": reference, "subjects": [subject]}
        await cluster.ask("POST", ROLES.format(namespace).replace("roles", "rolebindings"), binding)
    return user


async def make_deployment(pool: Pool) -> str:
    """Make what is to be woken; returns its path."""
    labels = {"app": "model"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "model", "image": "model"}]}}
    spec = {"replicas": 0, "selector": {"matchLabels": labels}, "template": template}
    deployments = DEPLOYMENTS.format(pool.namespace)
    await pool.cluster.ask("POST", deployments, {"metadata": {"name": "model"}, "spec": spec})
    return f"{deployments}/model"


async def test_the_roles_are_enough_for_all_that_the_program_does(open_gateway, pool, cluster) -> None:
    """It leads, wakes, serves, and nothing is refused to it."""
    user = await grant(cluster, pool.namespace, BASE + WAKING)
    deployment = await make_deployment(pool)
    async with open_gateway(8, user=user, leadership=SHORT, waking=ACTIVATOR) as gateway:
        call = gateway.call()

        async def is_awake() -> bool:
            return bool((await cluster.ask("GET", deployment))["spec"]["replicas"] == 1)

        await wait_until(is_awake, 10.0, "the deployment has a replica")
        await pool.run_pod("pod")
        assert (await call.answer()).headers["x-served-by"] == "pod"
        lease = await cluster.ask("GET", f"{LEASES.format(pool.namespace)}/flowgate-epp")
        renewed = lease["spec"]["renewTime"]

        async def is_renewed() -> bool:
            lease = await cluster.ask("GET", f"{LEASES.format(pool.namespace)}/flowgate-epp")
            return bool(lease["spec"]["renewTime"] > renewed)

        await wait_until(is_renewed, 10.0, "the lease is renewed")
        assert not [line for line in gateway.epp.process.said() if "orbidden" in line]


@pytest.mark.parametrize(("left", "verb", "resource"), list(without_each_verb(BASE)))
async def test_without_a_verb_the_log_says_which_one_is_missing(
    left, verb, resource, start_picker, pool, cluster
) -> None:
    """So each of them is needed, and whoever forgot one reads its name."""
    user = await grant(cluster, pool.namespace, left)
    if resource == "leases" and verb in {"list", "watch"}:
        # Only whoever stands by looks on.
        spec = {"holderIdentity": "somebody", "leaseDurationSeconds": 30}
        await cluster.ask("POST", LEASES.format(pool.namespace), {"metadata": {"name": ACCOUNT}, "spec": spec})
    picker = await start_picker("epp", user=user, leadership=SHORT)
    words = f'cannot {verb} resource \\"{resource}\\"'
    await picker.process.ready(lambda: any(words in line for line in picker.process.said()), 20.0)


@pytest.mark.parametrize(("left", "verb", "resource"), list(without_each_verb(WAKING)))
async def test_without_a_verb_nothing_is_woken_and_the_log_says_why(
    left, verb, resource, open_gateway, pool, cluster
) -> None:
    """Requests are held all the same."""
    user = await grant(cluster, pool.namespace, BASE + left)
    await make_deployment(pool)
    async with open_gateway(8, user=user, waking=ACTIVATOR) as gateway:
        call = gateway.call()
        words = f'cannot {verb} resource \\"{resource}\\"'
        said = gateway.epp.process.said
        await wait_until(lambda: any(words in line for line in said()), 20.0, f"the log says {words}")
        assert not call.is_over
        await pool.run_pod("pod")
        assert (await call.answer()).status == 200


async def test_the_roles_allow_nothing_else(pool, cluster) -> None:
    """What the API server itself says of the account: the manifests' rules, and what everybody may ask of himself."""
    user = await grant(cluster, pool.namespace, BASE + WAKING)
    review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview"}
    body = {**review, "spec": {"namespace": pool.namespace}}
    path = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews"
    async with cluster.session(user) as session, session.post(path, json=body) as response:
        told = (await response.json())["status"]
    everybody = {"authorization.k8s.io", "authentication.k8s.io"}
    allowed = [rule for rule in told["resourceRules"] if not everybody & set(rule["apiGroups"])]
    assert not told["incomplete"]
    assert {flat(rule) for rule in allowed} == {flat(rule) for role in BASE + WAKING for rule in role["rules"]}
    assert {verb for rule in told["nonResourceRules"] for verb in rule["verbs"]} == {"get"}


@pytest.mark.parametrize(
    ("verb", "group", "resource", "name", "elsewhere"),
    [
        ("create", "", "pods", "", False),
        ("delete", "", "pods", "pod", False),
        ("update", "", "pods/status", "pod", False),
        ("list", "", "pods", "", True),
        ("list", "", "secrets", "", False),
        ("get", "", "configmaps", "epp", False),
        ("update", "apps", "deployments", "model", False),
        ("update", "apps", "deployments/scale", "another", False),
        ("update", "coordination.k8s.io", "leases", "another", False),
        ("delete", "coordination.k8s.io", "leases", "flowgate-epp", False),
        ("update", "inference.networking.k8s.io", "inferencepools", "model", False),
        ("update", "rbac.authorization.k8s.io", "roles", "flowgate-epp", False),
    ],
)
async def test_what_others_may_is_refused(verb, group, resource, name, elsewhere, pool, cluster) -> None:
    """The API server says no."""
    user = await grant(cluster, pool.namespace, BASE + WAKING)
    plural, _, subresource = resource.partition("/")
    where = {"namespace": "default" if elsewhere else pool.namespace, "group": group, "resource": plural}
    asked = {**where, "verb": verb, "name": name, "subresource": subresource}
    review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview"}
    body = {**review, "spec": {"resourceAttributes": asked}}
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    async with cluster.session(user) as session, session.post(path, json=body) as response:
        assert not (await response.json())["status"]["allowed"]


def flat(rule: dict[str, list[str]]) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(sorted(rule.get(part, ()))) for part in ("apiGroups", "resources", "resourceNames", "verbs"))
