"""Entering and leaving, threads, and the plug-ins' own lives."""

import gc
import math
import sys
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest
import trio

from flowgate import FlowControlConfig, FlowController, Pod, PodLoad, QueueOutcome, Request
from flowgate.locators import PollingPodLocator, StaticPodLocator
from flowgate.saturation import ConcurrencyDetector
from flowgate.waiters import in_trio
from tests.support import POD_A, CallDetector, Callers, assert_idle, is_trio, settle

pytestmark = pytest.mark.anyio


def one_slot(config: FlowControlConfig | None = None, **parts: object) -> FlowController:
    parts = {"locator": StaticPodLocator([POD_A]), "detector": ConcurrencyDetector(1), **parts}
    return FlowController(config, **parts)  # type: ignore[arg-type]


async def test_a_controller_is_entered_once() -> None:
    """Entering again, while it runs or afterwards, is a RuntimeError and disturbs nothing."""
    controller = one_slot()
    async with controller as entered:
        assert entered is controller
        with pytest.raises(RuntimeError, match="once"):
            await controller.__aenter__()
        (await controller.enqueue_and_wait(Request("a"))).release()
    with pytest.raises(RuntimeError, match="once"):
        await controller.__aenter__()


async def test_use_before_entering_is_an_error() -> None:
    """A controller that is not entered says so; it never queues what nobody would serve."""
    controller = one_slot()
    for use in (
        lambda: controller.enqueue_and_wait(Request("a")),
        lambda: controller.admitted(Request("a")).__aenter__(),
        controller.drain,
        controller.aclose,
    ):
        with pytest.raises(RuntimeError, match="not entered"):
            await use()
    calls: list[Callable[[], object]] = [
        controller.notify,
        controller.notify_threadsafe,
        lambda: controller.refresh(Request("a")),
        lambda: controller.reconfigure(FlowControlConfig()),
    ]
    for call in calls:
        with pytest.raises(RuntimeError, match="not entered"):
            call()
    assert_idle(controller)


async def test_leaving_before_entering_is_harmless() -> None:
    """Cleaning up what was never started does nothing."""
    await one_slot().__aexit__(None, None, None)


async def test_announcements_before_entering_are_heard() -> None:
    """Pods that appear between construction and entering are there from the first request on."""
    locator = StaticPodLocator()
    controller = one_slot(locator=locator)
    locator.set_pods([POD_A])
    async with controller:
        (await controller.enqueue_and_wait(Request("a"))).release()


async def test_other_threads_are_refused() -> None:
    """Everything but notify_threadsafe is a RuntimeError in another thread, and changes nothing."""
    async with one_slot() as controller:
        ticket = await controller.enqueue_and_wait(Request("a"))

        def enqueue() -> None:
            controller.enqueue_and_wait(Request("a")).send(None)

        def drain() -> None:
            controller.drain().send(None)

        def close() -> None:
            controller.aclose().send(None)

        calls: list[Callable[[], object]] = [
            enqueue,
            drain,
            close,
            controller.notify,
            controller.stats,
            lambda: controller.refresh(Request("a")),
            lambda: controller.reconfigure(FlowControlConfig()),
            lambda: ticket.assign(POD_A),
            ticket.release,
        ]
        for call in calls:
            with pytest.raises(RuntimeError, match="thread"):
                await anyio.to_thread.run_sync(call)
        assert not ticket.is_released
        assert controller.stats().in_flight == 1
        ticket.release()
        assert_idle(controller)


async def test_announcements_from_other_threads_are_refused() -> None:
    """A locator that announces in its own watch's thread is told so there, instead of racing the loop."""
    locator = StaticPodLocator()
    async with one_slot(locator=locator) as controller:
        with pytest.raises(RuntimeError, match="notify_threadsafe"):
            await anyio.to_thread.run_sync(locator.set_pods, [POD_A])
        controller.notify()
        (await controller.enqueue_and_wait(Request("a"))).release()


class Mute:
    """Could announce, and does not: only notify() helps."""

    def __init__(self) -> None:
        self.pods: Sequence[Pod] = ()

    def locate(self, metadata: Mapping[str, object]) -> Sequence[Pod]:
        return self.pods

    def subscribe(self, callback: object) -> Callable[[], None]:
        return lambda: None


@pytest.mark.parametrize("from_thread", [False, True])
async def test_notify_wakes_whoever_may_go(from_thread: bool) -> None:
    """notify() on the loop and notify_threadsafe() in a thread: all pods are looked at again, at once."""
    locator = Mute()
    config = FlowControlConfig(default_ttl=math.inf)
    async with one_slot(config, locator=locator) as controller, anyio.create_task_group() as tasks:
        callers = Callers(tasks, controller)
        waiting = await callers.start(Request("a"))
        await anyio.sleep(60)
        assert waiting.ended_at is None
        locator.pods = [POD_A]
        if from_thread:
            await anyio.to_thread.run_sync(controller.notify_threadsafe)
        else:
            controller.notify()
        await settle()
        assert waiting.ticket is not None
        assert waiting.ended_at == 60
        await callers.finish()


