"""What `explain` and `Ticket.explanation` say: why each request waits, and how it went."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import anyio
import attrs
import pytest

from flowgate import (
    BandShares,
    Explanation,
    FlowControlConfig,
    FlowController,
    FlowKey,
    Pod,
    PodLoad,
    PriorityBandConfig,
    QueueOutcome,
    Request,
    RequestRejected,
    Ticket,
)
from flowgate.admission import LegacyAdmissionController
from flowgate.contracts import UsageLimitPolicy
from flowgate.items import Item
from flowgate.locators import StaticPodLocator
from flowgate.policies import BestHead, EarliestDeadlineFirst, StaticUsageLimit
from flowgate.processor import ShardProcessor
from flowgate.saturation import ConcurrencyDetector
from tests.support import POD_A, POD_B, CallDetector, Callers, MapLocator, Recorder, settle

pytestmark = pytest.mark.anyio

KEEPS = FlowControlConfig(
    [PriorityBandConfig(0), PriorityBandConfig(10, "chat"), PriorityBandConfig(-1, mode="shed")], explain_last=8
)


def one_slot(
    config: FlowControlConfig = KEEPS, *, pods: Sequence[Pod] = (POD_A,), usage_limit: UsageLimitPolicy | None = None
) -> FlowController:
    return FlowController(
        config, locator=StaticPodLocator(pods), detector=ConcurrencyDetector(1), usage_limit=usage_limit
    )


def request(request_id: str, flow: str = "a", priority: int = 0, **more: Any) -> Request:
    return Request(flow, priority, request_id=request_id, **more)


def only(controller: FlowController, request_id: str) -> Explanation:
    (explained,) = controller.explain(request_id)
    return explained


async def test_an_id_that_was_never_seen_is_nothing() -> None:
    """Not an error, before the controller runs, while it does and after."""
    controller = one_slot()
    assert controller.explain("nobody") == ()
    async with controller:
        assert controller.explain("nobody") == ()
    assert controller.explain("nobody") == ()


async def test_a_request_that_waits_for_full_pods_is_told_where_it_stands() -> None:
    """Its band, flow, lane, place, deadline, pods and who is ahead: all as it is now."""
    async with one_slot() as controller, anyio.create_task_group() as tasks:
        callers = Callers(tasks, controller)
        held = await controller.enqueue_and_wait(request("held"))
        for name, flow, priority in (("a1", "a", 0), ("b1", "b", 0), ("c1", "c", 10), ("a2", "a", 0)):
            await callers.start(request(name, flow, priority))
        await anyio.sleep(2.0)
        told = only(controller, "a2")
        assert (told.state, told.reason, told.message) == ("waiting", "full", "all its candidates are full")
        assert (told.flow, told.band, told.lane) == (FlowKey("a", 0), "", "'all pods'")
        assert (told.at, told.waited, told.ttl_left) == (2.0, 2.0, 58.0)
        assert (told.place, told.ahead_in_band, told.ahead_above, told.ahead_on_arrival) == (2, 2, 1, 3)
        assert told.ahead == ("c1", "a1", "b1")
        assert (told.saturation, told.ceiling, told.pod_count) == (1.0, 1.0, 1)
        assert [(each.pod, each.in_flight) for each in told.pods] == [(POD_A, 1)]
        assert (told.estimate, told.pod, told.outcome) == (None, None, None)
        chat = only(controller, "c1")
        assert (chat.band, chat.place, chat.ahead_in_band, chat.ahead_above, chat.ahead) == ("chat", 1, 0, 0, ())
        held.release()
        await callers.finish()


async def test_without_pods_it_says_so_and_the_deadline_is_that_of_an_empty_pool() -> None:
    """The budget of its lane's regime, and its own TTL where it states one."""
    config = attrs.evolve(KEEPS, no_pods_ttl=5.0, default_ttl=math.inf)
    async with one_slot(config, pods=()) as controller, anyio.create_task_group() as tasks:
        callers = Callers(tasks, controller)
        await callers.start(request("budgeted"))
        await callers.start(request("own", ttl=3.0))
        await anyio.sleep(1.0)
        told = only(controller, "budgeted")
        assert (told.reason, told.message) == ("no-pods", "it has no candidates")
        assert (told.saturation, told.pods, told.pod_count, told.estimate) == (None, (), 0, None)
        assert (told.ttl_left, only(controller, "own").ttl_left) == (4.0, 2.0)
        await anyio.sleep(5.0)
        gone = only(controller, "budgeted")
        assert (gone.state, gone.outcome, gone.reason) == ("dropped", QueueOutcome.EVICTED_NO_PODS, "evicted_no_pods")
        assert (gone.at, gone.waited, gone.ttl_left, gone.place) == (5.0, 5.0, None, None)
        assert "budget is spent" in gone.message


