"""Closing: what waits hears of it, what is out may still come back, and nothing hangs."""

import anyio
import anyio.lowlevel
import pytest

from flowgate import FlowControlConfig, FlowControlError, FlowController, QueueOutcome, Request, Ticket
from flowgate.locators import StaticPodLocator
from flowgate.saturation import ConcurrencyDetector
from tests.support import POD_A, Caller, Callers, Recorder, assert_books, assert_idle, settle

pytestmark = pytest.mark.anyio

SHUTDOWN = QueueOutcome.EVICTED_SHUTDOWN


def one_slot(*observers: object) -> FlowController:
    config = FlowControlConfig(default_ttl=100)
    return FlowController(
        config, locator=StaticPodLocator([POD_A]), detector=ConcurrencyDetector(1), observers=observers
    )


async def crowd(callers: Callers) -> list[Caller]:
    """One caller holds the only slot, two wait."""
    return [await callers.start(Request("a")) for _ in range(3)]


async def test_leaving_the_context_evicts_what_waits() -> None:
    """Nobody is left waiting at a controller that is gone; a live ticket is not waited for."""
    controller = one_slot()
    async with anyio.create_task_group() as tasks:
        callers = Callers(tasks, controller)
        async with controller:
            holder, *waiting = await crowd(callers)
            await anyio.sleep(1)
        assert controller.stats().outcomes[SHUTDOWN] == 2
        assert controller.stats().in_flight == 1
        await settle()
        assert [(caller.outcome, caller.ended_at) for caller in waiting] == [(SHUTDOWN, 1)] * 2
        holder.release()
        assert_idle(controller)
        assert_books(controller, 3)


async def test_leaving_the_context_with_an_error_raises_that_error() -> None:
    """What the body raises comes out as it is, in no group; those who wait are evicted all the same."""
    controller = one_slot()
    async with anyio.create_task_group() as tasks:
        callers = Callers(tasks, controller)

        async def live() -> None:
            async with controller:
                await crowd(callers)
                raise LookupError("the body's own")

        with pytest.raises(LookupError, match="the body's own"):
            await live()
        await callers.finish()
        assert controller.stats().outcomes[SHUTDOWN] == 2


async def test_leaving_the_context_by_cancellation() -> None:
    """A cancelled body closes the controller too: every caller has its outcome."""
    controller = one_slot()
    async with anyio.create_task_group() as tasks:
        callers = Callers(tasks, controller)
        with anyio.move_on_after(1) as scope:
            async with controller:
                await crowd(callers)
                await anyio.sleep_forever()
        assert scope.cancelled_caught
        await callers.finish()
        assert_books(controller, 3)
        assert_idle(controller)


async def test_aclose_may_be_called_again() -> None:
    """Closing twice, or closing before the context is left, is the same as once."""
    async with one_slot() as controller, anyio.create_task_group() as tasks:
        callers = Callers(tasks, controller)
        await crowd(callers)
        await controller.aclose()
        await controller.aclose()
        await controller.drain()
        await callers.finish()
        assert controller.stats().outcomes[SHUTDOWN] == 2


async def test_tickets_are_released_after_the_close() -> None:
    """Slots of live tickets come back whenever their holders release them, and observers hear of it."""
    recorder = Recorder()
    async with one_slot(recorder) as controller:
        ticket = await controller.enqueue_and_wait(Request("a"))
    assert controller.stats().in_flight == 1
    ticket.release()
    ticket.release()
    assert recorder.names() == ["pods_changed", "dispatched", "released"]
    assert_idle(controller)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_tickets_are_released_after_the_loop_is_gone(backend: str) -> None:
    """A ticket that outlives its event loop is released without an error, and held for no negative time."""
    recorder = Recorder()
    controller = one_slot(recorder)

    async def take() -> Ticket:
        async with controller:
            return await controller.enqueue_and_wait(Request("a"))

    ticket = anyio.run(take, backend=backend)
    ticket.release()
    assert_idle(controller)
    assert recorder.of("released")[0].held >= 0