async def test_notify_threadsafe_after_the_end_does_nothing() -> None:
    """A watcher's thread may outlive the controller, and its loop."""
    controller = one_slot()

    async def live() -> None:
        async with controller:
            pass
        controller.notify_threadsafe()

    await live()
    await settle()

    other = one_slot()

    async def enter() -> None:
        async with other:
            pass

    thread = threading.Thread(target=anyio.run, args=(enter,), kwargs={"backend": "trio" if is_trio() else "asyncio"})
    thread.start()
    thread.join()
    other.notify_threadsafe()  # its loop is closed


class Living:
    """A locator and detector that is entered and left."""

    def __init__(self, log: list[str], name: str, fails: str = "") -> None:
        self.log = log
        self.name = name
        self.fails = fails

    async def __aenter__(self) -> "Living":
        if self.fails == "enter":
            raise LookupError(self.name)
        self.log.append(f"{self.name} entered")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await anyio.lowlevel.checkpoint()
        self.log.append(f"{self.name} left")
        if self.fails == "leave":
            raise LookupError(self.name)

    def locate(self, metadata: Mapping[str, object]) -> Sequence[Pod]:
        return [POD_A]

    def saturation(self, pod: Pod, load: PodLoad) -> float:
        return float(load.in_flight)


async def test_plug_ins_that_are_context_managers_are_entered_and_left() -> None:
    """Locator first, then detector; left in reverse, once the controller has closed."""
    log: list[str] = []
    async with one_slot(locator=Living(log, "locator"), detector=Living(log, "detector")) as controller:
        assert log == ["locator entered", "detector entered"]
        (await controller.enqueue_and_wait(Request("a"))).release()
    assert log[2:] == ["detector left", "locator left"]


async def test_a_plug_in_that_cannot_be_entered_fails_the_controller() -> None:
    """Its error comes out, what was entered is left, and the controller is closed."""
    log: list[str] = []
    controller = one_slot(locator=Living(log, "locator"), detector=Living(log, "detector", "enter"))
    with pytest.raises(LookupError, match="detector"):
        await controller.__aenter__()
    assert log == ["locator entered", "locator left"]
    with pytest.raises(Exception, match="clos"):
        await controller.enqueue_and_wait(Request("a"))


async def test_a_plug_in_that_fails_to_leave_is_heard() -> None:
    """An error at the end comes out, the other plug-in is left all the same, and nobody waits any more."""
    log: list[str] = []
    controller = one_slot(locator=Living(log, "locator"), detector=Living(log, "detector", "leave"))
    with pytest.raises(LookupError, match="detector"):
        async with controller:
            pass
    assert log[2:] == ["detector left", "locator left"]


async def test_a_polling_locator_lives_with_the_controller() -> None:
    """An async source is polled while the controller runs: a request waits for its first answer."""
    calls: list[float] = []

    async def fetch() -> Sequence[Pod]:
        calls.append(anyio.current_time())
        await anyio.sleep(0.5)
        return [POD_A] if len(calls) > 1 else []

    async with one_slot(locator=PollingPodLocator(fetch, 1.0)) as controller:
        with await controller.enqueue_and_wait(Request("a")) as ticket:
            assert ticket.queue_wait == 2.0
    began = len(calls)
    await anyio.sleep(10)
    assert len(calls) == began


@pytest.mark.parametrize(
    "parts",
    [
        {"config": 7},
        {"locator": object()},
        {"locator": StaticPodLocator},
        {"detector": object()},
        {"usage_limit": object()},
        {"observers": [object()]},
    ],
)
def test_a_part_without_its_contract_is_refused(parts: Mapping[str, object]) -> None:
    """What does not have the methods of its contract is a TypeError at construction, not a failure later."""
    given = {"locator": StaticPodLocator(), "detector": ConcurrencyDetector(1), **parts}
    with pytest.raises(TypeError):
        FlowController(given.pop("config", None), **given)  # type: ignore[arg-type]


async def test_a_closed_controller_lets_go_of_its_plug_ins_and_can_be_collected() -> None:
    """Nothing global holds a controller: once it is closed and dropped, it is gone."""
    locator = StaticPodLocator([POD_A])
    controller = one_slot(locator=locator, detector=CallDetector(lambda pod, load: 0.0))
    async with controller:
        (await controller.enqueue_and_wait(Request("a"))).release()
    gone = weakref.ref(controller)
    del controller
    await settle()
    gc.collect()
    assert gone() is None


async def test_two_controllers_share_a_loop_a_locator_and_a_detector() -> None:
    """Each counts its own tickets alone."""
    locator, detector = StaticPodLocator([POD_A]), ConcurrencyDetector(1)
    async with one_slot(locator=locator, detector=detector) as one, one_slot(locator=locator, detector=detector) as two:
        with await one.enqueue_and_wait(Request("a")), await two.enqueue_and_wait(Request("a")):
            assert (one.stats().in_flight, two.stats().in_flight) == (1, 1)
        assert one.stats().outcomes[QueueOutcome.DISPATCHED] == 1


async def test_a_trio_that_cannot_say_whether_it_runs_a_task_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """`in_trio_task` is younger than the oldest trio that anyio takes; on asyncio it was missed too, once imported."""
    monkeypatch.delattr(trio.lowlevel, "in_trio_task", raising=False)
    controller = FlowController(locator=StaticPodLocator([POD_A]), detector=ConcurrencyDetector(1))
    async with controller, controller.admitted(Request("a")) as ticket:
        assert ticket.pod == POD_A


async def test_where_nobody_imported_trio_it_is_not_running(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.delitem(sys.modules, "trio")
        assert not in_trio()
