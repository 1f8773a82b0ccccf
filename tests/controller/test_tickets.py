"""What a dispatched caller holds, and how it comes back."""

import contextlib
import gc
import math
import threading
import warnings

import anyio
import anyio.to_thread
import pytest

from flowgate import FlowControlConfig, FlowControlError, FlowController, Request
from flowgate.admission import LegacyAdmissionController
from flowgate.contracts import Released
from flowgate.locators import StaticPodLocator
from flowgate.policies import StaticUsageLimit
from flowgate.saturation import ConcurrencyDetector
from tests.support import POD_A, POD_B, POD_C, Callers, Recorder, assert_idle, lose_ticket, settle

pytestmark = pytest.mark.anyio


def slots(*observers: object, pods: int = 1, each: int = 1) -> FlowController:
    return FlowController(
        FlowControlConfig(default_ttl=math.inf),
        locator=StaticPodLocator([POD_A, POD_B][:pods]),
        detector=ConcurrencyDetector(each),
        observers=observers,
    )


@pytest.mark.parametrize(("error", "result"), [(None, "ok"), (LookupError, "dropped"), (KeyboardInterrupt, "ignored")])
@pytest.mark.parametrize("form", ["with", "async with", "admitted"])
async def test_a_ticket_is_released_by_its_block(form: str, error: type[BaseException] | None, result: str) -> None:
    """Leaving the block releases: "ok", "dropped" with an error, "ignored" with anything that is no Exception."""
    recorder = Recorder()
    async with slots(recorder) as controller:
        with contextlib.suppress(*(error,) if error else ()):
            if form == "with":
                with await controller.enqueue_and_wait(Request("a")) as ticket:
                    await anyio.sleep(0.5)
                    if error:
                        raise error
            elif form == "async with":
                async with await controller.enqueue_and_wait(Request("a")) as ticket:
                    await anyio.sleep(0.5)
                    if error:
                        raise error
            else:
                async with controller.admitted(Request("a")) as ticket:
                    await anyio.sleep(0.5)
                    if error:
                        raise error
        (released,) = recorder.of("released")
        assert (released.ticket, released.result, released.held, released.time) == (ticket, result, 0.5, 0.5)
        assert ticket.is_released
        assert_idle(controller)


async def test_a_cancelled_block_is_ignored() -> None:
    """A caller who hung up says nothing of the pod."""
    recorder = Recorder()
    async with slots(recorder) as controller:
        with anyio.move_on_after(1):
            async with controller.admitted(Request("a")):
                await anyio.sleep_forever()
        assert [event.result for event in recorder.of("released")] == ["ignored"]
        assert_idle(controller)


async def test_admitted_raises_what_enqueue_and_wait_raises() -> None:
    """A request that is not admitted does not enter the block."""
    async with slots(pods=0) as controller:
        with pytest.raises(FlowControlError):
            async with controller.admitted(Request("a", ttl=1)):
                pytest.fail("never entered")
        assert_idle(controller)


async def test_release_is_idempotent() -> None:
    """Only the first release counts: a slot comes back once, whatever the block and the caller do."""
    recorder = Recorder()
    async with slots(recorder, each=2) as controller:
        other = await controller.enqueue_and_wait(Request("a"))
        with await controller.enqueue_and_wait(Request("a")) as ticket:
            ticket.release("dropped")
            ticket.release("ok")
        assert controller.stats().in_flight == 1
        assert [event.result for event in recorder.of("released")] == ["dropped"]
        other.release()
        assert_idle(controller)


@pytest.mark.parametrize("result", ["", "OK", None, 1, [], float("nan")])
async def test_release_refuses_an_unknown_result(result: object) -> None:
    """A result that is none is a ValueError, and the slot stays held until a valid release."""
    async with slots() as controller:
        ticket = await controller.enqueue_and_wait(Request("a"))
        with pytest.raises(ValueError, match="result"):
            ticket.release(result)  # type: ignore[arg-type]
        assert controller.stats().in_flight == 1
        ticket.release("ignored")
        assert_idle(controller)


