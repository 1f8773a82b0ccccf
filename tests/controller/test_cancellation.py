"""Every window in which a caller may be cancelled, each by name: no slot is lost, and none is given twice."""

import asyncio
import random
import types
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from flowgate import (
    FlowControlConfig,
    FlowControlError,
    FlowController,
    PriorityBandConfig,
    QueueOutcome,
    Request,
)
from flowgate.contracts import Dispatched, Enqueued
from flowgate.locators import StaticPodLocator
from flowgate.saturation import ConcurrencyDetector
from tests.support import (
    POD_A,
    POD_B,
    POD_C,
    CallDetector,
    Caller,
    Callers,
    Ledger,
    Recorder,
    assert_books,
    assert_idle,
    is_trio,
    settle,
)

pytestmark = pytest.mark.anyio

CANCELLED = QueueOutcome.EVICTED_CANCELLED


def one_slot(*observers: object, config: FlowControlConfig | None = None) -> FlowController:
    return FlowController(
        config, locator=StaticPodLocator([POD_A]), detector=ConcurrencyDetector(1), observers=observers
    )


class OnDispatch:
    """Calls back in the window after a grant was set and before its caller resumed."""

    def __init__(self) -> None:
        self.calls: dict[object, Callable[[], object]] = {}

    def on_dispatched(self, event: Dispatched) -> None:
        if event.waited:
            self.calls.pop(event.request, lambda: None)()


async def test_cancelled_while_waiting() -> None:
    """A caller that is cancelled in the queue leaves it at once, with its capacity, and never gets a slot."""
    recorder = Recorder()
    async with one_slot(recorder) as controller, anyio.create_task_group() as tasks:
        callers = Callers(tasks, controller)
        holder = await callers.start(Request("a", byte_size=1))
        gone = await callers.start(Request("a", byte_size=2))
        following = await callers.start(Request("a", byte_size=4))
        await anyio.sleep(1)
        gone.cancel()
        await settle(4)
        assert gone.is_cancelled
        assert anyio.current_time() == 1
        assert (controller.stats().queued_requests, controller.stats().queued_bytes) == (1, 4)
        (dropped,) = recorder.of("dropped")
        assert (dropped.request, dropped.outcome, dropped.queue_wait) == (gone.request, CANCELLED, 1)
        holder.release()
        await settle()
        assert following.ticket is not None
        assert following.ended_at == 1
        await callers.finish()
        assert controller.stats().outcomes[CANCELLED] == 1
        assert_books(controller, 3)
        assert_idle(controller)


async def test_cancelled_before_it_called() -> None:
    """A caller in a cancelled scope that would have to wait is withdrawn at once; one that need not wait is served."""
    async with one_slot() as controller:
        with anyio.CancelScope() as scope:
            scope.cancel()
            ticket = await controller.enqueue_and_wait(Request("a"))
        with anyio.CancelScope() as scope:
            scope.cancel()
            await controller.enqueue_and_wait(Request("a"))
        assert scope.cancelled_caught
        assert controller.stats().outcomes[CANCELLED] == 1
        ticket.release()
        assert_idle(controller)


async def test_cancelled_after_its_grant_was_set_and_before_it_resumed() -> None:
    """Its slot goes to the next at once; its outcome stays DISPATCHED, and its ticket is released as "ignored"."""
    recorder, window = Recorder(), OnDispatch()
    async with one_slot(window, recorder) as controller, anyio.create_task_group() as tasks:
        callers = Callers(tasks, controller)
        holder = await callers.start(Request("a"))
        gone = await callers.start(Request("a"))
        following = await callers.start(Request("a"))
        window.calls[gone.request] = gone.cancel
        await anyio.sleep(1)
        holder.release()
        await settle()
        assert gone.is_cancelled
        assert following.ended_at == 1
        assert following.ticket is not None
        assert not following.ticket.is_released
        assert not recorder.of("dropped")
        assert [(event.ticket.request, event.result) for event in recorder.of("released")] == [
            (holder.request, "ok"),
            (gone.request, "ignored"),
        ]
        await callers.finish()
        assert controller.stats().outcomes[QueueOutcome.DISPATCHED] == 3
        assert_books(controller, 3)
        assert_idle(controller)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_task_cancelled_after_its_grant_was_set_and_before_it_resumed(anyio_backend: str) -> None:
    """asyncio's own cancel() strikes in that window too: the caller sees CancelledError, the next gets the slot."""
    recorder, window = Recorder(), OnDispatch()
    async with one_slot(window, recorder) as controller:
        holder = await controller.enqueue_and_wait(Request("a"))
        request = Request("a")
        gone = asyncio.ensure_future(controller.enqueue_and_wait(request))
        following = asyncio.ensure_future(controller.enqueue_and_wait(Request("a")))
        await settle(4)
        window.calls[request] = gone.cancel
        holder.release()
        with pytest.raises(asyncio.CancelledError):
            await gone
        (await following).release()
        assert [event.result for event in recorder.of("released")] == ["ok", "ignored", "ok"]
        assert controller.stats().outcomes[QueueOutcome.DISPATCHED] == 3
        assert_idle(controller)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_task_cancelled_before_the_pass_that_grants_it(anyio_backend: str) -> None:
    """A caller that can no longer hear of its grant does not hold it: the next has the slot in the same instant."""
    recorder = Recorder()
    async with one_slot(recorder) as controller:
        holder = await controller.enqueue_and_wait(Request("a"))
        gone = asyncio.ensure_future(controller.enqueue_and_wait(Request("a")))
        following = asyncio.ensure_future(controller.enqueue_and_wait(Request("a")))
        await settle(4)
        holder.release()  # the pass comes first in the next turn of the loop,
        gone.cancel()  # and this caller's end after it
        with pytest.raises(asyncio.CancelledError):
            await gone
        (await following).release()
        assert [event.result for event in recorder.of("released")] == ["ok", "ignored", "ok"]
        assert_books(controller, 3)
        assert_idle(controller)