async def test_drain_serves_what_waits_and_refuses_what_comes() -> None:
    """While it drains, those who wait are dispatched in turn; new requests are rejected; then it is closed."""
    async with one_slot() as controller, anyio.create_task_group() as tasks:
        callers = Callers(tasks, controller)
        holder, second, third = await crowd(callers)
        drained: list[float] = []

        async def drain() -> None:
            await controller.drain()
            drained.append(anyio.current_time())

        tasks.start_soon(drain)
        await settle(4)
        with pytest.raises(FlowControlError) as caught:
            await controller.enqueue_and_wait(Request("a"))
        assert caught.value.outcome is QueueOutcome.REJECTED_SHUTDOWN
        await anyio.sleep_until(1)
        holder.release()
        await settle()
        assert second.ended_at == 1
        assert not drained
        await anyio.sleep_until(2)
        second.release()
        await settle()
        assert third.ended_at == 2
        # Nobody waits any more; the ticket that is still out is not waited for.
        assert drained == [2]
        await callers.finish()
        assert controller.stats().outcomes[QueueOutcome.DISPATCHED] == 3
        assert_books(controller, 4)
        assert_idle(controller)


async def test_drain_with_nothing_waiting_returns_at_once() -> None:
    """An idle controller drains without a turn of the loop."""
    async with one_slot() as controller:
        await controller.drain()
        assert anyio.current_time() == 0
        with pytest.raises(FlowControlError):
            await controller.enqueue_and_wait(Request("a"))


@pytest.mark.parametrize("seconds", [0, 1.5])
async def test_drain_evicts_what_still_waits_after_its_timeout(seconds: float) -> None:
    """A drain that takes too long is a close at exactly that time, and no error."""
    async with one_slot() as controller, anyio.create_task_group() as tasks:
        callers = Callers(tasks, controller)
        _, *waiting = await crowd(callers)
        await controller.drain(seconds)
        assert anyio.current_time() == seconds
        assert controller.stats().queued_requests == 0
        await callers.finish()
        assert [caller.outcome for caller in waiting] == [SHUTDOWN] * 2
        assert_books(controller, 3)


async def test_a_cancelled_drain_is_a_close() -> None:
    """Whoever waits has its outcome before the cancelled drain returns."""
    async with one_slot() as controller, anyio.create_task_group() as tasks:
        callers = Callers(tasks, controller)
        await crowd(callers)
        with anyio.move_on_after(1) as scope:
            await controller.drain()
        assert scope.cancelled_caught
        assert controller.stats().outcomes[SHUTDOWN] == 2
        assert controller.stats().queued_requests == 0
        await callers.finish()
        assert_books(controller, 3)


async def test_drain_ends_when_the_last_one_expires_or_hangs_up() -> None:
    """Any way out of the queue counts for a drain, not dispatch alone."""
    async with one_slot() as controller, anyio.create_task_group() as tasks:
        callers = Callers(tasks, controller)
        await callers.start(Request("a"))
        await callers.start(Request("a", ttl=1))
        quitter = await callers.start(Request("a"))
        tasks.start_soon(_at, 2.0, quitter.cancel)
        await controller.drain(50)
        assert anyio.current_time() == 2
        await callers.finish()
        assert_books(controller, 3)


async def _at(time: float, call: object) -> None:
    await anyio.sleep_until(time)
    call()  # type: ignore[operator]


async def test_two_drains_and_a_close_end_together() -> None:
    """Several who shut down at once all return, when the first of them is done."""
    async with one_slot() as controller, anyio.create_task_group() as tasks:
        callers = Callers(tasks, controller)
        await crowd(callers)
        ended: list[float] = []

        async def drain(seconds: float | None) -> None:
            await controller.drain(seconds)
            ended.append(anyio.current_time())

        tasks.start_soon(drain, None)
        tasks.start_soon(drain, 5.0)
        await anyio.sleep(1)
        await controller.aclose()
        await settle()
        assert ended == [1, 1]
        await callers.finish()


@pytest.mark.parametrize("seconds", [-1, float("nan")])
async def test_drain_refuses_a_timeout_that_is_none(seconds: float) -> None:
    """A negative or NaN timeout is an error, and the controller goes on."""
    async with one_slot() as controller:
        with pytest.raises(ValueError, match="timeout"):
            await controller.drain(seconds)
        (await controller.enqueue_and_wait(Request("a"))).release()


async def test_a_submission_that_races_the_close_has_an_outcome() -> None:
    """Submitted just before, with or just after the close, with no TTL at all: nobody hangs."""
    for delay in range(6):
        async with anyio.create_task_group() as tasks:
            async with one_slot() as controller:
                callers = Callers(tasks, controller)
                for _ in range(6):
                    callers.begin(Request("a"))
                await settle(delay)
                await controller.aclose()
            await callers.finish()
            assert_books(controller, 6)
            assert_idle(controller)