async def test_assign_moves_the_charge_and_wakes_who_waits_for_the_old_pod() -> None:
    """The caller's own scheduler may prefer another pod: the first one's slot is free at once."""
    async with slots(pods=2, each=2) as controller, anyio.create_task_group() as tasks:
        tickets = [await controller.enqueue_and_wait(Request("a")) for _ in range(3)]
        assert [ticket.candidates[0].name for ticket in tickets] == ["a", "b", "a"]
        tickets[0].assign(POD_B)  # b: 2, a: 1
        assert tickets[0].pod == POD_B
        assert controller.stats().overcommitted == 0
        fourth = await controller.enqueue_and_wait(Request("a"))
        assert fourth.pod == POD_A
        callers = Callers(tasks, controller)
        waiting = await callers.start(Request("a"))
        assert waiting.ended_at is None
        tickets[2].assign(POD_B)  # full, and allowed
        assert controller.stats().overcommitted == 1
        await settle()
        assert waiting.ticket is not None
        assert waiting.ticket.candidates == (POD_A,)
        # The overcommitted pod stays closed until it has room.
        for ticket in tickets[:2]:
            ticket.release()
        assert controller.stats().overcommitted == 1
        (await controller.enqueue_and_wait(Request("a"))).release()
        tickets[2].release()
        fourth.release()
        await callers.finish()
        assert_idle(controller)


async def test_assign_to_a_stranger_counts_as_overcommitted() -> None:
    """A pod that is no candidate is allowed; moving on, or back, takes the count back."""
    async with slots() as controller:
        ticket = await controller.enqueue_and_wait(Request("a"))
        ticket.assign(POD_C)
        assert (ticket.pod, controller.stats().overcommitted) == (POD_C, 1)
        assert ticket.candidates == (POD_A,)
        ticket.assign(POD_C)
        assert controller.stats().overcommitted == 1
        ticket.assign(POD_A)
        assert (ticket.pod, controller.stats().overcommitted) == (POD_A, 0)
        ticket.assign(POD_C)
        ticket.release()
        assert_idle(controller)


async def test_assign_refuses_what_is_no_pod_and_what_is_over() -> None:
    """Anything but a Pod is a TypeError; a released ticket is a RuntimeError."""
    async with slots() as controller:
        ticket = await controller.enqueue_and_wait(Request("a"))
        with pytest.raises(TypeError, match="Pod"):
            ticket.assign("10.0.0.1:8000")  # type: ignore[arg-type]
        assert ticket.pod == POD_A
        ticket.release()
        with pytest.raises(RuntimeError, match="released"):
            ticket.assign(POD_B)
        assert_idle(controller)


async def test_a_vanished_pod_keeps_its_charges_until_release() -> None:
    """A pod that goes and comes back is as full as before."""
    locator = StaticPodLocator([POD_A])
    async with (
        FlowController(locator=locator, detector=ConcurrencyDetector(1)) as controller,
        anyio.create_task_group() as tasks,
    ):
        callers = Callers(tasks, controller)
        holder = await callers.start(Request("a"))
        waiting = await callers.start(Request("a"))
        locator.set_pods([])
        await settle()
        locator.set_pods([POD_A])
        await settle()
        assert waiting.ended_at is None
        holder.release()
        await settle()
        assert waiting.ticket is not None
        await callers.finish()
        assert_idle(controller)


@pytest.mark.parametrize("from_thread", [False, True])
async def test_a_lost_ticket_gives_its_slot_back_and_warns(from_thread: bool) -> None:
    """A ticket that is collected unreleased, in any thread, warns with ResourceWarning, and the next caller goes."""
    results: list[str] = []

    class Results:  # keeps no ticket alive
        def on_released(self, event: Released) -> None:
            results.append(event.result)

    async with slots(Results()) as controller, anyio.create_task_group() as tasks:
        callers = Callers(tasks, controller)
        held = [await controller.enqueue_and_wait(Request("a"))]
        waiting = await callers.start(Request("a"))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            if from_thread:
                thread = threading.Thread(target=held.clear)
                thread.start()
                thread.join()
            else:
                held.clear()
            gc.collect()
        assert [warning.category for warning in caught] == [ResourceWarning]
        assert "never released" in str(caught[0].message)
        if from_thread:
            await anyio.to_thread.run_sync(lambda: None)
        await settle()
        assert waiting.ticket is not None
        assert waiting.ended_at == 0
        assert results == ["ignored"]
        await callers.finish()
        assert_idle(controller)