@pytest.mark.parametrize("cancel_first", [False, True])
async def test_cancelled_in_the_same_turn_before_the_pass(cancel_first: bool) -> None:
    """A release and a cancellation in one turn, in either order: the one who still waits gets the slot, at once."""
    async with one_slot() as controller, anyio.create_task_group() as tasks:
        callers = Callers(tasks, controller)
        holder = await callers.start(Request("a"))
        gone = await callers.start(Request("a"))
        following = await callers.start(Request("a"))
        await anyio.sleep(1)
        for act in (gone.cancel, holder.release) if cancel_first else (holder.release, gone.cancel):
            act()
        await settle()
        assert gone.is_cancelled
        assert following.ticket is not None
        assert following.ended_at == 1
        await callers.finish()
        assert_books(controller, 3)
        assert_idle(controller)


@pytest.mark.parametrize("kind", [anyio.move_on_after, anyio.fail_after])
@pytest.mark.parametrize("released_at", [0.5, 1.0, 1.5])
async def test_cancelled_by_timeout_around_the_instant_of_the_grant(
    kind: Callable[[float], Any], released_at: float
) -> None:
    """A timeout before, with or after the grant: the caller has a ticket or its timeout, and the slot lives on."""
    async with one_slot() as controller:
        for round_ in range(10):
            began = anyio.current_time()
            holder = await controller.enqueue_and_wait(Request("a"))
            got: list[object] = []

            async def wait(got: list[object] = got) -> None:
                try:
                    with kind(1.0), await controller.enqueue_and_wait(Request("a")):
                        got.append("ticket")
                        await anyio.lowlevel.checkpoint()
                except TimeoutError:
                    pass
                got.append(anyio.current_time())

            async def release(at: float = began + released_at, holder: Any = holder) -> None:
                await anyio.sleep_until(at)
                holder.release()

            async with anyio.create_task_group() as tasks:
                for start in (wait, release) if round_ % 2 else (release, wait):
                    tasks.start_soon(start)
            left = began + min(released_at, 1.0)
            assert got in ([left], ["ticket", left])
            if released_at != 1.0:
                assert got[0] == ("ticket" if released_at == 0.5 else left)
            assert_idle(controller)
            assert anyio.current_time() == began + released_at
        assert_books(controller, 20)


async def test_its_ttl_ends_at_the_instant_of_the_grant() -> None:
    """Every step evicts what is due before it dispatches: a deadline at the same instant wins, and the next goes."""
    async with one_slot() as controller, anyio.create_task_group() as tasks:
        callers = Callers(tasks, controller)
        holder = await callers.start(Request("a"))
        late = await callers.start(Request("a", ttl=1.0))
        following = await callers.start(Request("a"))
        await anyio.sleep_until(1.0)
        if holder.ticket is not None:
            holder.release()
        await settle()
        assert late.outcome is QueueOutcome.EVICTED_TTL
        assert following.ended_at == 1.0
        assert following.ticket is not None
        await callers.finish()
        assert_idle(controller)


@types.coroutine
def _close_on_resume(coroutine: Coroutine[Any, Any, object]) -> Generator[Any, Any, None]:
    yield coroutine.send(None)
    coroutine.close()


async def test_coroutine_closed_while_waiting() -> None:
    """A coroutine that is closed in the queue, never to be resumed, is withdrawn as if it were cancelled."""
    async with one_slot() as controller:
        holder = await controller.enqueue_and_wait(Request("a"))

        async def abandon() -> None:
            waiting = controller.enqueue_and_wait(Request("a"))
            waiting.send(None)
            assert controller.stats().queued_requests == 1
            waiting.close()

        await abandon()
        assert controller.stats().queued_requests == 0
        assert controller.stats().outcomes[CANCELLED] == 1
        holder.release()
        (await controller.enqueue_and_wait(Request("a"))).release()
        assert_idle(controller)


