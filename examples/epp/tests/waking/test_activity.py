"""A pool is active while there is demand, and for the latch after it."""

import asyncio

from flowgate.testing import run_in_virtual_time
from flowgate_epp.waking import Demand
from flowgate_epp.waking._activity import Activity

IDLE, BUSY = Demand(0, 0, 0, 0), Demand(1, 0, 5, 0)


def test_activity_lasts_as_long_as_demand_and_the_latch():
    async def main():
        activity = Activity(60.0)
        assert not activity.note(IDLE)  # none before, none now
        assert not activity.is_active
        assert activity.note(BUSY)
        assert not activity.note(BUSY._replace(running=1))
        await asyncio.sleep(1_000)
        assert activity.is_active
        assert not activity.note(IDLE)
        await asyncio.sleep(59.9)
        assert activity.is_active
        assert not activity.is_busy
        assert not activity.note(BUSY)  # it was active all along
        activity.note(IDLE)
        await asyncio.sleep(30)
        activity.note(IDLE)  # told once more: that is no demand
        await asyncio.sleep(30.1)
        assert not activity.is_active
        assert activity.note(BUSY)

    run_in_virtual_time(main)
