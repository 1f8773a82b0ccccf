"""Only the leader decides."""

import asyncio

import attrs
import pytest

from flowgate_epp.contracts import Inbound, Refusal
from flowgate_epp.leadership import LeaderOnly


@attrs.define
class Role:
    is_leader: bool = True
    is_lost: bool = False


@attrs.define
class Slot:
    endpoint: str = "10.0.0.1:8000"
    is_closed: bool = False

    def responded(self, status, served):
        pass

    def close(self, *, is_complete):
        self.is_closed = True


@attrs.define
class Director:
    answer: object
    asked: int = 0
    may_go: asyncio.Event = attrs.field(factory=asyncio.Event)

    async def decide(self, inbound):
        self.asked += 1
        await self.may_go.wait()
        return self.answer


def test_who_does_not_lead_refuses_before_anything_is_read():
    async def check():
        role, director = Role(is_leader=False), Director(Slot())
        decides = LeaderOnly(director, role)
        for refusal in (decides.refuses(), await decides.decide(Inbound({}))):
            assert (refusal.status, refusal.reason) == (503, "not-leading")
            assert refusal.headers["x-flowgate-dropped-reason"] == "not-leading"
            assert refusal.headers["retry-after"] in {"1", "2", "3"}
        assert director.asked == 0
        role.is_leader = True
        assert decides.refuses() is None

    asyncio.run(check())


@pytest.mark.parametrize(("role", "goes"), [(Role(), True), (Role(is_leader=False), True), (Role(False, True), False)])
def test_what_was_held_goes_on_after_a_resignation_and_not_after_a_loss(role, goes):
    async def check():
        slot, now = Slot(), Role()
        director = Director(slot)
        decides = LeaderOnly(director, now)
        task = asyncio.create_task(decides.decide(Inbound({})))
        await asyncio.sleep(0)
        now.is_leader, now.is_lost = role.is_leader, role.is_lost
        director.may_go.set()
        answer = await task
        assert (answer is slot, slot.is_closed) == (goes, not goes)
        if not goes:
            assert answer.reason == "not-leading"

    asyncio.run(check())


@pytest.mark.parametrize(
    ("refusal", "has"),
    [
        (Refusal(503, "shutting-down", "Later.", {"x": "y"}), True),
        (Refusal(503, "no-pods", "No."), False),
        (Refusal(503, "shutting-down", "Later.", {"retry-after": "77"}), True),
    ],
)
def test_those_who_waited_as_it_ended_are_told_when_to_come_again(refusal, has):
    async def check():
        director = Director(refusal)
        director.may_go.set()
        answer = await LeaderOnly(director, Role()).decide(Inbound({}))
        assert ("retry-after" in answer.headers) == has
        assert dict(answer.headers) | dict(refusal.headers) == dict(answer.headers)

    asyncio.run(check())
