"""Who leads, in time that jumps: taking over, giving back, losing."""

import asyncio
import logging
import random
import re
from contextlib import asynccontextmanager

import attrs
import pytest

from flowgate_epp.kubernetes import ApiError
from flowgate_epp.leadership import Election, LeadershipLost, LeaseSettings

SETTINGS = LeaseSettings()


@asynccontextmanager
async def running(*elections):
    """Let them take part; gives their tasks."""
    tasks = [asyncio.create_task(election.run()) for election in elections]
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def now():
    return asyncio.get_running_loop().time()


def unused():
    return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "flowgate-epp"}}


def held(holder="other", **spec):
    return unused() | {"spec": {"holderIdentity": holder, "leaseDurationSeconds": 15, "renewTime": "then"} | spec}


def test_a_lease_that_nobody_has_used_is_taken_at_once(jump, new_server, new_way):
    async def check():
        server = new_server()
        server.put(unused())
        election = Election(SETTINGS, new_way(server))
        assert (election.is_leader, election.is_lost, election.holder) == (False, False, None)
        async with running(election):
            await election.leading()
            assert now() < 0.1
            assert election.is_leader
            assert election.holder == election.identity
            spec = server.lease["spec"]
            assert spec["holderIdentity"] == election.identity
            assert (spec["leaseDurationSeconds"], spec["leaseTransitions"]) == (15, 0)
            assert spec["acquireTime"] == spec["renewTime"]
            assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", spec["renewTime"])

    jump(check())


def test_where_there_is_no_lease_one_is_made_once_nobody_can_lead_any_more(jump, new_server, new_way):
    """Somebody may have deleted it while another leads, and the other would not know yet."""

    async def check():
        server = new_server()
        election = Election(SETTINGS, new_way(server))
        async with running(election):
            await election.leading()
            assert 15.0 <= now() < 15.5
            assert server.lease["spec"]["leaseTransitions"] == 0

    jump(check())


def test_of_several_one_leads_and_renews_for_an_hour(jump, new_server, new_way):
    async def check():
        server = new_server()
        server.put(unused())
        elections = [Election(SETTINGS, new_way(server)) for _ in range(3)]
        async with running(*elections):
            for _ in range(360):
                await asyncio.sleep(10)
                assert [each.is_leader for each in elections].count(True) == 1
            leader = next(each for each in elections if each.is_leader)
            assert {each.holder for each in elections} == {leader.identity}
            spec = server.lease["spec"]
            assert spec["leaseTransitions"] == 0

    jump(check())


def test_the_longest_interval_that_is_allowed_leaves_time_to_renew(jump, new_server, new_way):
    async def check():
        server = new_server()
        server.put(unused())
        longest = SETTINGS.renew_deadline / 2
        leader = Election(attrs.evolve(SETTINGS, retry_interval=longest), new_way(server))
        async with running(leader) as [task]:
            await leader.leading()
            await asyncio.sleep(3600)
            assert leader.is_leader
            assert not task.done()

    jump(check())


def test_a_lost_race_leaves_one_leader(jump, new_server, new_way):
    """All ask for the lease that is not there at the same time: one makes it, and one takes one that is unused."""

    async def check(lease):
        server = new_server()
        if lease is not None:
            server.put(lease)
        elections = [Election(SETTINGS, new_way(server)) for _ in range(3)]
        async with running(*elections):
            await asyncio.sleep(40)
            assert [each.is_leader for each in elections].count(True) == 1

    jump(check(None))
    jump(check(unused()))
    jump(check(held()))


@pytest.mark.parametrize("duration", [15, 40])
def test_a_lease_that_is_not_renewed_is_taken_after_the_time_that_its_holder_has_told(
    jump, new_server, new_way, duration
):
    async def check():
        server = new_server()
        server.put(held(leaseDurationSeconds=duration, leaseTransitions=7, acquireTime="long ago", strategy="x"))
        election = Election(SETTINGS, new_way(server))
        async with running(election):
            await election.leading()
            assert duration <= now() < duration + 0.5
            spec = server.lease["spec"]
            assert (spec["leaseTransitions"], spec["strategy"]) == (8, "x")
            assert spec["acquireTime"] == spec["renewTime"]

    jump(check())


def test_the_wall_clock_of_another_is_not_believed(jump, new_server, new_way):
    """Its renewals seem to be of a thousand years ago; as long as they change, it leads."""

    async def check():
        server = new_server()
        election = Election(SETTINGS, new_way(server))
        server.put(held(renewTime="1026-01-01T00:00:00.000000Z"))
        async with running(election):
            for number in range(1, 21):
                await asyncio.sleep(10)
                server.put(held(renewTime=f"1026-01-01T00:00:{number:02}.000000Z"))
            assert not election.is_leader
            await asyncio.sleep(18)
            assert election.is_leader

    jump(check())


