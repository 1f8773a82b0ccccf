"""What observers hear, when, and what they may do."""

import logging
from collections.abc import Callable
from typing import Any

import anyio
import pytest

from flowgate import FlowControlConfig, FlowControlError, FlowController, Pod, PodLoad, QueueOutcome, Request, Ticket
from flowgate.contracts import Observer
from flowgate.locators import StaticPodLocator
from flowgate.saturation import ConcurrencyDetector
from tests.support import (
    POD_A,
    CallDetector,
    Callers,
    Ledger,
    Recorder,
    assert_books,
    assert_idle,
    settle,
)

pytestmark = pytest.mark.anyio


def one_slot(*observers: object, locator: StaticPodLocator | None = None) -> FlowController:
    return FlowController(
        locator=locator or StaticPodLocator([POD_A]), detector=ConcurrencyDetector(1), observers=observers
    )


async def test_every_event_is_told_with_its_facts() -> None:
    """Each event comes once, in order, with the time and the numbers of its step."""
    recorder = Recorder()
    async with one_slot(recorder) as controller, anyio.create_task_group() as tasks:
        callers = Callers(tasks, controller)
        await anyio.sleep(1)
        holder = await callers.start(Request("a", 2, 10))
        await anyio.sleep(1)
        waiting = await callers.start(Request("b", 1, 20))
        await callers.start(Request("c", 0, 30, ttl=1))
        await anyio.sleep(2)
        holder.release()
        await settle()
        waiting.release()
        await settle()
    assert recorder.names() == [
        "pods_changed", "dispatched", "enqueued", "enqueued", "dropped", "released", "dispatched", "pass", "released",
    ]  # fmt: skip
    changed, went, b, c, dropped, released, later, ended, _ = [event for _, event in recorder.events]
    assert (changed.time, changed.pods, changed.waiting) == (1, (POD_A,), 0)
    assert (went.time, went.request, went.byte_size, went.queue_wait, went.waited) == (1, holder.request, 10, 0, False)
    assert went.ticket is holder.ticket
    assert (b.time, b.item.request, b.item.enqueue_time, b.has_pods) == (2, waiting.request, 2, True)
    assert (c.item.byte_size, c.item.effective_ttl, c.item.deadline) == (30, 1, 3)
    assert (dropped.time, dropped.request, dropped.queue_wait) == (3, c.item.request, 1)
    assert (dropped.outcome, dropped.cause) == (QueueOutcome.EVICTED_TTL, None)
    assert "1.000 s" in dropped.message
    assert (released.time, released.ticket, released.result, released.held) == (4, holder.ticket, "ok", 3)
    assert (later.time, later.queue_wait, later.waited, later.flow_key.id) == (4, 2, True, "b")
    assert (ended.time, ended.dispatched, ended.is_complete) == (4, 1, True)
    assert 0 < ended.seconds < 1, "a pass is measured in real time, whatever the loop's clock says"


async def test_rejections_are_told() -> None:
    """A request that was never queued is told of as dropped, with no wait."""
    recorder = Recorder()
    async with one_slot(recorder) as controller:
        await controller.aclose()
        with pytest.raises(FlowControlError):
            await controller.enqueue_and_wait(Request("a"))
    (dropped,) = recorder.of("dropped")
    assert (dropped.outcome, dropped.queue_wait, dropped.flow_key.id) == (QueueOutcome.REJECTED_SHUTDOWN, 0, "a")


async def test_a_change_of_pods_is_told_with_who_waits_for_it() -> None:
    """The autoscaler's signal: a lane's pods went from none to one, and so many wait there."""
    recorder, locator = Recorder(), StaticPodLocator()
    async with one_slot(recorder, locator=locator) as controller, anyio.create_task_group() as tasks:
        callers = Callers(tasks, controller)
        for _ in range(3):
            await callers.start(Request("a"))
        assert [event.has_pods for event in recorder.of("enqueued")] == [False] * 3
        locator.set_pods([POD_A])
        await settle()
        (changed,) = recorder.of("pods_changed")
        assert (changed.pods, changed.waiting) == ((POD_A,), 3)
        await callers.finish()


async def test_an_observer_hears_only_what_it_has_methods_for() -> None:
    """Plain objects with one method, and subclasses of Observer that override one, serve alike."""
    heard: list[str] = []

    class Plain:
        def on_released(self, event: object) -> None:
            heard.append("plain released")

    class Derived(Observer):
        def on_dispatched(self, event: object) -> None:
            heard.append("derived dispatched")

    async with one_slot(Plain(), Derived(), Observer()) as controller:
        (await controller.enqueue_and_wait(Request("a"))).release()
    assert heard == ["derived dispatched", "plain released"]


