"""The program in a cluster, in one process: pods and objectives come from it, one leads, a target is woken."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest
from envoy.config.core.v3 import base_pb2
from envoy.service.ext_proc.v3 import external_processor_pb2 as ext_proc
from envoy.service.ext_proc.v3 import external_processor_pb2_grpc as ext_proc_grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from flowgate.configfile import ConfigError
from flowgate_epp.__main__ import main
from flowgate_epp.config import load
from flowgate_epp.contracts import Decision
from flowgate_epp.kubernetes import ApiClient, ClusterSettings
from flowgate_epp.leadership import LeadershipLost
from flowgate_epp.program import EndpointPicker

# The stage lives beside the package, not in it.
ROOT = str(Path(__file__).parents[4])
if ROOT not in sys.path:
    sys.path.append(ROOT)

from examples.stage.kubernetes import FakeApiServer  # noqa: E402 - what is above must come first

pytestmark = pytest.mark.anyio

SERVERS = {"host": "127.0.0.1", "port": 0}
PODS = "/api/v1/namespaces/default/pods"
POOLS = "/apis/inference.networking.k8s.io/v1/namespaces/default/inferencepools"
OBJECTIVES = "/apis/inference.networking.x-k8s.io/v1alpha2/namespaces/default/inferenceobjectives"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
POOL = {
    "apiVersion": "inference.networking.k8s.io/v1",
    "kind": "InferencePool",
    "metadata": {"name": "model"},
    "spec": {
        "selector": {"matchLabels": {"app": "model"}},
        "targetPorts": [{"number": 8000}],
        "endpointPickerRef": {"name": "epp", "port": {"number": 9002}},
    },
}
LEASES = "/apis/coordination.k8s.io/v1/namespaces/default/leases"
LEASE = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "flowgate-epp"}}
QUICK = {"duration": 1.5, "renew_deadline": 1.0, "retry_interval": 0.2}


def ready_pod(name: str, address: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": "model"}},
        "spec": {"containers": [{"name": "c", "image": "i"}]},
        "status": {"phase": "Running", "podIP": address, "conditions": [{"type": "Ready", "status": "True"}]},
    }


class InCluster:
    """A server, a client of the test's own, and pickers that are stopped in the end."""

    def __init__(self, server: FakeApiServer, client: ApiClient, kubeconfig: Path) -> None:
        self.server = server
        self.client = client
        self.kubeconfig = kubeconfig

    async def start_pod(self, name: str, address: str) -> None:
        """Make a pod, and be the node that says that it is ready."""
        pod = ready_pod(name, address)
        await self.client.create(PODS, pod)
        await self.client.patch(f"{PODS}/{name}/status", {"status": pod["status"]})

    def config(self, **tables: Any) -> dict[str, Any]:
        return {
            "pods": {"name": "kubernetes-pods", "pool": "model"},
            "kubernetes": {"kubeconfig": str(self.kubeconfig), "max_pause": 0.2},
            "scraper": "none",
            "flow_control": {"detector": {"name": "concurrency", "max_concurrency": 1}},
            "server": SERVERS,
            "admin": SERVERS,
            **tables,
        }


@pytest.fixture
def inside(tmp_path: Path) -> Callable[[], Any]:
    """Enter a cluster with an InferencePool and no pods."""

    @asynccontextmanager
    async def enter() -> AsyncIterator[InCluster]:
        async with FakeApiServer() as server:
            kubeconfig = tmp_path / "kubeconfig"
            server.write_kubeconfig(kubeconfig)
            async with ApiClient(ClusterSettings(kubeconfig=str(kubeconfig))) as client:
                await client.create(POOLS, POOL)
                yield InCluster(server, client, kubeconfig)

    return enter


@asynccontextmanager
async def running(
    source: dict[str, Any], *listeners: Callable[[Decision], None]
) -> AsyncIterator[tuple[EndpointPicker, asyncio.Event, "asyncio.Task[None]"]]:
    picker, stop = EndpointPicker(load(source), listeners), asyncio.Event()
    task = asyncio.create_task(picker.serve(stop))
    try:
        while picker.server.port == 0 and not task.done():
            await asyncio.sleep(0)
        yield picker, stop, task
    finally:
        stop.set()
        await asyncio.sleep(0)
        stop.set()
        await asyncio.wait([task])


