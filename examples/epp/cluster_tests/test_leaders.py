"""Two Endpoint Pickers and one Lease: one of them leads, and the other as soon as it may."""

import time

import pytest

from examples.stage import Epp, Stage, wait_until
from examples.stage.kubernetes.pool import Pool

pytestmark = pytest.mark.anyio

TIMES = {"duration": 3.0, "renew_deadline": 2.0, "retry_interval": 0.5}


async def holder(pool: Pool) -> str:
    leases = f"/apis/coordination.k8s.io/v1/namespaces/{pool.namespace}/leases"
    lease = await pool.cluster.ask("GET", f"{leases}/flowgate-epp")
    return str(lease["spec"].get("holderIdentity", ""))


async def becomes_ready(stage: Stage, picker: Epp, seconds: float = 15.0) -> None:
    await picker.process.ready(lambda: stage.answers(f"{picker.admin_url}/readyz"), seconds)


async def two(stage: Stage, start_picker) -> tuple[Epp, Epp]:
    first = await start_picker("first", leadership={**TIMES, "identity": "first"})
    await becomes_ready(stage, first)
    second = await start_picker("second", leadership={**TIMES, "identity": "second"})
    await second.process.ready(lambda: stage.answers(f"{second.admin_url}/healthz"))
    return first, second


async def test_one_leads_and_the_other_is_not_ready(stage, start_picker, pool) -> None:
    """For as long as the first renews."""
    first, second = await two(stage, start_picker)
    assert (await holder(pool)).startswith("first_")
    until = time.monotonic() + 2 * TIMES["duration"]
    while time.monotonic() < until:
        assert await stage.answers(f"{first.admin_url}/readyz")
        assert not await stage.answers(f"{second.admin_url}/readyz")


async def test_the_other_leads_when_the_leader_is_killed(stage, start_picker, pool) -> None:
    """Not before the lease has run out, and soon after."""
    first, second = await two(stage, start_picker)
    began = time.monotonic()
    first.process.kill()
    await becomes_ready(stage, second)
    seconds = time.monotonic() - began
    print(f"ready {seconds:.2f} s after the leader was killed, with a lease of {TIMES['duration']:g} s")
    assert TIMES["duration"] - TIMES["retry_interval"] - 0.5 < seconds < TIMES["duration"] + 2.0
    assert (await holder(pool)).startswith("second_")


async def test_the_other_leads_at_once_when_the_leader_ends_in_order(stage, start_picker) -> None:
    """The lease is given back."""
    first, second = await two(stage, start_picker)
    began = time.monotonic()
    first.process.terminate()
    await becomes_ready(stage, second)
    seconds = time.monotonic() - began
    print(f"ready {seconds:.2f} s after the leader was told to stop")
    assert seconds < 1.5
    assert await first.process.wait() == 0


async def test_a_leader_that_cannot_renew_ends_before_another_may_lead(stage, start_picker, path) -> None:
    """Its way to the API server is silent: it gives up by its own clock, with the code that says start me again."""
    only = await start_picker("only", leadership=TIMES)
    await becomes_ready(stage, only)
    began = time.monotonic()
    path.blackhole()
    assert await only.process.wait() == 3
    assert time.monotonic() - began < TIMES["duration"]


async def test_a_restart_of_the_api_server_within_the_deadline_costs_no_leadership(stage, start_picker, pool) -> None:
    """The leader goes on."""
    patient = {"duration": 12.0, "renew_deadline": 10.0, "retry_interval": 0.5}
    picker = await start_picker("picker", leadership=patient)
    await becomes_ready(stage, picker, 30.0)
    before = await holder(pool)
    await pool.cluster.stop()
    await pool.cluster.start()

    async def has_recovered() -> bool:
        return await stage.answers(f"{picker.admin_url}/readyz") and await holder(pool) == before

    await wait_until(has_recovered, 10.0, "it still leads")
    assert picker.process.returncode is None