async def test_coroutine_closed_after_its_grant_was_set() -> None:
    """A coroutine that is closed instead of being resumed gives its grant back: all who wait after it go on."""
    recorder = Recorder()
    async with one_slot(recorder) as controller, anyio.create_task_group() as tasks:
        callers = Callers(tasks, controller)
        holder = await callers.start(Request("a"))
        tasks.start_soon(_awaiting, _close_on_resume, controller.enqueue_and_wait(Request("closed")))
        await settle(4)
        following = [await callers.start(Request("a")) for _ in range(3)]
        holder.release()
        await settle()
        assert following[0].ticket is not None
        await callers.finish()
        assert all(caller.ticket is not None for caller in following)
        assert [event.result for event in recorder.of("released")] == ["ok", "ignored", "ok", "ok", "ok"]
        assert_books(controller, 5)
        assert_idle(controller)


async def _awaiting(function: Callable[..., Awaitable[None]], *args: Any) -> None:
    await function(*args)


async def test_cancelled_at_the_checkpoint_of_yield_every() -> None:
    """A caller that is cancelled where it only gave the loop a turn has its slot taken back, as "ignored"."""
    recorder = Recorder()
    async with one_slot(recorder, config=FlowControlConfig(yield_every=2)) as controller:
        (await controller.enqueue_and_wait(Request("a"))).release()
        with anyio.CancelScope() as scope:
            scope.cancel()
            await controller.enqueue_and_wait(Request("a"))
        assert scope.cancelled_caught
        assert [event.result for event in recorder.of("released")] == ["ok", "ignored"]
        assert controller.stats().outcomes[QueueOutcome.DISPATCHED] == 2
        assert_idle(controller)


async def test_cancelled_from_inside_an_observer() -> None:
    """An observer may cancel a caller, the one it hears of or another: each leaves once, and the slot goes on."""

    class Canceller:
        def __init__(self) -> None:
            self.victims: list[Caller] = []

        def on_enqueued(self, event: Enqueued) -> None:
            for victim in self.victims:
                victim.cancel()

    canceller = Canceller()
    async with one_slot(canceller) as controller, anyio.create_task_group() as tasks:
        callers = Callers(tasks, controller)
        holder = await callers.start(Request("a"))
        first, second, third = [callers.begin(Request("a")) for _ in range(3)]
        canceller.victims = [first, second]
        await settle()
        assert first.is_cancelled
        assert second.is_cancelled
        assert controller.stats().queued_requests == 1
        assert controller.stats().outcomes[CANCELLED] == 2
        holder.release()
        await settle()
        assert third.ticket is not None
        await callers.finish()
        assert_books(controller, 4)
        assert_idle(controller)


async def test_cancelled_from_inside_a_plug_in() -> None:
    """A plug-in may cancel the very caller that a pass is about to serve: one outcome, and the next has the slot."""
    state: dict[str, Any] = {"full": True, "victim": None}

    def answer(pod: object, load: Any) -> float:
        if state["victim"] is not None and not state["full"]:
            state.pop("victim").cancel()
            state["victim"] = None
        return 1.0 if state["full"] else float(load.in_flight)

    detector, recorder = CallDetector(answer), Recorder()
    async with (
        FlowController(locator=StaticPodLocator([POD_A]), detector=detector, observers=[recorder]) as controller,
        anyio.create_task_group() as tasks,
    ):
        callers = Callers(tasks, controller)
        gone = await callers.start(Request("a"))
        following = await callers.start(Request("a"))
        state.update(full=False, victim=gone)
        detector.announce()
        await settle()
        assert gone.is_cancelled
        assert following.ticket is not None
        await callers.finish()
        assert_books(controller, 2)
        assert_idle(controller)
        ended = [event.request for name, event in recorder.events if name in ("dispatched", "dropped")]
        assert sorted(map(id, ended)) == sorted(map(id, (gone.request, following.request)))