async def test_a_ticket_lost_on_an_idle_controller_is_counted_at_once() -> None:
    """Nobody needs to wait for the lost slot: the next arrival finds it."""
    async with slots() as controller:
        with pytest.warns(ResourceWarning, match="never released"):
            await lose_ticket(controller)
        await settle()
        assert_idle(controller)
        (await controller.enqueue_and_wait(Request("a"))).release()


async def test_an_arrival_just_after_a_ticket_was_lost_has_its_slot() -> None:
    """Not even a turn of the loop lies between the loss and an arrival: it waits for the pass, and goes."""
    async with slots() as controller:
        with pytest.warns(ResourceWarning, match="never released"):
            await lose_ticket(controller)
        (await controller.enqueue_and_wait(Request("a"))).release()
        assert anyio.current_time() == 0
        assert_idle(controller)


async def test_a_ticket_lost_after_the_close_is_counted() -> None:
    """Losing a ticket of a closed controller warns, and its slot is taken back too."""
    controller = slots()
    async with controller:
        held = [await controller.enqueue_and_wait(Request("a"))]
    with pytest.warns(ResourceWarning, match="never released"):
        held.clear()
    gc.collect()
    await settle()
    assert_idle(controller)


async def test_a_ticket_shows_what_it_is() -> None:
    """Its repr says whether it is held, where, and how long it waited."""
    async with slots() as controller:
        ticket = await controller.enqueue_and_wait(Request("a"))
        assert repr(ticket) == "<Ticket held, charged to 10.0.0.1:8000 after 0.000 s>"
        ticket.release()
        assert repr(ticket) == "<Ticket released, charged to 10.0.0.1:8000 after 0.000 s>"


async def test_open_candidates_leave_out_what_others_of_the_same_pass_have_taken() -> None:
    """Two go in one pass, each with both pods open; the first to resume takes the other's, and the second sees that."""
    locator = StaticPodLocator()
    async with FlowController(locator=locator, detector=ConcurrencyDetector(1)) as controller:
        async with anyio.create_task_group() as tasks:
            callers = Callers(tasks, controller)
            first, second = await callers.start(Request("a")), await callers.start(Request("b"))
            locator.set_pods([POD_A, POD_B, POD_C])
            await settle()
            one, two = first.ticket, second.ticket
            assert one is not None
            assert two is not None
            assert (one.pod, two.pod) == (POD_A, POD_B)
            assert set(two.candidates) == {POD_B, POD_C}
            assert one.open_candidates() == (POD_A, POD_C)
            one.assign(POD_C)
            assert two.open_candidates() == (POD_B,)
            assert one.open_candidates() == (POD_C, POD_A)
            first.release()
            await settle()
            assert set(two.open_candidates()) == {POD_B, POD_C}
            second.release()
        assert two.open_candidates() == (POD_B, POD_C)
        assert controller.stats().overcommitted == 0


async def test_open_candidates_know_the_bands_ceiling() -> None:
    """A pod that is too full for the band is not open to it, although it has room for others."""
    locator = StaticPodLocator([POD_A, POD_B])
    controller = FlowController(locator=locator, detector=ConcurrencyDetector(2), usage_limit=StaticUsageLimit(0.5))
    async with controller:
        ticket = await controller.enqueue_and_wait(Request("a"))
        other = await controller.enqueue_and_wait(Request("a"))
        assert (ticket.pod, other.pod) == (POD_A, POD_B)
        assert ticket.open_candidates() == (POD_A,)
        other.release()
        assert ticket.open_candidates() == (POD_A, POD_B)
        ticket.release()


async def test_a_ticket_without_a_pod_has_no_open_candidates() -> None:
    """The legacy controller's, where nothing was found; and with pods all are open to it, however full."""
    locator = StaticPodLocator()
    legacy = LegacyAdmissionController(locator, ConcurrencyDetector(1))
    with await legacy.admit(Request("a")) as ticket:
        assert ticket.open_candidates() == ()
    locator.set_pods([POD_A, POD_B])
    with await legacy.admit(Request("a")), await legacy.admit(Request("a")), await legacy.admit(Request("a")) as ticket:
        assert set(ticket.open_candidates()) == {POD_A, POD_B}
