"""The pods of an InferencePool, by a cluster's API."""

import asyncio
from contextlib import asynccontextmanager, suppress

import pytest

from flowgate import FlowController, Request
from flowgate.saturation import ConcurrencyDetector
from flowgate_epp.kubernetes import ApiError, KubernetesPods
from flowgate_epp.kubernetes._source import _PoolFollower
from flowgate_epp.pods import PodStore

pytestmark = pytest.mark.anyio

POOLS = "/apis/inference.networking.k8s.io/v1/namespaces/default/inferencepools"
PODS = "/api/v1/namespaces/default/pods"
API = "inference.networking.k8s.io/v1"


def pool(app="llama", ports=(8000,)):
    return {
        "apiVersion": API,
        "kind": "InferencePool",
        "metadata": {"name": "pool"},
        "spec": {
            "selector": {"matchLabels": {"app": app}},
            "targetPorts": [{"number": port} for port in ports],
            "endpointPickerRef": {"name": "epp", "port": {"number": 9002}},
        },
    }


class Cluster:
    """What a test does in the cluster, over its API."""

    def __init__(self, client):
        self.client = client

    async def start(self, name, address, app="llama"):
        metadata = {"name": name, "labels": {"app": app}}
        spec = {"containers": [{"name": "server", "image": "server"}], "terminationGracePeriodSeconds": 0}
        await self.client.create(PODS, {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
        await self.set_ready(name, address)

    async def set_ready(self, name, address, is_ready=True):
        ready = {"type": "Ready", "status": "True" if is_ready else "False"}
        status = {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}], "conditions": [ready]}
        await self.client.patch(f"{PODS}/{name}/status", {"status": status})

    async def stop(self, name):
        await self.client.delete(f"{PODS}/{name}")

    async def set_pool(self, **spec):
        with suppress(ApiError):
            await self.client.create(POOLS, pool(**spec))
            return
        await self.client.patch(f"{POOLS}/pool", {"spec": pool(**spec)["spec"]})


@pytest.fixture
def world(client):
    return Cluster(client)


@pytest.fixture
def follow(client):
    @asynccontextmanager
    async def follow(namespace=None):
        store = PodStore()
        task = asyncio.create_task(KubernetesPods("pool", namespace).source(client).run(store))
        try:
            yield store
            assert not task.done()
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    return follow


def endpoints(store):
    return sorted(pod.endpoint for pod in store.pods)


async def test_pods_of_the_pool_come_and_go(world, follow, until):
    """By the pool's selector, and by nothing else."""
    await world.set_pool()
    await world.start("a", "10.0.0.1")
    await world.start("other", "10.0.0.9", app="mistral")
    async with follow() as store:
        await until(lambda: endpoints(store) == ["10.0.0.1:8000"])
        await world.start("b", "fd00::2")
        await until(lambda: endpoints(store) == ["10.0.0.1:8000", "[fd00::2]:8000"])
        await world.set_ready("a", "10.0.0.1", is_ready=False)
        await until(lambda: endpoints(store) == ["[fd00::2]:8000"])
        await world.set_ready("a", "10.0.0.1")
        await world.stop("b")
        await until(lambda: endpoints(store) == ["10.0.0.1:8000"])


async def test_a_pool_without_pods_is_known_and_empty(world, follow):
    """Scale from zero begins here."""
    await world.set_pool()
    async with follow("default") as store, asyncio.timeout(10):
        await store.synced()
        assert store.pods == ()


async def test_a_pool_that_is_not_there_yet_is_waited_for(world, follow, until, caplog):
    """Nothing is told until it comes; the log says so once."""
    await world.start("a", "10.0.0.1")
    async with follow() as store:
        await until(lambda: "there is none" in caplog.text)
        assert not store.is_synced
        await world.set_pool()
        await until(lambda: endpoints(store) == ["10.0.0.1:8000"])
    assert caplog.text.count("there is none") == 1