async def test_a_locator_that_fails_is_named() -> None:
    """Who waits for pods that cannot be found out learns of the error."""

    class Broken:
        def locate(self, metadata: Mapping[str, object]) -> Sequence[Pod]:
            raise LookupError("no such pool")

    controller = FlowController(KEEPS, locator=Broken(), detector=ConcurrencyDetector(1))
    async with controller, anyio.create_task_group() as tasks:
        await Callers(tasks, controller).start(request("r", ttl=1.0))
        told = only(controller, "r")
        assert (told.reason, told.lane) == ("no-pods", "FlowKey(id='a', priority=0)")
        assert told.message == "its candidates could not be resolved: LookupError('no such pool')"


async def test_a_band_that_is_held_back_is_told_its_ceiling() -> None:
    """The pod has room, and its band may not use it."""
    controller = FlowController(
        KEEPS,
        locator=StaticPodLocator([POD_A]),
        detector=ConcurrencyDetector(2),
        usage_limit=StaticUsageLimit(0.5),
    )
    async with controller, anyio.create_task_group() as tasks:
        callers = Callers(tasks, controller)
        with await controller.enqueue_and_wait(request("held")):
            await callers.start(request("low"))
            told = only(controller, "low")
            assert (told.reason, told.saturation, told.ceiling) == ("held-back", 0.5, 0.5)
            assert told.message == "its candidates have room, but are at or above the ceiling of 0.5 for its band"
            tasks.cancel_scope.cancel()


async def test_behind_a_higher_band_of_a_pool_it_says_so() -> None:
    """Under ``hol_scope="pool"`` even a request whose pods are free waits."""
    config = attrs.evolve(KEEPS, hol_scope="pool")
    locator = MapLocator(x=[], y=[POD_A])
    controller = FlowController(config, locator=locator, detector=ConcurrencyDetector(1))
    async with controller, anyio.create_task_group() as tasks:
        callers = Callers(tasks, controller)
        await callers.start(request("high", priority=10, metadata={"model": "x"}))
        await callers.start(request("low", metadata={"model": "y"}))
        told = only(controller, "low")
        assert (told.reason, told.saturation, told.lane) == ("higher-band", 0.0, "'y'")
        assert (told.ahead_above, told.ahead) == (0, ())  # it waits in another lane
        tasks.cancel_scope.cancel()


async def test_between_a_change_and_its_pass_the_request_is_due() -> None:
    """A pod was released in this very turn of the loop, and the pass comes in the next."""
    async with one_slot() as controller, anyio.create_task_group() as tasks:
        callers = Callers(tasks, controller)
        held = await controller.enqueue_and_wait(request("held"))
        await callers.start(request("next"))
        held.release()
        told = only(controller, "next")
        assert (told.reason, told.saturation) == ("due", 0.0)
        await callers.finish()


async def test_the_expected_wait_follows_from_how_fast_the_lane_drains() -> None:
    """Known after some dispatches: what waits ahead, itself counted, at a request a second."""
    config = attrs.evolve(KEEPS, default_ttl=math.inf, band_shares=BandShares({0: 0.1}))
    async with one_slot(config) as controller, anyio.create_task_group() as tasks:

        async def serve(name: str) -> None:
            async with controller.admitted(request(name)):
                await anyio.sleep(1.0)

        for number in range(40):
            tasks.start_soon(serve, f"r{number}")
        await anyio.sleep(20.5)
        told = [each for number in range(40) for each in controller.explain(f"r{number}") if each.state == "waiting"]
        assert sorted(each.place or 0 for each in told) == list(range(1, 20))
        for each in told:
            assert each.estimate == pytest.approx(each.place or 0, rel=0.25)
        tasks.cancel_scope.cancel()