async def test_observers_are_told_in_the_order_given() -> None:
    """Of one event all hear, in the order of construction, before anybody hears of the next."""
    heard: list[str] = []

    class Named:
        def __init__(self, name: str) -> None:
            self.name = name

        def on_dispatched(self, event: object) -> None:
            heard.append(f"{self.name} dispatched")

        def on_released(self, event: object) -> None:
            heard.append(f"{self.name} released")

    async with one_slot(Named("first"), Named("second")) as controller:
        (await controller.enqueue_and_wait(Request("a"))).release()
    assert heard == ["first dispatched", "second dispatched", "first released", "second released"]


async def test_an_observer_that_raises_disturbs_nobody(caplog: pytest.LogCaptureFixture) -> None:
    """It is logged once, counted each time and told to the others; every request goes as it would."""

    class Bad:
        name = "bad observer"

        def on_dispatched(self, event: object) -> None:
            raise LookupError("dispatched")

        def on_enqueued(self, event: object) -> None:
            raise LookupError("enqueued")

        def on_plugin_error(self, event: object) -> None:
            raise LookupError("plugin error")

    recorder, ledger = Recorder(), Ledger()
    async with one_slot(Bad(), recorder, ledger) as controller, anyio.create_task_group() as tasks:
        callers = Callers(tasks, controller)
        for _ in range(4):
            await callers.start(Request("a"))
        await callers.finish()
        assert ledger.outcomes == {QueueOutcome.DISPATCHED: 4}
        assert controller.stats().plugin_failures["observer", "bad observer"] >= 7
        assert len(recorder.of("plugin_error")) == 7
        assert {(event.kind, event.name) for event in recorder.of("plugin_error")} == {("observer", "bad observer")}
        assert_books(controller, 4)
        assert_idle(controller)
    assert 1 <= len([record for record in caplog.records if "bad observer" in record.message]) <= 2


class Calling:
    """An observer that calls back, once for each kind of event."""

    def __init__(self, **calls: Callable[[Any], object]) -> None:
        self._calls = calls

    def _call(self, name: str, event: object) -> None:
        call = self._calls.pop(name, None)
        if call is not None:
            call(event)

    def on_enqueued(self, event: object) -> None:
        self._call("enqueued", event)

    def on_dispatched(self, event: object) -> None:
        self._call("dispatched", event)

    def on_dropped(self, event: object) -> None:
        self._call("dropped", event)

    def on_released(self, event: object) -> None:
        self._call("released", event)

    def on_pass(self, event: object) -> None:
        self._call("pass", event)


async def test_an_observer_may_release_a_ticket() -> None:
    """A slot that comes back while an arrival is told of goes to that arrival, at the same instant."""
    tickets: list[Any] = []
    calling = Calling(enqueued=lambda event: tickets[0].release())
    recorder = Recorder()
    async with one_slot(calling, recorder) as controller:
        tickets.append(await controller.enqueue_and_wait(Request("a")))
        with await controller.enqueue_and_wait(Request("b")) as ticket:
            assert ticket.queue_wait == 0
        assert_idle(controller)
    assert recorder.names() == [
        "pods_changed", "dispatched", "enqueued", "released", "dispatched", "pass", "released",
    ]  # fmt: skip


async def test_an_observer_may_steer_the_controller() -> None:
    """notify, refresh, reconfigure, assign and stats from inside any event are done, and all books stay right."""
    locator = StaticPodLocator([POD_A])
    steered: list[str] = []
    controller: FlowController

    def steer(event: Any) -> None:
        steered.append(type(event).__name__)
        controller.notify()
        controller.refresh(Request("a"))
        controller.reconfigure(FlowControlConfig(default_ttl=5))
        assert controller.stats().in_flight <= 1

    def reassign(event: Any) -> None:
        steer(event)
        event.ticket.assign(POD_A)

    calling = Calling(enqueued=steer, dispatched=reassign, dropped=steer, released=steer, **{"pass": steer})
    ledger = Ledger()
    controller = one_slot(calling, ledger, locator=locator)
    async with controller, anyio.create_task_group() as tasks:
        callers = Callers(tasks, controller)
        await callers.start(Request("a"))
        await callers.start(Request("a"))
        await callers.start(Request("a", ttl=1))
        await anyio.sleep(2)
        await callers.finish()
        assert sorted(steered) == ["Dispatched", "Dropped", "Enqueued", "PassEnded", "Released"]
        assert ledger.outcomes == {QueueOutcome.DISPATCHED: 2, QueueOutcome.EVICTED_TTL: 1}
        assert_books(controller, 3)
        assert_idle(controller)