@pytest.mark.parametrize("cancels", [False, True])
async def test_callers_of_one_pass_resume_in_the_order_of_dispatch(cancels: bool) -> None:
    """However the loop deals its batches, nobody overtakes: callers resume as they were dispatched, every time.

    That holds too when all of them are cancelled between their grants and their resumption.
    """
    rng = random.Random(1)
    window = OnDispatch()
    locator = StaticPodLocator()
    async with FlowController(locator=locator, detector=ConcurrencyDetector(12), observers=[window]) as controller:
        for _ in range(150):
            resumed: list[int] = []

            async def wait(number: int, request: Request, resumed: list[int] = resumed) -> None:
                with await controller.enqueue_and_wait(request):
                    resumed.append(number)
                    await anyio.lowlevel.checkpoint()

            requests = [Request(f"flow-{number % 5}") for number in range(12)]
            async with anyio.create_task_group() as tasks:
                for number, request in enumerate(requests):
                    tasks.start_soon(wait, number, request)
                    await settle(2)
                if cancels:
                    window.calls[rng.choice(requests)] = tasks.cancel_scope.cancel
                locator.set_pods([POD_A])
                await settle(30)
            assert resumed == list(range(12))
            locator.set_pods([])
        assert_idle(controller)


@pytest.mark.parametrize("seed", range(3))
async def test_a_storm_of_cancellations_and_timeouts_loses_no_slot(seed: int) -> None:
    """Thousands of callers are cancelled and timed out at random, while pods come and go: not one slot leaks."""
    rng = random.Random(seed)
    slots = 3
    pods = [POD_A, POD_B, POD_C]
    locator, ledger = StaticPodLocator(pods), Ledger()
    config = FlowControlConfig(
        bands=[PriorityBandConfig(priority, max_requests=200) for priority in range(3)],
        max_requests=400,
        default_ttl=0.5,
        no_pods_ttl=0.25,
        max_dispatch_batch=2,
        yield_every=3,
    )
    submitted = 0
    seen: Counter[QueueOutcome] = Counter()

    async def call(controller: FlowController, task: int) -> None:
        nonlocal submitted
        for _ in range(10):
            request = Request(
                f"flow-{rng.randrange(6)}",
                rng.randrange(3),
                rng.randrange(100),
                ttl=rng.choice([None, None, rng.randrange(1, 8) / 64]),
            )
            with anyio.move_on_after(rng.randrange(40) / 64):
                submitted += 1
                try:
                    ticket = await controller.enqueue_and_wait(request)
                except FlowControlError as error:
                    seen[error.outcome] += 1
                else:
                    with ticket:
                        if rng.random() < 0.2:
                            ticket.assign(rng.choice(pods))
                        await anyio.sleep(rng.randrange(5) / 64)
            await anyio.sleep(rng.randrange(3) / 64)

    async def change(scopes: list[anyio.CancelScope]) -> None:
        for _ in range(60):
            await anyio.sleep(1 / 64)
            locator.set_pods(rng.sample(pods, rng.randrange(4)))
            for scope in rng.sample(scopes, 2):
                scope.cancel()
        locator.set_pods(pods)

    async with FlowController(
        config, locator=locator, detector=ConcurrencyDetector(slots), observers=[ledger]
    ) as controller:
        async with anyio.create_task_group() as tasks:
            scopes = [anyio.CancelScope() for _ in range(400)]

            async def cancellable(task: int) -> None:
                with scopes[task]:
                    await call(controller, task)

            for task in range(400):
                tasks.start_soon(cancellable, task)
            tasks.start_soon(change, scopes)
        assert submitted > 2_000
        await settle(8)
        assert_books(controller, submitted)
        assert_idle(controller)
        assert ledger.waiting == 0
        assert not any(ledger.load.values())
        assert {outcome: count for outcome, count in controller.stats().outcomes.items() if count} == ledger.outcomes
        assert seen <= ledger.outcomes  # some were cancelled before they could hear of theirs
        assert ledger.outcomes[CANCELLED] > 50
        assert ledger.outcomes[QueueOutcome.DISPATCHED] > 50
        # Every slot is still there, and not one more.
        tickets = [await controller.enqueue_and_wait(Request("after", 2)) for _ in range(3 * slots)]
        assert sorted(ticket.candidates[0].name for ticket in tickets) == sorted("abc" * slots)
        with anyio.move_on_after(0.125) as scope:
            await controller.enqueue_and_wait(Request("after", 2))
        assert scope.cancelled_caught
        for ticket in tickets:
            ticket.release()


async def test_on_trio_a_granted_caller_keeps_its_ticket() -> None:
    """A cancellation between grant and resumption is delivered at the caller's next checkpoint: its `with` releases."""
    window = OnDispatch()
    seen: list[str] = []
    async with one_slot(window) as controller:
        holder = await controller.enqueue_and_wait(Request("a"))
        request = Request("a")
        scope = anyio.CancelScope()
        window.calls[request] = scope.cancel

        async def wait() -> None:
            with scope, await controller.enqueue_and_wait(request):
                seen.append("resumed")
                await anyio.lowlevel.checkpoint()
                seen.append("too far")

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait)
            await settle(4)
            holder.release()
            await settle()
        assert scope.cancelled_caught
        if is_trio():
            assert seen == ["resumed"]
        assert "too far" not in seen
        assert_idle(controller)