def test_what_others_write_into_metadata_postpones_nothing(jump, new_server, new_way):
    async def check():
        server = new_server()
        server.put(held())
        election = Election(SETTINGS, new_way(server))
        async with running(election):
            for number in range(20):
                server.put(server.lease | {"metadata": {"annotations": {"seen": str(number)}}})
                await asyncio.sleep(1)
            assert election.is_leader
            assert server.lease["metadata"]["annotations"]

    jump(check())


@pytest.mark.parametrize(
    "spec",
    [
        {"leaseDurationSeconds": 0},
        {"leaseDurationSeconds": "soon"},
        {"leaseDurationSeconds": None, "leaseTransitions": "many"},
        {"holderIdentity": 5, "leaseTransitions": -3},
        {"holderIdentity": None, "leaseTransitions": 0},
    ],
)
def test_a_malformed_lease_is_waited_out_and_mended(jump, new_server, new_way, spec):
    async def check():
        server = new_server()
        server.put(held(**spec))
        election = Election(SETTINGS, new_way(server))
        async with running(election):
            await asyncio.sleep(14.9)
            assert not election.is_leader
            await asyncio.sleep(0.7)
            assert election.is_leader
            written = server.lease["spec"]
            assert (written["leaseDurationSeconds"], written["leaseTransitions"]) == (15, 1)

    jump(check())


def test_a_lease_whose_spec_is_no_table_is_taken(jump, new_server, new_way):
    async def check():
        server = new_server()
        server.put(unused() | {"spec": "none"})
        election = Election(SETTINGS, new_way(server))
        async with running(election):
            await election.leading()
            assert server.lease["spec"]["holderIdentity"] == election.identity

    jump(check())


def test_a_leader_that_cannot_renew_gives_up_before_another_leads(jump, new_server, new_way, caplog):
    async def check():
        server = new_server()
        server.put(unused())
        way = new_way(server)
        leader, other = Election(SETTINGS, way), Election(SETTINGS, new_way(server))
        async with running(leader) as [task]:
            await leader.leading()
            async with running(other):
                await asyncio.sleep(20)
                way.loses = lambda: True
                cut_at = now()
                with pytest.raises(LeadershipLost, match="it was not renewed for 10 s"):
                    await task
                assert 7.5 <= now() - cut_at <= 10.0
                assert (leader.is_leader, leader.is_lost, other.is_leader) == (False, True, False)
                await other.leading()
                assert now() - cut_at < 15 + 2.5
        assert "no answer in time; nobody can be sure to lead for long" in caplog.text

    jump(check())


def test_a_leader_survives_failures_that_end_in_time(jump, new_server, new_way):
    async def check():
        server = new_server()
        server.put(unused())
        way = new_way(server)
        election = Election(SETTINGS, way)
        async with running(election):
            await election.leading()
            for _ in range(10):
                way.error = ApiError(503, "ServiceUnavailable", "etcd has no leader")
                await asyncio.sleep(5)
                way.error = None
                await asyncio.sleep(5)
                assert election.is_leader

    jump(check())


def test_an_outage_of_an_hour_is_told_once_and_ends_with_one_leader(jump, new_server, new_way, caplog):
    async def check():
        server = new_server()
        server.put(unused())
        ways = [new_way(server), new_way(server)]
        for way in ways:
            way.error = ApiError(0, "Unreachable", "nobody is there")
        elections = [Election(SETTINGS, way) for way in ways]
        async with running(*elections):
            await asyncio.sleep(3600)
            assert not any(each.is_leader for each in elections)
            assert len(ways[0].calls) < 3600 / 1.7
            for way in ways:
                way.error = None
            await asyncio.sleep(3)
            assert [each.is_leader for each in elections].count(True) == 1

    with caplog.at_level(logging.WARNING, "flowgate_epp.leadership"):
        jump(check())
    assert (
        sum("nobody is there" in each.getMessage() and "cannot be had" in each.getMessage() for each in caplog.records)
        == 2
    )


def test_who_may_not_is_told_which_rule_is_missing(jump, new_server, new_way, caplog):
    async def check():
        way = new_way(new_server())
        way.error = ApiError(403, "Forbidden", "no")
        async with running(Election(attrs.evolve(SETTINGS, namespace="there"), way)):
            await asyncio.sleep(1)

    jump(check())
    assert (
        "allow get, create, update, list and watch on leases of coordination.k8s.io in namespace 'there'" in caplog.text
    )


