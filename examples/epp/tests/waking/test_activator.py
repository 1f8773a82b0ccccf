"""From zero to one and back, against an API server over HTTP."""

import asyncio
import contextlib
import re
import sys
import time
from pathlib import Path

import pytest

# The stage lives beside the package, not in it.
ROOT = str(Path(__file__).parents[4])
if ROOT not in sys.path:
    sys.path.append(ROOT)

from examples.stage.kubernetes import FakeApiServer  # noqa: E402 - what is above must come first
from flowgate_epp.kubernetes import ApiClient, ApiError, ClusterSettings  # noqa: E402 - the same
from flowgate_epp.waking import Activator, ActivatorSettings, Demand  # noqa: E402 - the same

DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
SCALE = f"{DEPLOYMENTS}/pods/scale"
IDLE, ASKED = Demand(0, 0, 0.0, 0.0), Demand(1, 0, 1.0, 0.0)


def deployment(replicas):
    template = {
        "metadata": {"labels": {"app": "pods"}},
        "spec": {"containers": [{"name": "model", "image": "model"}]},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "pods"},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "pods"}}, "template": template},
    }


class World:
    """A server with a target, a client that counts, and an activator that runs."""

    def __init__(self, server, client, activator):
        self.server, self.client, self.activator = server, client, activator

    async def replicas(self):
        return (await self.client.get(f"{DEPLOYMENTS}/pods"))["spec"]["replicas"]

    async def scale(self, replicas):
        await self.client.patch(SCALE, {"spec": {"replicas": replicas}})

    def asked(self):
        """How many times the activator has asked for the scale."""
        return sum(asked.path.endswith("/scale") and asked.method == "GET" for asked in self.server.requests)

    async def until(self, is_so):
        async with asyncio.timeout(5):
            while not is_so():
                await asyncio.sleep(0.002)


@contextlib.asynccontextmanager
async def world(tmp_path, replicas, *, may_write=lambda: True, clock=None, **changes):
    async with FakeApiServer() as server:
        if replicas is not None:
            await server.create(DEPLOYMENTS, deployment(replicas))
        server.write_kubeconfig(tmp_path / "config")
        settings = ActivatorSettings(**{"target": "pods", "namespace": "default", "cool_down": 60.0} | changes)
        async with ApiClient(ClusterSettings(kubeconfig=str(tmp_path / "config"))) as client, asyncio.timeout(30):
            activator = Activator(settings, client, may_write=may_write, clock=clock)
            task = asyncio.create_task(activator.run())
            try:
                yield World(server, client, activator)
            finally:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task


def test_demand_wakes_at_once_and_quiet_lets_it_sleep(tmp_path):
    async def check():
        async with world(tmp_path, 0, cool_down=0.3) as at:
            start = time.monotonic()
            at.activator.demand_changed(ASKED)
            await at.until(lambda: at.activator.wakes == 1)
            assert time.monotonic() - start < 0.5
            assert await at.replicas() == 1
            await asyncio.sleep(0.4)  # longer than the cool-down, which does not run
            assert at.activator.sleeps == 0
            at.activator.demand_changed(IDLE)
            quiet_at = time.monotonic()
            await at.until(lambda: at.activator.sleeps == 1)
            assert time.monotonic() - quiet_at >= 0.3
            assert await at.replicas() == 0
            at.activator.demand_changed(ASKED)
            await at.until(lambda: at.activator.wakes == 2)
            assert (await at.replicas(), at.activator.failures) == (1, 0)

    asyncio.run(check())


def test_a_burst_that_came_and_went_wakes_it_and_it_stays_for_the_cool_down(tmp_path):
    async def check():
        async with world(tmp_path, 0, cool_down=0.3) as at:
            at.activator.demand_changed(ASKED)
            at.activator.demand_changed(IDLE)
            await at.until(lambda: at.activator.wakes == 1)
            woken_at = time.monotonic()
            await at.until(lambda: at.activator.sleeps == 1)
            assert time.monotonic() - woken_at >= 0.25
            await asyncio.sleep(0.4)
            assert (at.activator.wakes, at.activator.sleeps) == (1, 1)

    asyncio.run(check())


@pytest.mark.parametrize("replicas", [2, 3])
def test_more_than_one_replica_is_never_touched(tmp_path, replicas):
    async def check():
        async with world(tmp_path, replicas, cool_down=0.05, interval=0.05) as at:
            await at.until(lambda: at.asked() >= 3)
            at.activator.demand_changed(ASKED)
            at.activator.demand_changed(IDLE)
            await asyncio.sleep(0.2)
            assert await at.replicas() == replicas
            assert at.activator.wakes == at.activator.sleeps == 0

    asyncio.run(check())