async def test_requests_of_one_id_are_all_told_those_that_wait_first() -> None:
    """In order of arrival; then those that left, newest first."""
    async with one_slot() as controller, anyio.create_task_group() as tasks:
        callers = Callers(tasks, controller)
        for flow in ("first", "second"):
            (await controller.enqueue_and_wait(request("same", flow))).release()
        held = await controller.enqueue_and_wait(request("held"))
        for flow in ("third", "fourth"):
            await callers.start(request("same", flow))
        told = controller.explain("same")
        assert [(each.state, each.flow and each.flow.id) for each in told] == [
            ("waiting", "third"),
            ("waiting", "fourth"),
            ("dispatched", "second"),
            ("dispatched", "first"),
        ]
        held.release()
        await callers.finish()


async def test_an_answer_is_bounded_however_many_share_an_id() -> None:
    """100 of them, 10 ids ahead of each, and 10 pods."""
    pods = [Pod(f"p{number:02}", "10.0.0.1", 8_000 + number) for number in range(15)]
    full = CallDetector(lambda pod, load: 20.0 - float(pod.name[1:]))
    controller = FlowController(KEEPS, locator=StaticPodLocator(pods), detector=full)
    async with controller, anyio.create_task_group() as tasks:
        callers = Callers(tasks, controller)
        for _ in range(130):
            callers.begin(request("same"))
        await settle()
        told = controller.explain("same")
        assert [each.place for each in told] == list(range(1, 101))
        assert told[99].ahead == ("same",) * 10
        assert told[99].ahead_in_band == 99
        assert [each.pod.name for each in told[0].pods] == [f"p{number:02}" for number in range(14, 4, -1)]
        assert told[0].pod_count == 15
        tasks.cancel_scope.cancel()


async def test_a_request_that_went_is_told_as_it_was_then() -> None:
    """The pod it was charged to and its saturation before, whatever became of it since."""
    async with one_slot(pods=[POD_A, POD_B]) as controller, anyio.create_task_group() as tasks:
        callers = Callers(tasks, controller)
        first = await controller.enqueue_and_wait(request("at once"))
        second = await controller.enqueue_and_wait(request("second"))
        waiting = await callers.start(request("in turn", priority=10))
        await anyio.sleep(3.0)
        second.release()
        ticket = await waiting.admitted()
        told = only(controller, "in turn")
        assert (told.state, told.reason, told.outcome) == ("dispatched", "in-turn", QueueOutcome.DISPATCHED)
        assert (told.at, told.waited, told.pod, told.band) == (3.0, 3.0, POD_B, "chat")
        assert (told.saturation, told.ceiling, told.pod_count, told.ahead_on_arrival) == (0.0, 1.0, 1, 0)
        assert [(each.pod, each.in_flight, each.saturation) for each in told.pods] == [(POD_B, 0, 0.0)]
        at_once = only(controller, "at once")
        assert (at_once.reason, at_once.waited, at_once.pod, at_once.pod_count) == ("at-once", 0.0, POD_A, 2)
        assert [each.pod for each in at_once.pods] == [POD_A, POD_B]
        assert ticket.explanation == told
        assert first.explanation == at_once
        first.release()
        await callers.finish()


async def test_of_many_open_pods_a_dispatch_keeps_ten() -> None:
    """The charged one first; how many were open is known all the same."""
    pods = [Pod(f"p{number}", "10.0.0.1", 8_000 + number) for number in range(12)]
    async with one_slot(pods=pods) as controller, controller.admitted(request("r")) as ticket:
        told = ticket.explanation
        assert (len(told.pods), told.pods[0].pod, told.pod_count) == (10, ticket.pod, 12)


async def test_a_ticket_knows_something_of_itself_where_nothing_is_kept() -> None:
    """With the ring off, as it is by default; and once the decision fell out of the ring."""
    config = FlowControlConfig([PriorityBandConfig(10, "chat")])
    async with one_slot(config) as controller:
        ticket = await controller.enqueue_and_wait(request("r", priority=10))
        told = ticket.explanation
        assert (told.request_id, told.reason, told.flow, told.band) == ("r", "went", FlowKey("a", 10), "chat")
        assert (told.pod, told.pod_count, told.pods, told.waited) == (POD_A, 1, (), 0.0)
        assert controller.explain("r") == ()
        ticket.release()
    async with one_slot(attrs.evolve(KEEPS, explain_last=1)) as controller:
        old = await controller.enqueue_and_wait(request("old"))
        old.release()
        (await controller.enqueue_and_wait(request("new"))).release()
        assert old.explanation.reason == "went"