async def test_an_observer_that_releases_at_dispatch_does_not_nest() -> None:
    """A chain of a thousand dispatches, each released by an observer, needs no deep stack and loses nobody."""

    class Releasing:
        def on_dispatched(self, event: Any) -> None:
            event.ticket.release()

    async with one_slot(Releasing()) as controller, anyio.create_task_group() as tasks:
        callers = Callers(tasks, controller)
        await controller.enqueue_and_wait(Request("a"))
        controller.reconfigure(FlowControlConfig(max_dispatch_batch=3))
        for _ in range(2_000):
            callers.begin(Request("a"))
        await settle(20)
        assert_books(controller, 2_001)
        assert_idle(controller)
        tasks.cancel_scope.cancel()


async def test_observers_are_never_called_inside_a_plug_in() -> None:
    """Events are told after the step: not even a plug-in that releases a ticket has observers called under it."""
    inside: list[bool] = []
    tickets: list[Any] = []
    is_asked = False

    def answer(pod: Pod, load: PodLoad) -> float:
        nonlocal is_asked
        is_asked = True
        while tickets:
            tickets.pop().release()
        is_asked = False
        return float(load.in_flight)

    class Listening:
        def on_released(self, event: object) -> None:
            inside.append(is_asked)

        def on_dispatched(self, event: object) -> None:
            inside.append(is_asked)

    detector = CallDetector(answer)
    async with FlowController(
        locator=StaticPodLocator([POD_A]), detector=detector, observers=[Listening()]
    ) as controller:
        first = await controller.enqueue_and_wait(Request("a"))
        tickets.append(first)
        with await controller.enqueue_and_wait(Request("a")):
            assert anyio.current_time() == 0
        assert first.is_released
        assert_idle(controller)
    assert inside == [False] * 4


async def test_a_plug_in_must_not_submit() -> None:
    """A request submitted from inside a step is a RuntimeError there, and the step goes on."""
    controller: FlowController
    errors: list[BaseException] = []

    def answer(pod: Pod, load: PodLoad) -> float:
        with pytest.raises(RuntimeError, match="inside a step") as caught:
            controller.enqueue_and_wait(Request("b")).send(None)
        errors.append(caught.value)
        return float(load.in_flight)

    controller = FlowController(locator=StaticPodLocator([POD_A]), detector=CallDetector(answer))
    async with controller:
        (await controller.enqueue_and_wait(Request("a"))).release()
        assert errors
        assert_books(controller, 1)
        assert_idle(controller)


async def test_a_plug_in_may_release_a_ticket() -> None:
    """A ticket released from inside a step gives its slot back right after it, once."""
    held: list[Ticket] = []
    inside: list[int] = []

    def answer(pod: Pod, load: PodLoad) -> float:
        if held:
            held.pop().release()
            inside.append(controller.stats().in_flight)
        return load.in_flight / 4

    controller = FlowController(locator=StaticPodLocator([POD_A]), detector=CallDetector(answer))
    async with controller:
        held.append(await controller.enqueue_and_wait(Request("a")))
        with await controller.enqueue_and_wait(Request("a")) as ticket:
            assert controller.pod_stats([POD_A])[0].in_flight == 1
            assert ticket.pod == POD_A
        assert_books(controller, 2)
        assert_idle(controller)
    assert inside == [1]  # it was still held inside the step


async def test_a_detector_that_hears_of_a_release_may_release_another() -> None:
    """The other slot comes back right after the step in which it was told."""
    others: list[Ticket] = []

    class Chain(ConcurrencyDetector):
        def released(self, pod: Pod, load: PodLoad, held: float, result: str) -> None:
            if others:
                others.pop().release()

    controller = FlowController(locator=StaticPodLocator([POD_A]), detector=Chain(4))
    async with controller:
        first = await controller.enqueue_and_wait(Request("a"))
        others += [await controller.enqueue_and_wait(Request("a")) for _ in range(3)]
        first.release()
        assert not others
        assert_books(controller, 4)
        assert_idle(controller)


async def test_failures_are_logged_once_a_minute_for_each_plug_in(caplog: pytest.LogCaptureFixture) -> None:
    """A plug-in that fails at every poll is seen in the log with its name, once a period, and counted each time."""

    class Broken:
        name = "broken watch"

        def locate(self, metadata: object) -> list[Pod]:
            raise LookupError("no pods known")

    recorder = Recorder()
    async with FlowController(
        FlowControlConfig(poll_interval=0.5),
        locator=Broken(),
        detector=ConcurrencyDetector(1),
        observers=[recorder],
    ) as controller:
        with pytest.raises(FlowControlError):
            await controller.enqueue_and_wait(Request("a", ttl=179))
        failures = controller.stats().plugin_failures["locator", "broken watch"]
        assert 350 <= failures <= 360
        assert len(recorder.of("plugin_error")) == failures
    records = [record for record in caplog.records if record.name == "flowgate"]
    assert [record.levelno for record in records] == [logging.ERROR] * 3
    assert all("locator broken watch failed" in record.message and record.exc_info for record in records)