def test_what_an_autoscaler_has_brought_down_to_one_sleeps(tmp_path):
    async def check():
        async with world(tmp_path, 3, cool_down=0.05, interval=0.05) as at:
            await at.until(lambda: at.asked() >= 1)
            await at.scale(1)
            await at.until(lambda: at.activator.sleeps == 1)
            assert await at.replicas() == 0

    asyncio.run(check())


def test_a_new_one_sees_quiet_for_the_whole_cool_down_itself(tmp_path):
    async def check():
        now = 0.0
        async with world(tmp_path, 1, clock=lambda: now, cool_down=300.0) as at:
            await asyncio.sleep(0.1)
            now = 299.0
            at.activator.demand_changed(IDLE)
            await asyncio.sleep(0.1)
            assert (at.activator.sleeps, at.asked()) == (0, 1)
            now = 300.0
            at.activator.demand_changed(IDLE)
            await at.until(lambda: at.activator.sleeps == 1)

    asyncio.run(check())


def test_a_demand_that_flickers_costs_no_calls(tmp_path):
    async def check():
        async with world(tmp_path, 1) as at:
            for _ in range(200):
                at.activator.demand_changed(ASKED)
                await asyncio.sleep(0)
                at.activator.demand_changed(IDLE)
                await asyncio.sleep(0.001)
            assert at.asked() == 1

    asyncio.run(check())


def test_a_zero_that_a_human_wrote_is_undone_at_the_next_look_while_there_is_demand(tmp_path):
    async def check():
        now = 0.0
        async with world(tmp_path, 1, clock=lambda: now, interval=0.1) as at:
            at.activator.demand_changed(ASKED)
            await at.until(lambda: at.asked() == 1)
            await at.scale(0)
            at.activator.demand_changed(ASKED)
            await asyncio.sleep(0.2)
            assert at.activator.wakes == 0, "not more than one step in some seconds"
            now = 6.0
            at.activator.demand_changed(ASKED)
            await at.until(lambda: at.activator.wakes == 1)
            assert await at.replicas() == 1

    asyncio.run(check())


def test_a_conflict_is_looked_at_again(tmp_path):
    async def check():
        async with world(tmp_path, 0) as at:
            at.server.fail_next(409, 2, method="PUT")
            at.activator.demand_changed(ASKED)
            await at.until(lambda: at.activator.wakes == 1)
            assert at.activator.failures in {0, 2}

    asyncio.run(check())


def test_a_server_that_is_down_at_the_edge_is_asked_until_it_is_back(tmp_path, caplog):
    """The demand has gone long before; it is not forgotten."""

    async def check():
        async with world(tmp_path, 0) as at:
            await at.server.stop()
            at.activator.demand_changed(ASKED)
            at.activator.demand_changed(IDLE)
            await at.until(lambda: at.activator.failures >= 2)
            await at.server.start()
            await at.until(lambda: at.activator.wakes == 1)
            assert await at.replicas() == 1

    asyncio.run(check())
    assert "Deployment 'pods' cannot be scaled: " in caplog.text


def test_only_who_may_write_does_and_a_new_leader_takes_it_up(tmp_path):
    async def check():
        leads = False
        async with world(tmp_path, 0, may_write=lambda: leads) as at:
            at.activator.demand_changed(ASKED)
            await asyncio.sleep(0.1)
            assert at.asked() == 0
            leads = True
            await at.until(lambda: at.activator.wakes == 1)

    asyncio.run(check())


def test_a_new_leader_sees_quiet_for_the_whole_cool_down_itself(tmp_path):
    """However long it stood by: meanwhile another one had the demand."""

    async def check():
        now, leads = 0.0, False
        async with world(tmp_path, 1, may_write=lambda: leads, clock=lambda: now, cool_down=300.0) as at:
            await asyncio.sleep(0.05)
            now = 3600.0
            at.activator.demand_changed(IDLE)
            await asyncio.sleep(0.05)
            leads = True
            at.activator.demand_changed(IDLE)
            await at.until(lambda: at.asked() == 1)
            now = 3899.0
            at.activator.demand_changed(IDLE)
            await asyncio.sleep(0.1)
            assert (at.activator.sleeps, at.asked()) == (0, 1)
            now = 3900.0
            at.activator.demand_changed(IDLE)
            await at.until(lambda: at.activator.sleeps == 1)

    asyncio.run(check())


def test_who_has_lost_the_right_meanwhile_does_not_write(tmp_path):
    async def check():
        answers = iter([True, False])
        async with world(tmp_path, 0, may_write=lambda: next(answers, False)) as at:
            at.activator.demand_changed(ASKED)
            await at.until(lambda: at.asked() == 1)
            await asyncio.sleep(0.1)
            assert (await at.replicas(), at.activator.wakes) == (0, 0)

    asyncio.run(check())


