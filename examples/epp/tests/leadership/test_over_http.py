"""The election against an API server over HTTP: conflicts, the watch, a server that goes away."""

import asyncio
import time

import pytest

from examples.stage.kubernetes import FakeApiServer
from flowgate_epp.kubernetes import ApiClient, ClusterSettings
from flowgate_epp.leadership import Election, LeadershipLost, LeaseSettings

FOLDER = "/apis/coordination.k8s.io/v1/namespaces/default/leases"
UNUSED = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "flowgate-epp"}}
QUICK = LeaseSettings(namespace="default", duration=1.0, renew_deadline=0.7, retry_interval=0.2)
SLOW = LeaseSettings(namespace="default", duration=60.0, renew_deadline=40.0, retry_interval=20.0)


def test_one_of_three_leads_and_the_next_takes_over_at_once_when_it_resigns(tmp_path):
    """With a retry interval of 20 seconds nobody would look in time: it is the watch that tells."""

    async def check():
        async with FakeApiServer() as server:
            await server.create(FOLDER, UNUSED)
            server.write_kubeconfig(tmp_path / "config")
            async with ApiClient(ClusterSettings(kubeconfig=str(tmp_path / "config"))) as client, asyncio.timeout(10):
                elections = [Election(SLOW, client) for _ in range(3)]
                tasks = [asyncio.create_task(each.run()) for each in elections]
                for left in (3, 2, 1):
                    asked = [asyncio.create_task(each.leading()) for each in elections]
                    await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
                    assert [each.is_leader for each in elections].count(True) == 1
                    for each in asked:
                        each.cancel()
                    leader = next(each for each in elections if each.is_leader)
                    while server.watches < left - 1:
                        await asyncio.sleep(0)
                    elections.remove(leader)
                    at = time.monotonic()
                    await leader.resign()
                    if elections:
                        while not any(each.is_leader for each in elections):
                            await asyncio.sleep(0)
                        assert time.monotonic() - at < 1.0
                await asyncio.gather(*tasks)
            lease = await server.get(f"{FOLDER}/flowgate-epp")
            assert lease["spec"]["holderIdentity"] == ""
            assert lease["spec"]["leaseTransitions"] == 2

    asyncio.run(check())


def test_a_server_that_goes_away_costs_the_leadership_and_gives_it_when_it_is_back(tmp_path):
    async def check():
        async with FakeApiServer() as server:
            server.write_kubeconfig(tmp_path / "config")
            async with ApiClient(ClusterSettings(kubeconfig=str(tmp_path / "config"))) as client, asyncio.timeout(20):
                leader = Election(QUICK, client)
                task = asyncio.create_task(leader.run())
                await leader.leading()
                await server.stop()
                with pytest.raises(LeadershipLost, match="not renewed"):
                    await task
                other = Election(QUICK, client)
                task = asyncio.create_task(other.run())
                await server.start()
                await other.leading()
                assert not leader.is_leader
                await other.resign()
                await task

    asyncio.run(check())