def test_a_namespace_that_is_not_there_is_told_and_not_asked_for_in_a_hurry(jump, new_server, new_way, caplog):
    """No lease can be made in it: that is no race that somebody else has won."""

    class Nowhere(new_server):
        def put(self, lease):
            raise ApiError(404, "NotFound", 'namespaces "there" not found')

    async def check():
        way = new_way(Nowhere())
        async with running(Election(SETTINGS, way)):
            await asyncio.sleep(60)
        return way.calls

    calls = jump(check())
    assert 'cannot be had: 404 NotFound: namespaces "there" not found' in caplog.text
    assert len(calls) < 2 * 60 / SETTINGS.retry_interval + 10


def test_a_lease_that_is_given_back_is_taken_by_the_next(jump, new_server, new_way):
    async def check():
        server = new_server()
        server.put(unused())
        leader, other = Election(SETTINGS, new_way(server)), Election(SETTINGS, new_way(server))
        async with running(leader) as [task]:
            await leader.leading()
            async with running(other):
                await asyncio.sleep(5)
                resigning = asyncio.create_task(leader.resign())
                await asyncio.sleep(0)
                assert (leader.is_leader, leader.is_lost) == (False, False)
                await resigning
                assert (server.lease["spec"]["holderIdentity"], server.lease["spec"]["leaseDurationSeconds"]) == ("", 1)
                await task
                at = now()
                await other.leading()
                assert now() - at <= 2.3
                assert server.lease["spec"]["leaseTransitions"] == 1
                await asyncio.sleep(60)
                assert (leader.is_leader, leader.is_lost, other.is_leader) == (False, False, True)
                await leader.resign()
                assert server.lease["spec"]["holderIdentity"] == other.identity

    jump(check())


def test_who_resigns_while_a_renewal_hangs_does_not_wait_for_it(jump, new_server, new_way):
    async def check():
        server = new_server()
        server.put(unused())
        way = new_way(server)
        leader = Election(SETTINGS, way)
        async with running(leader) as [task]:
            await leader.leading()
            count, way.loses = len(way.calls), lambda: True
            while len(way.calls) == count:
                await asyncio.sleep(0.1)
            way.loses = lambda: False
            at = now()
            await leader.resign()
            await task
            assert now() - at < 0.1
            assert server.lease["spec"]["holderIdentity"] == ""

    jump(check())


def test_a_resignation_that_meets_another_writer_looks_again(jump, new_server, new_way):
    async def check():
        server = new_server()
        server.put(unused())
        way = new_way(server, delay=lambda: 0.5)
        leader = Election(SETTINGS, way)
        async with running(leader):
            await leader.leading()
            resigning = asyncio.create_task(leader.resign())
            await asyncio.sleep(1.1)
            server.put(server.lease)
            await resigning
            assert server.lease["spec"]["holderIdentity"] == ""

    jump(check())


@pytest.mark.parametrize("is_silent", [True, False])
def test_a_resignation_without_a_server_ends_and_is_told(jump, new_server, new_way, caplog, is_silent):
    async def check():
        server = new_server()
        server.put(unused())
        way = new_way(server)
        leader = Election(SETTINGS, way)
        async with running(leader):
            await leader.leading()
            if is_silent:
                way.loses = lambda: True
            else:
                way.error = ApiError(0, "Unreachable", "nobody is there")
            at = now()
            await leader.resign()
            assert now() - at <= 5.01
            assert not leader.is_leader

    jump(check())
    assert "is not given back, and runs out by itself" in caplog.text


def test_who_resigns_before_it_ever_leads_writes_nothing_and_never_leads(jump, new_server, new_way):
    async def check():
        server = new_server()
        server.put(held())
        way = new_way(server)
        election = Election(SETTINGS, way)
        async with running(election) as [task]:
            await asyncio.sleep(1)
            await election.resign()
            await task
            await asyncio.sleep(60)
            assert set(way.calls) == {"get"}
        late = Election(SETTINGS, new_way(server))
        await late.resign()
        await late.run()

    jump(check())