async def test_a_legacy_ticket_tells_what_it_knows() -> None:
    """Its controller keeps nothing, and charges a request to no pod where there is none."""
    controller = LegacyAdmissionController(StaticPodLocator(), ConcurrencyDetector(1))
    with await controller.admit(request("r")) as ticket:
        told = ticket.explanation
    assert (told.request_id, told.flow, told.pod, told.pod_count) == ("r", None, None, 0)


async def test_refusals_are_kept_with_their_reason() -> None:
    """With the lane where it was known, and without a flow where the request named none."""

    class Nameless(Request):
        def flow_key(self) -> FlowKey:
            return "no key"  # type: ignore[return-value]

    async with one_slot() as controller, controller.admitted(request("held")):
        for refused in (request("shed", priority=-1), Nameless("a", request_id="odd")):
            with pytest.raises(RequestRejected):
                await controller.enqueue_and_wait(refused)
    shed, odd = only(controller, "shed"), only(controller, "odd")
    assert (shed.outcome, shed.reason, shed.lane) == (QueueOutcome.REJECTED_SHED, "rejected_shed", "'all pods'")
    assert (shed.saturation, [each.pod for each in shed.pods]) == (1.0, [POD_A])
    assert (odd.outcome, odd.flow, odd.lane, odd.ceiling) == (QueueOutcome.REJECTED_INVALID, None, None, None)
    assert "FlowKey" in odd.message


async def test_of_many_pods_a_refusal_keeps_the_number_alone() -> None:
    """To look at each of a thousand pods, for each of a thousand that expire at once, would hold up the loop."""
    pods = [Pod(f"p{number}", "10.0.0.1", 8_000 + number) for number in range(11)]
    full = CallDetector(lambda pod, load: 1.0)
    async with FlowController(KEEPS, locator=StaticPodLocator(pods), detector=full) as controller:
        with pytest.raises(RequestRejected):
            await controller.enqueue_and_wait(request("shed", priority=-1))
        told = only(controller, "shed")
        assert (told.pods, told.pod_count, told.saturation) == ((), 11, None)


async def test_a_cancelled_caller_is_explained() -> None:
    """Its request left the queue, and that is what became of it."""
    async with one_slot() as controller, controller.admitted(request("held")):
        with anyio.move_on_after(1.0):
            await controller.enqueue_and_wait(request("gone"))
        told = only(controller, "gone")
        assert (told.outcome, told.waited) == (QueueOutcome.EVICTED_CANCELLED, 1.0)


async def test_the_ring_keeps_the_newest_and_its_size_may_change() -> None:
    """Off, on, larger, smaller, off again, with `reconfigure`; what was kept stays as far as it fits."""
    async with one_slot(attrs.evolve(KEEPS, explain_last=0)) as controller:

        async def go(*names: int) -> None:
            for name in names:
                (await controller.enqueue_and_wait(request(f"r{name}"))).release()

        def known() -> list[int]:
            return [name for name in range(10) if controller.explain(f"r{name}")]

        await go(0)
        assert known() == []
        controller.reconfigure(attrs.evolve(KEEPS, explain_last=2))
        await go(1, 2, 3)
        assert known() == [2, 3]
        controller.reconfigure(attrs.evolve(KEEPS, explain_last=3))
        await go(4)
        assert known() == [2, 3, 4]
        controller.reconfigure(attrs.evolve(KEEPS, explain_last=1))
        assert known() == [4]
        controller.reconfigure(attrs.evolve(KEEPS, explain_last=0))
        await go(5)
        assert known() == []


async def test_who_waited_before_the_ring_was_there_is_explained_too() -> None:
    """Only who was there when it came is not known."""
    async with one_slot(FlowControlConfig()) as controller, anyio.create_task_group() as tasks:
        callers = Callers(tasks, controller)
        held = await controller.enqueue_and_wait(request("held"))
        for name in ("early", "cut short"):
            await callers.start(request(name))
        assert only(controller, "early").ahead_on_arrival is None
        controller.reconfigure(KEEPS)
        assert only(controller, "early").ahead_on_arrival is None
        callers.all[1].cancel()
        await settle()
        held.release()
        await callers.finish()
        assert only(controller, "early").reason == "in-turn"
        assert only(controller, "cut short").outcome is QueueOutcome.EVICTED_CANCELLED


