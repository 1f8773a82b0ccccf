"""A server per test, fake or real, and a client that speaks plain HTTP to it."""

import asyncio
import contextlib
import inspect
import json
import os
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import pytest

# The stage lives beside the package, not in it.
ROOT = str(Path(__file__).parents[4])
if ROOT not in sys.path:
    sys.path.append(ROOT)

import examples.stage.kubernetes as stage  # noqa: E402 - what is above must come first

BINARIES = os.environ.get("FLOWGATE_KUBERNETES")
DEADLINE = 30.0
WIDGETS = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "widgets.stage.example.com"},
    "spec": {
        "group": "stage.example.com",
        "scope": "Namespaced",
        "names": {"plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
                "subresources": {
                    "status": {},
                    "scale": {
                        "specReplicasPath": ".spec.replicas",
                        "statusReplicasPath": ".status.replicas",
                        "labelSelectorPath": ".status.selector",
                    },
                },
            }
        ],
    },
}


class Answer(NamedTuple):
    status: int
    body: Any
    headers: Mapping[str, str]

    @property
    def metadata(self) -> Any:
        return self.body["metadata"]

    @property
    def version(self) -> str:
        return self.body["metadata"]["resourceVersion"]

    @property
    def names(self) -> list[str]:
        return [item["metadata"]["name"] for item in self.body["items"]]


class Events:
    """What a watch tells."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.response = response

    async def next(self) -> Any:
        """Return the next event; None at the end."""
        async with asyncio.timeout(DEADLINE):
            line = await self.response.content.readline()
        return json.loads(line) if line else None

    async def brief(self, count: int) -> list[tuple[str, str]]:
        """Return type and name of some events."""
        events = [await self.next() for _ in range(count)]
        return [(event["type"], event["object"]["metadata"]["name"]) for event in events]

    async def rest(self) -> list[Any]:
        """Return the events until the end."""
        return [event async for event in self._rest()]

    async def _rest(self) -> AsyncIterator[Any]:
        while event := await self.next():
            yield event


class Api:
    """A client of a server, with a namespace of its own."""

    def __init__(self, server: Any, session: aiohttp.ClientSession, namespace: str) -> None:
        self.server = server
        self.session = session
        self.namespace = namespace
        core, apps = f"/api/v1/namespaces/{namespace}", f"/apis/apps/v1/namespaces/{namespace}"
        self.configmaps, self.pods, self.deployments = f"{core}/configmaps", f"{core}/pods", f"{apps}/deployments"
        self.leases = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
        self.widgets = f"/apis/stage.example.com/v1/namespaces/{namespace}/widgets"

    async def call(
        self, method: str, path: str, body: Any = None, *, content_type: str = "application/json", **query: Any
    ) -> Answer:
        data = body if body is None or isinstance(body, str) else json.dumps(body)
        headers = {} if data is None else {"Content-Type": content_type}
        texts = {key: str(value) for key, value in query.items()}
        async with asyncio.timeout(DEADLINE):
            async with self.session.request(method, path, data=data, headers=headers, params=texts) as response:
                text = await response.text()
                is_json = response.content_type == "application/json"
                return Answer(response.status, json.loads(text) if is_json else text, dict(response.headers))

    async def get(self, path: str, **query: Any) -> Answer:
        return await self.call("GET", path, **query)

    async def put(self, path: str, body: Any) -> Answer:
        return await self.call("PUT", path, body)

    async def delete(self, path: str, body: Any = None, **query: Any) -> Answer:
        return await self.call("DELETE", path, body, **query)

    async def merge(self, path: str, body: Any) -> Answer:
        return await self.call("PATCH", path, body, content_type="application/merge-patch+json")

    async def steps(self, path: str, *steps: Any) -> Answer:
        return await self.call("PATCH", path, list(steps), content_type="application/json-patch+json")

    async def create(self, path: str, body: Any) -> Answer:
        answer = await self.call("POST", path, body)
        assert answer.status == 201, answer
        return answer

    async def configmap(self, name: str, labels: Mapping[str, str] | None = None, **data: str) -> Answer:
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": labels}, "data": data}
        return await self.create(self.configmaps, body)

    async def pod(self, name: str, node: str | None = None) -> Answer:
        spec = {"containers": [{"name": "c", "image": "i"}], "nodeName": node}
        return await self.create(
            self.pods, {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}
        )

    async def widget(self, name: str, spec: Any = None, **metadata: Any) -> Answer:
        body = {"apiVersion": "stage.example.com/v1", "kind": "Widget", "metadata": {"name": name, **metadata}}
        return await self.create(self.widgets, {**body, "spec": spec or {}})

    async def deployment(self, name: str, **spec: Any) -> Answer:
        labels = {"app": name, "tier": "x"}
        template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
        whole = {"selector": {"matchLabels": labels}, "template": template, **spec}
        body = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": whole}
        return await self.create(self.deployments, body)

    @contextlib.asynccontextmanager
    async def watch(self, path: str, **query: Any) -> AsyncIterator[Events]:
        texts = {"watch": "1", "timeoutSeconds": str(int(DEADLINE))} | {key: str(value) for key, value in query.items()}
        async with asyncio.timeout(DEADLINE):
            # A server that has just started asks for patience.
            while (response := await self.session.get(path, params=texts)).status == 429:
                response.close()
                await asyncio.sleep(0.1)
        async with response:
            assert response.status == 200, await response.text()
            yield Events(response)

    async def compact(self) -> None:
        done = self.server.compact()
        if inspect.isawaitable(done):
            await done


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def counter() -> Iterator[int]:
    return iter(range(10_000))


@pytest.fixture(scope="module", params=["fake", "real"] if BINARIES else ["fake"])
async def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Any]:
    """A server that has widgets: the fake always, a real one too when FLOWGATE_KUBERNETES names its programs."""
    if request.param == "fake":
        async with stage.FakeApiServer(tokens={"t": "tester"}, graceful_pods=True, tls=True) as fake:
            fake.serve("stage.example.com/v1", "widgets", "Widget", scale=True)
            yield fake
        return
    async with stage.RealCluster(Path(BINARIES or ""), tmp_path_factory.mktemp("cluster")) as real:
        async with real.session() as session:
            definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
            async with session.post(definitions, json=WIDGETS) as made:
                assert made.status in {201, 409}, await made.text()
        yield real


@pytest.fixture
async def api(server: Any, counter: Iterator[int]) -> AsyncIterator[Api]:
    """A client with a namespace of its own."""
    async with server.session() as session:
        namespace = f"test-{os.getpid()}-{next(counter)}"
        api = Api(server, session, namespace)
        await api.create(
            "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
        )
        # A definition takes a moment to be served.
        async with asyncio.timeout(DEADLINE):
            while (await api.get(api.widgets)).status != 200:
                await asyncio.sleep(0.05)
        yield api


Status = Callable[..., dict[str, Any]]


@pytest.fixture
def refusal() -> Status:
    """Make the whole Status of a refusal."""

    def make(code: int, reason: str, message: str, details: Any = None) -> dict[str, Any]:
        body = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"}
        return {**body, "message": message, "reason": reason, "code": code} | (
            {} if details is None else {"details": details}
        )

    return make
