"""Callers do what a test says, and a test sees what became of them."""

import anyio
import pytest

from flowgate import FlowController, QueueOutcome, Request, RequestEvicted
from flowgate.admission import LegacyAdmissionController
from flowgate.contracts import Released
from flowgate.saturation import ConcurrencyDetector
from flowgate.testing import Callers, PodPool, Recorder, assert_idle, until_blocked

pytestmark = pytest.mark.anyio


class Scene:
    """A controller over pods of one slot each."""

    def __init__(self, pods: int = 0) -> None:
        self.pods = PodPool(pods)
        self.recorder = Recorder()
        self.controller = FlowController(locator=self.pods, detector=ConcurrencyDetector(1), observers=[self.recorder])


async def test_a_caller_waits_holds_and_lets_go() -> None:
    scene = Scene()
    async with scene.controller, Callers(scene.controller) as callers:
        caller = await callers.start(Request("a"))
        assert (caller.is_waiting, caller.is_holding, caller.outcome, caller.ended_at) == (True, False, None, None)
        pod = scene.pods.add()
        assert (await caller.admitted()).pod == pod
        assert (caller.is_waiting, caller.is_holding, caller.outcome) == (False, True, QueueOutcome.DISPATCHED)
        caller.release("dropped")
        assert not caller.is_holding
        assert_idle(scene.controller)
    assert [event.result for event in scene.recorder.of(Released)] == ["dropped"]


async def test_a_caller_keeps_the_error_that_ended_its_wait() -> None:
    scene = Scene()
    async with scene.controller, Callers(scene.controller) as callers:
        caller = callers.begin(Request("a", ttl=2.5, request_id="r"))
        with pytest.raises(RequestEvicted, match="EVICTED_NO_PODS"):
            await caller.admitted()
        assert (caller.outcome, caller.ended_at) == (QueueOutcome.EVICTED_NO_PODS, 2.5)
        assert not caller.is_holding
        with pytest.raises(RuntimeError, match="no ticket to release"):
            caller.release()


async def test_a_cancelled_caller_says_so() -> None:
    scene = Scene()
    async with scene.controller, Callers(scene.controller) as callers:
        caller = await callers.start(Request("a"))
        caller.cancel()
        with pytest.raises(RuntimeError, match="was cancelled while it waited"):
            await caller.admitted()
        assert (caller.is_cancelled, caller.outcome) == (True, None)
        assert repr(caller) == "<Caller Request('a', priority=0, byte_size=0, ttl=None): cancelled>"
        assert_idle(scene.controller)


async def test_leaving_ends_whoever_waits_or_holds() -> None:
    scene = Scene(1)
    async with scene.controller:
        async with Callers(scene.controller) as callers:
            held = await callers.start(Request("a"))
            waiting = await callers.start(Request("b"))
        assert (held.outcome, held.is_cancelled, held.is_holding) == (QueueOutcome.DISPATCHED, True, False)
        assert (waiting.outcome, waiting.is_cancelled) == (None, True)
        assert_idle(scene.controller)
    assert {event.result for event in scene.recorder.of(Released)} == {"ignored"}


async def test_callers_ask_any_admission_controller() -> None:
    legacy = LegacyAdmissionController(PodPool(1), ConcurrencyDetector(1))
    async with Callers(legacy) as callers:
        assert (await callers.start(Request("a"))).outcome is QueueOutcome.DISPATCHED
        shed = await callers.start(Request("b", priority=-1))
        assert shed.outcome is QueueOutcome.REJECTED_SHED


async def test_finishing_lets_everybody_through() -> None:
    scene = Scene(2)
    async with scene.controller, Callers(scene.controller) as callers:
        for number in range(9):
            callers.begin(Request(f"flow-{number}"))
        await callers.finish()
        assert [caller.outcome for caller in callers.all] == [QueueOutcome.DISPATCHED] * 9
        assert_idle(scene.controller)


async def test_finishing_says_who_still_waits() -> None:
    scene = Scene()
    async with scene.controller, Callers(scene.controller) as callers:
        callers.begin(Request("a"))
        with pytest.raises(AssertionError, match=r"1 callers still wait, first of them <Caller Request\('a'.*waiting>"):
            await callers.finish()


async def test_idle_says_what_is_left() -> None:
    scene = Scene(1)
    async with scene.controller, Callers(scene.controller) as callers:
        await callers.start(Request("a", byte_size=5))
        await callers.start(Request("a", byte_size=7))
        with pytest.raises(AssertionError, match="not idle: queued_requests=1, queued_bytes=7, in_flight=1, lanes=1"):
            assert_idle(scene.controller)


async def test_a_failed_assertion_comes_out_as_it_is() -> None:
    scene = Scene()

    async def fail() -> None:
        async with scene.controller, Callers(scene.controller) as callers:
            await callers.start(Request("a"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()


async def test_callers_stop_when_their_test_is_cancelled() -> None:
    scene = Scene()
    async with scene.controller:
        with anyio.move_on_after(1) as scope:
            async with Callers(scene.controller) as callers:
                await callers.start(Request("a"))
                await anyio.sleep_forever()
        assert scope.cancelled_caught
        assert callers.all[0].is_cancelled
        assert_idle(scene.controller)


async def test_a_controller_that_breaks_is_not_overheard() -> None:
    class Broken:
        async def admit(self, request: object) -> object:
            raise LookupError("a bug")

    async def ask() -> None:
        async with Callers(Broken()) as callers:
            await callers.start(Request("a"))

    with pytest.raises(ExceptionGroup) as raised:
        await ask()
    assert raised.group_contains(LookupError, match="a bug")


async def test_callers_must_be_entered() -> None:
    with pytest.raises(RuntimeError, match="not entered"):
        Callers(Scene().controller).begin(Request("a"))


async def test_until_blocked_lets_a_long_chain_run_and_no_time_pass() -> None:
    links = 20
    events = [anyio.Event() for _ in range(links)]

    async def link(number: int) -> None:
        await events[number].wait()
        if number + 1 < links:
            events[number + 1].set()

    async with anyio.create_task_group() as tasks:
        for number in range(links):
            tasks.start_soon(link, number)
        events[0].set()
        await until_blocked()
        assert all(event.is_set() for event in events)
        assert anyio.current_time() == 0.0