async def test_the_ring_tells_observers_no_more_and_no_less() -> None:
    """They hear the same events with it and without."""

    async def events(config: FlowControlConfig) -> list[str]:
        recorder = Recorder()
        controller = FlowController(
            config, locator=StaticPodLocator([POD_A]), detector=ConcurrencyDetector(1), observers=[recorder]
        )
        async with controller, anyio.create_task_group() as tasks:
            callers = Callers(tasks, controller)
            held = await controller.enqueue_and_wait(request("held"))
            await callers.start(request("waits"))
            held.release()
            await callers.finish()
        return recorder.names()

    assert await events(KEEPS) == await events(attrs.evolve(KEEPS, explain_last=0))


class Custom(Request):
    """A request that does not tell its id as it should."""

    def __init__(self, answer: Callable[[], Any], flow: str = "a") -> None:
        super().__init__(flow)
        self._answer = answer

    def request_id(self) -> str:
        return self._answer()  # type: ignore[no-any-return]


def _refuse() -> str:
    raise LookupError("no id")


@pytest.mark.parametrize("answer", [_refuse, lambda: 7])
async def test_a_request_without_a_proper_id_does_no_harm(answer: Callable[[], Any]) -> None:
    """It is counted among those ahead, cannot be asked for, and goes and leaves like any other."""
    async with one_slot() as controller, anyio.create_task_group() as tasks:
        callers = Callers(tasks, controller)
        held = await controller.enqueue_and_wait(Custom(answer))
        assert held.explanation.request_id == ""
        waiting = await callers.start(Custom(answer))
        await callers.start(request("r"))
        told = only(controller, "r")
        assert (told.place, told.ahead) == (2, ("(no id)",))
        waiting.cancel()
        await settle()
        assert controller.explain("") == ()
        held.release()
        await callers.finish()


async def test_a_lane_whose_key_cannot_be_shown_is_told_by_its_type() -> None:
    """A locator's keys are its own objects."""

    class Key:
        def __repr__(self) -> str:
            raise LookupError

    class Odd(StaticPodLocator):
        def selection_key(self, metadata: Mapping[str, object]) -> Key:
            return self._key

        _key = Key()

    controller = FlowController(KEEPS, locator=Odd([POD_A]), detector=ConcurrencyDetector(1))
    async with controller, controller.admitted(request("r")) as ticket:
        assert ticket.explanation.lane == "<Key, whose repr raised LookupError>"


async def test_to_explain_changes_nothing() -> None:
    """No failure of the detector is counted, no pass planned, and nobody overtakes."""

    def answer(pod: Pod, load: PodLoad) -> float:
        if broken:
            raise LookupError("detector")
        return float(load.in_flight)

    broken: list[bool] = []
    controller = FlowController(KEEPS, locator=StaticPodLocator([POD_A]), detector=CallDetector(answer))
    async with controller, anyio.create_task_group() as tasks:
        callers = Callers(tasks, controller)
        held = await controller.enqueue_and_wait(request("held"))
        await callers.start(request("r"))
        before = controller.stats()
        broken.append(True)
        assert only(controller, "r").saturation == 1.0
        broken.clear()
        assert controller.stats() == before
        held.release()
        await callers.finish()


async def test_another_thread_may_not_ask() -> None:
    """As for everything but `notify_threadsafe`."""
    async with one_slot() as controller:
        with pytest.raises(RuntimeError, match="event loop's thread"):
            await anyio.to_thread.run_sync(controller.explain, "r")


def test_the_core_explains_its_own_tickets() -> None:
    """Without a controller around it."""
    core = ShardProcessor(KEEPS, locator=StaticPodLocator([POD_A]), detector=ConcurrencyDetector(1))
    ticket = core.submit(request("went"), 1.0)
    assert isinstance(ticket, Ticket)
    assert isinstance(core.submit(request("waits"), 2.0), Item)
    assert ticket.explanation.reason == "at-once"
    assert [each.waited for each in core.explain("waits", 5.0)] == [3.0]
    ticket.release()
    core.close(6.0)


def test_keys_that_do_not_compare_count_everybody_ahead() -> None:
    """No order is known then; more is told rather than less."""
    config = FlowControlConfig(
        [PriorityBandConfig(0, dispatch=EarliestDeadlineFirst(), fairness=BestHead())], explain_last=1
    )
    core = ShardProcessor(config, locator=StaticPodLocator(), detector=ConcurrencyDetector(1))
    items = [core.submit(request(f"r{flow}", flow, ttl=1.0), 0.0) for flow in "abc"]
    assert isinstance(items[0], Item)
    items[0].score = "odd"
    (told,) = core.explain("ra", 0.0)
    assert told.ahead_in_band == 2
    core.close(0.0)
