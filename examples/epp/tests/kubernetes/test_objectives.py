"""Priorities that InferenceObjectives give."""

import asyncio
from contextlib import asynccontextmanager, suppress

import pytest

from examples.stage.kubernetes import FakeApiServer
from flowgate_epp.kubernetes import ApiClient, KubernetesObjectives, PoolObjectives

pytestmark = pytest.mark.anyio

PATH = "/apis/inference.networking.x-k8s.io/v1alpha2/namespaces/default/inferenceobjectives"


def objective(name, priority=None, pool="pool", **ref):
    spec = {"poolRef": {"name": pool, **ref}}
    if priority is not None:
        spec["priority"] = priority
    return {
        "apiVersion": "inference.networking.x-k8s.io/v1alpha2",
        "kind": "InferenceObjective",
        "metadata": {"name": name},
        "spec": spec,
    }


@pytest.fixture
def follow(client):
    @asynccontextmanager
    async def follow():
        objectives = KubernetesObjectives("pool").source(client)
        task = asyncio.create_task(objectives.run())
        try:
            yield objectives
            assert not task.done()
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    return follow


async def test_priorities_follow_the_objectives_of_the_pool(client, follow, until):
    """They come, change and go; those of other pools are none of ours."""
    await client.create(PATH, objective("chat", 10))
    await client.create(PATH, objective("plain"))
    await client.create(PATH, objective("other", 7, pool="another"))
    async with follow() as objectives:
        await until(lambda: objectives.priority("chat") == 10)
        assert objectives.priority("plain") == 0
        assert objectives.priority("other") is None
        assert repr(objectives) == "<PoolObjectives of pool: 2>"
        await client.patch(f"{PATH}/chat", {"spec": {"priority": -3}})
        await until(lambda: objectives.priority("chat") == -3)
        await client.patch(f"{PATH}/other", {"spec": {"poolRef": {"name": "pool"}}})
        await until(lambda: objectives.priority("other") == 7)
        await client.patch(f"{PATH}/other", {"spec": {"poolRef": {"name": "another"}}})
        await until(lambda: objectives.priority("other") is None)
        await client.delete(f"{PATH}/chat")
        await until(lambda: objectives.priority("chat") is None)


async def test_a_cluster_without_the_resource_has_no_objectives(anyio_backend, settings_for, until, caplog):
    """The log says so, and it is asked again."""
    async with FakeApiServer() as server:
        await server.create(PATH, objective("chat", 10))
        server.fail_next(404, 3)
        async with ApiClient(settings_for(server.url)) as client:
            objectives = PoolObjectives(client, "pool", "default")
            task = asyncio.create_task(objectives.run())
            await until(lambda: "CustomResourceDefinition" in caplog.text)
            assert objectives.priority("chat") is None
            await until(lambda: objectives.priority("chat") == 10)
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


def told(one):
    objectives = PoolObjectives(None, "pool")
    objectives.update([one], [])
    return objectives.priority(one["metadata"]["name"])


def test_a_reference_names_our_kind_of_pool():
    """The group may be left out."""
    assert told(objective("chat", 3)) == 3
    assert told(objective("chat", 3, group="inference.networking.k8s.io", kind="InferencePool")) == 3
    assert told(objective("chat", 3, group="inference.networking.x-k8s.io")) is None
    assert told(objective("chat", 3, kind="Service")) is None
    assert told({"metadata": {"name": "chat"}}) is None


@pytest.mark.parametrize("priority", ["3", True, 1.5])
def test_a_priority_that_is_no_integer_is_left_out(priority, caplog):
    """As if there were no such objective; the log says so."""
    assert told(objective("chat", priority)) is None
    assert f'InferenceObjective "chat": spec.priority must be an integer, not {priority!r}' in caplog.text