async def until(is_so: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not is_so():
            await asyncio.sleep(0.001)


async def get(picker: EndpointPicker, path: str) -> tuple[int, str]:
    url = f"http://127.0.0.1:{picker.admin.port}{path}"
    async with aiohttp.ClientSession() as http, http.get(url) as response:
        return response.status, await response.text()


@asynccontextmanager
async def asking(picker: EndpointPicker, **named: str) -> AsyncIterator["asyncio.Task[Any]"]:
    """Ask as Envoy does; the task is done with the answer."""
    pairs = {":method": "POST", ":path": "/v1/completions", **{k.replace("_", "-"): v for k, v in named.items()}}
    values = [base_pb2.HeaderValue(key=key, raw_value=value.encode()) for key, value in pairs.items()]
    message = ext_proc.HttpHeaders(headers=base_pb2.HeaderMap(headers=values), end_of_stream=True)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{picker.server.port}") as channel:
        stream = ext_proc_grpc.ExternalProcessorStub(channel).Process()
        await stream.write(ext_proc.ProcessingRequest(request_headers=message))
        answer = asyncio.ensure_future(stream.read())
        try:
            yield answer
        finally:
            stream.cancel()
            await asyncio.wait([answer])


async def is_serving(picker: EndpointPicker) -> bool:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{picker.server.port}") as channel:
        told = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
    return bool(told.status == health_pb2.HealthCheckResponse.SERVING)


def status_of(answer: Any) -> int:
    return int(answer.immediate_response.status.code) if answer.HasField("immediate_response") else 200


def header_of(answer: Any, name: str) -> str:
    options = answer.immediate_response.headers.set_headers
    return next((option.header.raw_value.decode() for option in options if option.header.key == name), "")


async def test_a_request_is_held_until_a_pod_of_the_pool_is_ready(inside: Callable[[], Any]) -> None:
    """No pods is no reason to refuse: the pod's Ready lets it go."""
    async with inside() as cluster, running(cluster.config()) as (picker, _, _):
        await until(lambda: not picker.not_ready())
        async with asking(picker) as answer:
            await until(lambda: picker.controller.stats().queued_requests == 1)
            await cluster.start_pod("a", "10.0.0.1")
            assert status_of(await answer) == 200
        assert [pod.endpoint for pod in picker.store.pods] == ["10.0.0.1:8000"]


async def test_objectives_of_the_cluster_give_priorities_and_the_file_comes_first(inside: Callable[[], Any]) -> None:
    """A listed priority wins; others are the cluster's; unknown ones have the default."""

    def objective(name: str, priority: int) -> dict[str, Any]:
        version = "inference.networking.x-k8s.io/v1alpha2"
        spec = {"priority": priority, "poolRef": {"name": "model"}}
        return {"apiVersion": version, "kind": "InferenceObjective", "metadata": {"name": name}, "spec": spec}

    told: list[Decision] = []
    async with inside() as cluster:
        await cluster.client.create(OBJECTIVES, objective("chat", 7))
        await cluster.client.create(OBJECTIVES, objective("batch", 5))
        await cluster.start_pod("a", "10.0.0.1")
        config = cluster.config(objectives={"priorities": {"batch": -3}})
        async with running(config, told.append) as (picker, _, _):
            await until(lambda: not picker.not_ready())
            await until(lambda: picker.cluster.objectives.priority("chat"))
            for name in ("chat", "batch", "who"):
                async with asking(picker, x_gateway_inference_objective=name) as answer:
                    await answer
    assert [decision.priority for decision in told] == [7, -3, 0]


async def test_one_leads_and_the_other_takes_over_when_it_stops(inside: Callable[[], Any]) -> None:
    """Who stands by is not ready, and refuses at once with a time to come again; an orderly stop hands over at once."""
    async with inside() as cluster:
        await cluster.start_pod("a", "10.0.0.1")
        await cluster.client.create(LEASES, LEASE)
        config = cluster.config(leadership={"duration": 60, "renew_deadline": 40, "retry_interval": 20})
        async with running(config) as (first, stop, task):
            await until(lambda: not first.not_ready())
            async with running(config) as (second, _, _):
                await until(lambda: second.store.is_synced)
                assert second.not_ready() == ["another endpoint picker leads, or nobody does yet"]
                assert (await get(second, "/readyz"))[0] == 503
                assert "flowgate_is_leader 0\n" in (await get(second, "/metrics"))[1]
                async with asking(second) as answer:
                    refused = await answer
                assert (status_of(refused), bool(header_of(refused, "retry-after"))) == (503, True)
                stop.set()
                await until(lambda: not second.not_ready())
                assert await is_serving(first)  # Envoy may not have noticed the second: it needs one of the two
                async with asking(second) as answer:
                    assert status_of(await answer) == 200
                while await is_serving(first):
                    await asyncio.sleep(0.01)
                async with asking(first) as answer:  # nor that the first is no more to be asked
                    assert status_of(await answer) == 200
                await task
                assert "flowgate_is_leader 1\n" in (await get(second, "/metrics"))[1]


async def test_who_has_never_led_ends_at_once(inside: Callable[[], Any]) -> None:
    """Envoy sends nothing to one that stands by: there is nothing to notice."""
    async with inside() as cluster:
        config = cluster.config(leadership=QUICK, server={**SERVERS, "lame_duck": 60})
        async with running(config) as (first, _, _):
            await until(first.cluster.is_leader)
            async with running(config) as (second, stop, task):
                await until(lambda: second.store.is_synced)
                stop.set()
                await until(lambda: "shutting down" in second.not_ready())
                assert not second.is_leader  # it has nothing to hand over, and the first one leads
                await asyncio.wait_for(task, 30)


async def test_a_lame_duck_takes_requests_until_it_is_noticed(inside: Callable[[], Any]) -> None:
    """Told to stop it is not ready, and hands over; what is still sent to it goes on, until its time is over."""
    async with inside() as cluster:
        await cluster.start_pod("a", "10.0.0.1")
        config = cluster.config(leadership=QUICK, server={**SERVERS, "lame_duck": 60})
        async with running(config) as (picker, stop, task):
            await until(lambda: not picker.not_ready())
            stop.set()
            await until(lambda: not picker.cluster.is_leader())
            assert "shutting down" in picker.not_ready()
            async with asking(picker) as answer:
                assert status_of(await answer) == 200
            assert not task.done()


async def test_who_may_no_longer_lead_tells_those_who_wait_to_come_again_and_ends(inside: Callable[[], Any]) -> None:
    """The API server is gone for longer than the renewals may fail: 503 with Retry-After, quickly, and then the end."""
    async with inside() as cluster, running(cluster.config(leadership=QUICK)) as (picker, _, task):
        await until(lambda: not picker.not_ready())
        async with asking(picker) as answer:
            await until(lambda: picker.controller.stats().queued_requests == 1)
            await cluster.server.stop()
            refused = await asyncio.wait_for(answer, 10)
            assert (status_of(refused), bool(header_of(refused, "retry-after"))) == (503, True)
        with pytest.raises(LeadershipLost, match="'flowgate-epp' is lost"):
            await asyncio.wait_for(asyncio.shield(task), 10)


async def test_demand_wakes_the_target_and_keda_is_told(inside: Callable[[], Any]) -> None:
    """A request that waits scales the Deployment from zero to one; the metrics say so, and KEDA finds its server."""
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "model"},
        "spec": {"replicas": 0, "selector": {"matchLabels": {"app": "model"}}, "template": {}},
    }
    async with inside() as cluster:
        await cluster.client.create(DEPLOYMENTS, deployment)
        waking = {"activator": {"target": "model"}, "keda": SERVERS}
        async with running(cluster.config(waking=waking)) as (picker, _, _):
            await until(lambda: not picker.not_ready())
            _, page = await get(picker, "/metrics")
            assert 'flowgate_demand_requests{state="waiting"} 0\n' in page
            assert 'flowgate_kubernetes_failures{what="InferencePool \\"model\\""} 0\n' in page
            assert 'flowgate_activator_writes_total{result="woken"} 0\n' in page
            async with asking(picker) as answer:
                activator = picker.cluster.activator
                assert activator is not None
                await until(lambda: activator.wakes == 1)
                assert picker.keda is not None
                assert picker.keda.is_active
                assert picker.keda.port > 0
                scaled = await cluster.client.get(f"{DEPLOYMENTS}/model")
                assert scaled["spec"]["replicas"] == 1
                _, page = await get(picker, "/metrics")
                assert 'flowgate_demand_requests{state="waiting"} 1\n' in page
                assert 'flowgate_activator_writes_total{result="woken"} 1\n' in page
                assert not answer.done()


def test_what_does_not_fit_together_is_told() -> None:
    """Legacy admission holds nothing that could wake a pool, and each server needs a port of its own."""
    pods = {"pods": {"name": "kubernetes-pods", "pool": "model"}}
    wakes = {"waking": {"activator": {"target": "model"}}}
    with pytest.raises(ConfigError, match='waking: must name nobody where admission is "legacy"'):
        load({**pods, **wakes, "admission": "legacy"})
    with pytest.raises(ConfigError, match="keda must have another port than server and admin, not 9090, too"):
        load({**pods, "waking": {"keda": {"port": 9090}}})


def test_a_cluster_that_cannot_be_reached_for_want_of_credentials_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The program says which file is missing, and exits with 1."""
    path = tmp_path / "epp.yaml"
    missing = tmp_path / "nowhere"
    config = {
        "pods": {"name": "kubernetes-pods", "pool": "model"},
        "kubernetes": {"kubeconfig": str(missing)},
        "server": SERVERS,
        "admin": SERVERS,
    }
    path.write_text(json.dumps(config), "utf-8")
    assert main(["--config", str(path)]) == 1
    told = capsys.readouterr().err
    assert "flowgate-epp cannot start" in told
    assert str(missing) in told