async def test_a_pool_that_is_deleted_has_no_pods(world, follow, until, caplog, client):
    """Until it comes back."""
    await world.set_pool()
    await world.start("a", "10.0.0.1")
    async with follow() as store:
        await until(lambda: endpoints(store) == ["10.0.0.1:8000"])
        await client.delete(f"{POOLS}/pool")
        await until(lambda: not store.pods)
        assert "it has been deleted, and there are no pods without it" in caplog.text
        await world.start("b", "10.0.0.2")
        await world.set_pool()
        await until(lambda: endpoints(store) == ["10.0.0.1:8000", "10.0.0.2:8000"])


async def test_other_ports_are_taken_at_once(world, follow, until):
    """Of the same pods."""
    await world.set_pool()
    await world.start("a", "10.0.0.1")
    async with follow() as store:
        await until(lambda: endpoints(store) == ["10.0.0.1:8000"])
        await world.set_pool(ports=[8001, 8002])
        await until(lambda: endpoints(store) == ["10.0.0.1:8001", "10.0.0.1:8002"])


async def test_the_old_pods_stay_until_those_of_the_new_selector_are_known(world, follow, until):
    """The pool is never empty in between; and a selector that comes back is followed on."""
    await world.set_pool()
    await world.start("a", "10.0.0.1")
    await world.start("m", "10.0.0.9", app="mistral")
    async with follow() as store:
        await until(lambda: endpoints(store) == ["10.0.0.1:8000"])
        seen = []
        store.subscribe(lambda pods=None: seen.append(endpoints(store)))
        await world.set_pool(app="mistral")
        await until(lambda: endpoints(store) == ["10.0.0.9:8000"])
        assert [] not in seen
        await world.start("b", "10.0.0.2")  # the old selector's: nobody follows it any more
        for app in ("llama", "mistral", "none", "mistral"):
            await world.set_pool(app=app)
        await world.start("n", "10.0.0.10", app="mistral")
        await until(lambda: endpoints(store) == ["10.0.0.10:8000", "10.0.0.9:8000"])


async def test_a_selector_that_comes_back_before_the_next_is_known_is_followed_on(world, client, until):
    """Nothing is read again, and nothing leaves."""
    store = PodStore()
    await world.start("a", "10.0.0.1")
    async with asyncio.TaskGroup() as tasks:
        follower = _PoolFollower(client, "pool", "default", store, tasks)
        follower.update([pool()], [])
        await until(lambda: endpoints(store) == ["10.0.0.1:8000"])
        before = store.pods
        for app in ("mistral", "gemma", "llama"):
            follower.update([pool(app=app)], [])
        await world.start("b", "10.0.0.2")
        await until(lambda: endpoints(store) == ["10.0.0.1:8000", "10.0.0.2:8000"])
        assert store.pods[0] is before[0]
        follower.update([], [pool()])
        assert store.pods == ()


async def test_a_spec_that_is_wrong_leaves_everything_as_it_was(cluster, world, follow, until, caplog, client):
    """The log says what is wrong with it, once."""
    await world.set_pool()
    await world.start("a", "10.0.0.1")
    async with follow() as store:
        await until(lambda: endpoints(store) == ["10.0.0.1:8000"])
        try:
            await client.patch(f"{POOLS}/pool", {"spec": {"selector": {"matchLabels": {"app": None}}}})
        except ApiError:
            return  # this server has refused it
        await until(lambda: "matchLabels must name one label" in caplog.text)
        await world.start("b", "10.0.0.2")
        await until(lambda: endpoints(store) == ["10.0.0.1:8000", "10.0.0.2:8000"])


async def test_a_pod_that_gets_ready_lets_a_request_go(world, follow, until):
    """In the turn of the loop in which the event was read the store knows; two turns later the request goes on."""
    await world.set_pool()
    async with follow() as store:
        async with asyncio.timeout(10):
            await store.synced()
        async with FlowController(locator=store, detector=ConcurrencyDetector(1)) as controller:
            waiting = asyncio.create_task(controller.enqueue_and_wait(Request("flow")))
            done = asyncio.get_running_loop().create_future()

            def hear(pods=None):
                # Behind the controller's own turn, and the turn of its caller.
                loop = asyncio.get_running_loop()
                loop.call_soon(lambda: loop.call_soon(lambda: done.set_result(waiting.done())))

            store.subscribe(hear)
            await asyncio.sleep(0)
            await world.start("a", "10.0.0.1")
            async with asyncio.timeout(10):
                assert await done
            waiting.result().release()