def test_a_missing_target_is_told_and_woken_once_it_is_there(tmp_path, caplog):
    async def check():
        async with world(tmp_path, None) as at:
            at.activator.demand_changed(ASKED)
            await at.until(lambda: at.activator.failures)
            await at.server.create(DEPLOYMENTS, deployment(0))
            await at.until(lambda: at.activator.wakes == 1)

    asyncio.run(check())
    assert "there is no deployments/pods/scale of apps/v1 in namespace 'default'" in caplog.text


def test_a_wrong_name_is_told_before_anybody_asks(tmp_path, caplog):
    """And not only when the first request waits, or the cool-down is over."""

    async def check():
        async with world(tmp_path, None) as at:
            await at.until(lambda: at.activator.failures)

    asyncio.run(check())
    assert "there is no deployments/pods/scale of apps/v1 in namespace 'default'" in caplog.text


def test_the_first_look_leaves_the_replicas_as_they_are(tmp_path):
    async def check():
        async with world(tmp_path, 1) as at:
            await at.until(lambda: at.asked() == 1)
            await asyncio.sleep(0.1)
            assert (await at.replicas(), at.activator.wakes, at.activator.sleeps, at.asked()) == (1, 0, 0, 1)

    asyncio.run(check())


def test_who_may_not_is_told_which_rule_is_missing(tmp_path, caplog):
    async def check():
        async with world(tmp_path, 0) as at:
            at.server.fail_next(403, 1)
            at.activator.demand_changed(ASKED)
            await at.until(lambda: at.activator.wakes == 1)

    asyncio.run(check())
    assert "allow get and update on deployments/scale of 'apps' in namespace 'default'" in caplog.text


def test_a_dry_run_writes_nothing(tmp_path, caplog):
    async def check():
        async with world(tmp_path, 0, dry_run=True) as at:
            at.activator.demand_changed(ASKED)
            await at.until(lambda: at.asked() == 1)
            await asyncio.sleep(0.1)
            assert (await at.replicas(), at.activator.wakes) == (0, 0)

    with caplog.at_level("INFO", "flowgate_epp.waking"):
        asyncio.run(check())
    assert "Deployment 'pods' would be scaled to 1, but for dry_run" in caplog.text


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({}, "/apis/apps/v1/namespaces/own/deployments/llama/scale"),
        ({"kind": "StatefulSet"}, "/apis/apps/v1/namespaces/own/statefulsets/llama/scale"),
        (
            {"kind": "LeaderWorkerSet", "namespace": "there"},
            "/apis/leaderworkerset.x-k8s.io/v1/namespaces/there/leaderworkersets/llama/scale",
        ),
        (
            {"kind": "ReplicationController", "api_version": "v1", "plural": "replicationcontrollers"},
            "/api/v1/namespaces/own/replicationcontrollers/llama/scale",
        ),
        (
            {"kind": "LeaderWorkerSet", "api_version": "leaderworkerset.x-k8s.io/v2"},
            "/apis/leaderworkerset.x-k8s.io/v2/namespaces/own/leaderworkersets/llama/scale",
        ),
    ],
)
def test_each_kind_has_its_path(changes, path):
    assert ActivatorSettings(target="llama", **changes).path("own") == path


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"target": ""}, "target must be the name of a Kubernetes object, not ''"),
        ({"target": "a/b"}, "target must be the name of a Kubernetes object, not 'a/b'"),
        ({"target": "a.-b"}, "target must be the name of a Kubernetes object, not 'a.-b'"),
        ({"plural": "a/b"}, "plural must be a name in lower case, such as 'deployments', not 'a/b'"),
        ({"api_version": "apps/"}, "api_version must be a group and a version, such as 'apps/v1', not 'apps/'"),
        (
            {"kind": "Rollout"},
            "kind must be one of 'Deployment', 'StatefulSet', 'LeaderWorkerSet', or have api_version",
        ),
        ({"namespace": "a.b"}, "namespace must be the name of a Kubernetes namespace, not 'a.b'"),
        ({"cool_down": 0}, "cool_down must be more than 0 seconds, not 0"),
    ],
)
def test_a_bad_setting_is_told_with_its_rule(changes, says):
    with pytest.raises(ValueError, match=f"^{re.escape(says)}"):
        ActivatorSettings(**{"target": "llama"} | changes)


def test_a_leader_worker_set_is_woken_too(tmp_path):
    async def check():
        async with world(tmp_path, None, kind="LeaderWorkerSet") as at:
            folder = "/apis/leaderworkerset.x-k8s.io/v1/namespaces/default/leaderworkersets"
            content = {"apiVersion": "leaderworkerset.x-k8s.io/v1", "kind": "LeaderWorkerSet"}
            await at.server.create(folder, content | {"metadata": {"name": "pods"}, "spec": {"replicas": 0}})
            at.activator.demand_changed(ASKED)
            await at.until(lambda: at.activator.wakes == 1)
            assert (await at.client.get(f"{folder}/pods"))["spec"]["replicas"] == 1
            with pytest.raises(ApiError):
                await at.client.get(SCALE)

    asyncio.run(check())