def test_a_lease_that_is_deleted_under_its_leader_is_made_anew_by_it(jump, new_server, new_way):
    async def check():
        server = new_server()
        server.put(unused())
        leader, other = Election(SETTINGS, new_way(server)), Election(SETTINGS, new_way(server))
        async with running(leader):
            await leader.leading()
            async with running(other):
                for _ in range(10):
                    await asyncio.sleep(random.uniform(3, 20))
                    server.delete()
                    await asyncio.sleep(3)
                    assert server.lease["spec"]["holderIdentity"] == leader.identity
                await asyncio.sleep(5)
                assert (leader.is_leader, other.is_leader) == (True, False)
                assert server.lease["spec"]["holderIdentity"] == leader.identity

    jump(check())


@pytest.mark.parametrize("spec", [{}, {"holderIdentity": ""}])
def test_a_lease_that_is_emptied_under_its_leader_is_filled_again(jump, new_server, new_way, spec):
    async def check():
        server = new_server()
        server.put(unused())
        leader = Election(SETTINGS, new_way(server))
        async with running(leader):
            await leader.leading()
            server.put(unused() | {"spec": spec})
            await asyncio.sleep(3)
            assert leader.is_leader
            assert server.lease["spec"]["holderIdentity"] == leader.identity

    jump(check())


@pytest.mark.parametrize("spec", [{"holderIdentity": ""}, {"leaseDurationSeconds": 1}, {"holderIdentity": None}])
def test_a_lease_that_is_written_by_hand_under_its_leader_is_waited_out(jump, new_server, new_way, spec):
    """Nobody has resigned: the leader is there, and writes it anew at its next renewal."""

    async def check():
        server = new_server()
        server.put(unused())
        leader, other = Election(SETTINGS, new_way(server)), Election(SETTINGS, new_way(server))
        async with running(leader):
            await leader.leading()
            async with running(other):
                for _ in range(30):
                    await asyncio.sleep(random.uniform(3, 8))
                    server.put(server.lease | {"spec": server.lease["spec"] | spec})
                    for _ in range(100):
                        await asyncio.sleep(0.03)
                        assert (leader.is_leader, other.is_leader) == (True, False)
                assert server.lease["spec"]["holderIdentity"] == leader.identity

    jump(check())


def test_a_lease_that_another_has_taken_ends_the_leadership_at_the_next_renewal(jump, new_server, new_way):
    async def check():
        server = new_server()
        server.put(unused())
        leader = Election(SETTINGS, new_way(server))
        async with running(leader) as [task]:
            await leader.leading()
            server.put(held())
            with pytest.raises(LeadershipLost, match="it is held by other now"):
                await task
            assert now() < 3
            assert (leader.is_leader, leader.is_lost) == (False, True)

    jump(check())


def test_a_leader_whose_lease_was_touched_by_hand_goes_on(jump, new_server, new_way):
    async def check():
        server = new_server()
        server.put(unused())
        leader = Election(SETTINGS, new_way(server))
        async with running(leader):
            await leader.leading()
            for _ in range(20):
                await asyncio.sleep(3)
                server.put(server.lease | {"metadata": {"labels": {"touched": "yes"}}})
                assert leader.is_leader
            assert server.lease["metadata"]["labels"]

    jump(check())


def test_a_claim_whose_answer_was_lost_is_known_again(jump, new_server, new_way):
    """The write came through, the answer did not: it is ours, but we lead only from the next write on."""

    async def check():
        server = new_server()
        server.put(unused())
        way = new_way(server)
        election = Election(SETTINGS, way)
        losing = iter([False, False, False, True])
        way.loses = lambda: next(losing, False)
        async with running(election):
            await asyncio.sleep(4)
            assert server.lease["spec"]["holderIdentity"] == election.identity
            assert not election.is_leader
            await election.leading()
            assert now() < 8
            assert server.lease["spec"]["leaseTransitions"] == 0

    jump(check())


def test_a_stalled_leader_knows_it_at_the_first_look(jump, new_server, new_way, new_stall):
    async def check():
        server, stall = new_server(), new_stall()
        server.put(unused())
        leader, other = Election(SETTINGS, new_way(server)), Election(SETTINGS, new_way(server))
        task = asyncio.create_task(stall.through(leader.run()))
        await leader.leading()
        async with running(other):
            await asyncio.sleep(5)
            stall.is_open.clear()
            await other.leading()
            assert (leader.is_leader, leader.is_lost) == (False, True)
            stall.is_open.set()
            with pytest.raises(LeadershipLost):
                await task
            assert other.is_leader

    jump(check())


def test_two_candidates_of_one_name_are_two(jump, new_server, new_way):
    async def check():
        settings = attrs.evolve(SETTINGS, identity="epp")
        way = new_way(new_server())
        one, two = Election(settings, way), Election(settings, way)
        assert one.identity.startswith("epp_")
        assert one.identity != two.identity

    jump(check())
