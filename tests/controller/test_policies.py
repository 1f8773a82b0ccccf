"""What policies are told and asked, where lanes meet and where nobody waits."""

from typing import Any

import anyio
import pytest

from flowgate import FlowControlConfig, FlowController, Pod, PriorityBandConfig, Request
from flowgate.locators import StaticPodLocator
from flowgate.policies import BestHead, EarliestDeadlineFirst, RoundRobin
from flowgate.saturation import ConcurrencyDetector
from tests.support import (
    POD_A,
    POD_B,
    CallDetector,
    Callers,
    MapLocator,
    Recorder,
    assert_books,
    assert_idle,
    settle,
)

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("breaks", [False, True])
async def test_best_head_compares_heads_across_lanes(breaks: bool) -> None:
    """Lanes that share a pod do not take turns under BestHead: the best request of all goes, whatever its lane."""

    class BrokenRank(BestHead):
        def new_group(self) -> Any:
            group = super().new_group()

            class Group:
                def __getattr__(self, name: str) -> Any:
                    return getattr(group, name)

                def rank(self) -> tuple[object, int]:
                    raise LookupError("no rank")

            return Group()

    locator, recorder = MapLocator(x=[], y=[]), Recorder()
    fairness = BrokenRank() if breaks else BestHead()
    config = FlowControlConfig(bands=[PriorityBandConfig(0, dispatch=EarliestDeadlineFirst(), fairness=fairness)])
    async with (
        FlowController(config, locator=locator, detector=ConcurrencyDetector(1), observers=[recorder]) as controller,
        anyio.create_task_group() as tasks,
    ):
        callers = Callers(tasks, controller)
        for name, model, ttl in (("1", "x", 50), ("2", "y", 40), ("3", "x", 30), ("4", "x", 20), ("5", "y", 10)):
            await callers.start(Request(f"flow-{name}", ttl=ttl, metadata={"model": model}, request_id=name))
        locator.set(x=[POD_A], y=[POD_A])
        await callers.finish()
        order = "".join(event.request.request_id() for event in recorder.of("dispatched"))
        if breaks:
            assert sorted(order) == list("12345")
            assert controller.stats().plugin_failures["fairness policy", "best-head"] > 0
        else:
            assert order == "54321"
        assert_books(controller, 5)
        assert_idle(controller)


class Remembering:
    """Round robin that remembers: it wants to hear of requests that did not wait, too."""

    name = "remembering"

    def __init__(self) -> None:
        self.charged: list[tuple[str, int, bool]] = []
        self.fails = False

    def new_group(self) -> Any:
        policy, ring = self, RoundRobin().new_group()

        class Group:
            def __getattr__(self, name: str) -> Any:
                return getattr(ring, name)

            def charged(self, flow: Any, item: Any) -> None:
                policy.charged.append((flow.flow_key.id, item.byte_size, len(flow) > 0))
                if policy.fails:
                    raise LookupError("charged")
                ring.charged(flow, item)

        return Group()


async def test_a_policy_that_remembers_hears_of_those_who_did_not_wait() -> None:
    """Fairness is charged on the fast path as ever, with a flow that waits for nothing."""
    policy = Remembering()
    config = FlowControlConfig(bands=[PriorityBandConfig(0, fairness=policy)])
    async with (
        FlowController(config, locator=StaticPodLocator([POD_A]), detector=ConcurrencyDetector(1)) as controller,
        anyio.create_task_group() as tasks,
    ):
        callers = Callers(tasks, controller)
        await callers.start(Request("a", byte_size=7))
        await callers.start(Request("b", byte_size=8))
        await callers.finish()
        assert policy.charged == [("a", 7, False), ("b", 8, False)]
        policy.fails = True
        (await controller.enqueue_and_wait(Request("c", byte_size=9))).release()
        assert controller.stats().plugin_failures == {("fairness policy", "remembering"): 1}
        assert_books(controller, 3)
        assert_idle(controller)


async def test_a_pass_that_makes_room_may_let_the_arrival_itself_go() -> None:
    """An arrival that would be shed while a pass is pending goes in that very call, when a slot is left for it."""
    config = FlowControlConfig(bands=[PriorityBandConfig(0), PriorityBandConfig(1, mode="shed")])
    async with (
        FlowController(config, locator=StaticPodLocator([POD_A]), detector=ConcurrencyDetector(2)) as controller,
        anyio.create_task_group() as tasks,
    ):
        callers = Callers(tasks, controller)
        holders = [await callers.start(Request("a")) for _ in range(2)]
        waiting = await callers.start(Request("a"))
        for holder in holders:
            holder.release()
        with await controller.enqueue_and_wait(Request("b", 1)) as ticket:
            assert ticket.queue_wait == 0
            await settle()
            assert waiting.ticket is not None
        await callers.finish()
        assert_books(controller, 4)
        assert_idle(controller)


@pytest.mark.parametrize("pods", [["a"], [None], 7, "pods"], ids=repr)
async def test_an_announcement_of_nonsense_is_one_of_everything(pods: Any) -> None:
    """A plug-in that names no pods in its announcement is counted as failing, and everything is looked at again."""
    full = True
    detector = CallDetector(lambda pod, load: 1.0 if full else 0.0)
    async with (
        FlowController(locator=StaticPodLocator([POD_A]), detector=detector) as controller,
        anyio.create_task_group() as tasks,
    ):
        callers = Callers(tasks, controller)
        waiting = await callers.start(Request("a"))
        full = False
        detector.announce(pods)
        await settle()
        assert waiting.ticket is not None
        assert waiting.ended_at == 0
        assert controller.stats().plugin_failures["detector", "CallDetector"] == 1
        await callers.finish()


async def test_an_announcement_of_some_pods_opens_those_alone() -> None:
    """Named pods are read again, a stranger among them is nobody; others keep what was read of them."""
    opened: set[Pod] = set()
    detector = CallDetector(lambda pod, load: float(load.in_flight) if pod in opened else 1.0)
    locator = MapLocator(x=[POD_A], y=[POD_B])
    async with (
        FlowController(locator=locator, detector=detector) as controller,
        anyio.create_task_group() as tasks,
    ):
        callers = Callers(tasks, controller)
        x = await callers.start(Request("a", metadata={"model": "x"}))
        y = await callers.start(Request("a", metadata={"model": "y"}))
        opened.update((POD_A, POD_B))
        detector.announce([POD_B, Pod("stranger", "10.9.9.9", 1)])
        await settle()
        assert y.ticket is not None
        assert x.ended_at is None
        detector.announce()
        await settle()
        assert x.ticket is not None
        await callers.finish()
        assert_idle(controller)
