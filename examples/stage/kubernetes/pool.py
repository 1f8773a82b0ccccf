"""An InferencePool in a cluster without nodes: its pods listen on loopback, and turn Ready when they are told to."""

import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final, Self

import attrs
from aiohttp import web

from examples.stage import free_port
from examples.stage.kubernetes._real import RealCluster

__all__ = ["Pool", "RunningPod"]

_NAME: Final = "model"
_LABELS: Final = {"app": "model"}
_GROUP: Final = "/apis/inference.networking.k8s.io/v1"


@attrs.define(eq=False)
class RunningPod:
    """A pod, and the server that plays its part.

    Attributes:
        name: The pod's.
        address: Its IP address, one of loopback that no other pod has.
        port: Where it listens.
        arrivals: When its requests came, on the monotonic clock.
    """

    name: str
    address: str
    port: int
    arrivals: list[float] = attrs.field(factory=list)

    @property
    def endpoint(self) -> str:
        """Its ``ip:port``."""
        return f"{self.address}:{self.port}"

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """Answer each request with the pod's name."""
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, self.address, self.port, backlog=4_096).start()
        try:
            yield
        finally:
            await runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        self.arrivals.append(time.monotonic())
        await request.read()
        return web.json_response({"choices": []}, headers={"x-served-by": self.name})


class Pool:
    """An InferencePool, and whoever plays the kubelet for its pods.

    Args:
        cluster: Where it is.
        namespace: Its own.
        numbers: For addresses.
        servers: What ends with the pool.
    """

    def __init__(self, cluster: RealCluster, namespace: str, numbers: Iterator[int], servers: AsyncExitStack) -> None:
        self.cluster = cluster
        self.namespace = namespace
        self.port = free_port()
        self._numbers = numbers
        self._servers = servers

    @classmethod
    @asynccontextmanager
    async def make(cls, cluster: RealCluster, namespace: str, numbers: Iterator[int]) -> AsyncIterator[Self]:
        """Make a namespace, and an InferencePool in it."""
        async with AsyncExitStack() as servers:
            pool = cls(cluster, namespace, numbers, servers)
            await cluster.ask("POST", "/api/v1/namespaces", {"metadata": {"name": namespace}})
            spec = {
                "selector": {"matchLabels": _LABELS},
                "targetPorts": [{"number": pool.port}],
                "endpointPickerRef": {"name": "flowgate-epp", "port": {"number": 9002}},
            }
            content = {"apiVersion": _GROUP.removeprefix("/apis/"), "kind": "InferencePool", "spec": spec}
            path = f"{_GROUP}/namespaces/{namespace}/inferencepools"
            await cluster.ask("POST", path, {**content, "metadata": {"name": _NAME}})
            yield pool

    @property
    def pods(self) -> str:
        """The path of its pods."""
        return f"/api/v1/namespaces/{self.namespace}/pods"

    def config(
        self, folder: Path, slots: int, *, user: str, port: int, kubernetes: Mapping[str, Any], name: str = "epp"
    ) -> dict[str, Any]:
        """Write the tables of an Endpoint Picker that follows the pool.

        Args:
            folder: For its kubeconfig.
            slots: Requests that a pod has room for; nothing else tells how full it is.
            user: Whose credentials it has.
            port: Where it finds the API server.
            kubernetes: More of the table of that name.
            name: The kubeconfig's.
        """
        path = folder / f"{name}.kubeconfig"
        self.cluster.write_kubeconfig(path, user=user, namespace=self.namespace, port=port)
        return {
            "kubernetes": {"kubeconfig": str(path), **kubernetes},
            "pods": {"name": "kubernetes-pods", "pool": _NAME},
            "flow_control": {"detector": {"name": "concurrency", "max_concurrency": slots}},
            "scraper": "none",
        }

    async def make_pod(self, name: str, *, address: str | None = None) -> RunningPod:
        """Make a pod that is not ready yet, and let it listen.

        Args:
            name: The pod's.
            address: Its IP address, of a pod that is gone and still listens; None for a new one.
        """
        spec = {"containers": [{"name": "model", "image": "model"}], "nodeName": "node"}
        await self.cluster.ask("POST", self.pods, {"metadata": {"name": name, "labels": _LABELS}, "spec": spec})
        high, low = divmod(next(self._numbers), 250)
        pod = RunningPod(name, address or f"127.0.{high + 1}.{low + 1}", self.port)
        if address is None:
            await self._servers.enter_async_context(pod.listening())
        return pod

    async def turn_ready(self, pod: RunningPod, *, is_ready: bool = True) -> float:
        """Say in a pod's status whether it is ready; returns when that was answered, on the monotonic clock."""
        status = {
            "phase": "Running",
            "podIP": pod.address,
            "podIPs": [{"ip": pod.address}],
            "conditions": [{"type": "Ready", "status": str(is_ready)}],
        }
        await self.cluster.ask("PATCH", f"{self.pods}/{pod.name}/status", {"status": status})
        return time.monotonic()

    async def run_pod(self, name: str, *, address: str | None = None) -> RunningPod:
        """Make a pod that is ready."""
        pod = await self.make_pod(name, address=address)
        await self.turn_ready(pod)
        return pod

    async def delete(self, pod: RunningPod) -> None:
        """Delete a pod; it is gone when this returns."""
        await self.cluster.ask("DELETE", f"{self.pods}/{pod.name}", {"gracePeriodSeconds": 0})

    async def listed(self) -> set[str]:
        """Return the names of the pods that the API server has now."""
        found = await self.cluster.ask("GET", self.pods)
        return {item["metadata"]["name"] for item in found["items"]}
