"""However it goes: at no moment do two believe that they lead."""

import asyncio
import contextlib
import random

import pytest

from flowgate_epp.leadership import Election, LeadershipLost, LeaseSettings

SETTINGS = LeaseSettings()


class Candidate:
    """One process after another, on a machine whose clock is off and runs a little faster or slower."""

    def __init__(self, server, chance, way, stall):
        loop = asyncio.get_running_loop()
        offset, rate = chance.uniform(-1e6, 1e6), chance.uniform(0.95, 1.05)
        self.way, self.stall, self.chance = way, stall, chance
        self.clock = lambda: offset + rate * loop.time()
        self.election = None
        self.leaderships = 0

    async def live(self):
        while True:
            self.election = Election(SETTINGS, self.way, clock=self.clock)
            with contextlib.suppress(LeadershipLost):
                await self.stall.through(self.election.run())
            await asyncio.sleep(self.chance.uniform(0, 5))

    @property
    def leads(self):
        return self.election is not None and self.election.is_leader


async def befall(candidate, server, chance):
    """Do one of the bad things to one, for some time."""
    seconds = chance.choice([0.5, 3.0, 9.0, 12.0, 16.0, 40.0])
    match chance.randrange(7):
        case 0:
            candidate.stall.is_open.clear()
            await asyncio.sleep(seconds)
            candidate.stall.is_open.set()
        case 1:
            candidate.way.loses = lambda: True
            await asyncio.sleep(seconds)
        case 2:
            candidate.way.loses = lambda: chance.random() < 0.5
            await asyncio.sleep(seconds)
        case 3:
            candidate.way.delay = lambda: chance.uniform(0, seconds / 2)
            await asyncio.sleep(seconds)
        case 4:
            await candidate.election.resign()
        case 5 if server.lease is not None:
            server.delete()
        case 6 if server.lease is not None:
            server.put(server.lease | {"metadata": {"labels": {"touched": "yes"}}})
        case _:
            pass
    candidate.way.loses = lambda: False
    candidate.way.delay = lambda: chance.uniform(0, 0.05)


@pytest.mark.parametrize("seed", range(20))
def test_never_two_leaders(jump, new_server, new_way, new_stall, seed):
    chance = random.Random(seed)
    random.seed(seed)

    async def check():
        server = new_server()
        candidates = [Candidate(server, chance, new_way(server), new_stall()) for _ in range(chance.choice([2, 3]))]
        living = [asyncio.create_task(each.live()) for each in candidates]
        led = 0

        async def watch():
            nonlocal led
            while True:
                leaders = [number for number, each in enumerate(candidates) if each.leads]
                assert len(leaders) <= 1, f"{leaders} lead at {asyncio.get_running_loop().time()}"
                led += bool(leaders)
                await asyncio.sleep(0.02)

        watching = asyncio.create_task(watch())
        await asyncio.sleep(0)

        async def trouble(candidate):
            while True:
                await asyncio.sleep(chance.expovariate(1 / 15))
                await befall(candidate, server, chance)

        troubles = [asyncio.create_task(trouble(each)) for each in candidates]
        done, _ = await asyncio.wait([watching, *troubles, *living], timeout=600, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
        for task in troubles:
            task.cancel()
        for each in candidates:
            each.stall.is_open.set()
            each.way.loses = lambda: False
            each.way.delay = lambda: 0.001
        done, _ = await asyncio.wait([watching], timeout=60)
        assert not done, watching.exception()
        assert sum(each.leads for each in candidates) == 1, "somebody leads once all is well"
        assert led > 1000
        for task in [watching, *living]:
            task.cancel()
        await asyncio.gather(watching, *living, *troubles, return_exceptions=True)

    jump(check())
