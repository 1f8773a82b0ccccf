"""What `explain` and `Ticket.explanation` tell."""

import json
import math
import random

import anyio
import pytest

from flowgate import (
    Explanation,
    FlowControlConfig,
    FlowController,
    FlowKey,
    Pod,
    PriorityBandConfig,
    QueueOutcome,
    Request,
    RequestEvicted,
    RequestRejected,
)
from flowgate.admission import LegacyAdmissionController
from flowgate.explanation import printable
from flowgate.locators import StaticPodLocator
from flowgate.policies import BestHead, RoundRobin, StaticUsageLimit
from flowgate.saturation import ConcurrencyDetector
from flowgate.testing import Callers, run_in_virtual_time
from tests.support import POD_A, POD_B, CallDetector, settle

pytestmark = pytest.mark.anyio

BANDS = FlowControlConfig(bands=[PriorityBandConfig(0, name="batch"), PriorityBandConfig(10, name="chat")])


def request(name: str, flow: str = "a", priority: int = 0, ttl: float | None = None) -> Request:
    return Request(flow, priority=priority, request_id=name, ttl=ttl)


def only(controller: FlowController, name: str) -> Explanation:
    (told,) = controller.explain(name)
    return told


async def test_a_request_without_candidates_is_told_so_with_its_budget() -> None:
    config = FlowControlConfig(default_ttl=10.0, no_pods_ttl=60.0)
    controller = FlowController(config, locator=StaticPodLocator(), detector=ConcurrencyDetector(1))
    async with controller, Callers(controller) as callers:
        caller = await callers.start(request("x"))
        told = only(controller, "x")
        assert (told.outcome, told.reason) == (None, "it has no candidates: the locator names no pods for it")
        assert (told.place, told.turn, told.ahead, told.pods, told.pod) == (1, 1, (), (), None)
        assert (told.gate, told.ceiling) == (1.0, 1.0)
        assert told.flow_key == FlowKey("a", 0)
        assert told.budget_left is not None
        assert told.budget_left + told.waited == pytest.approx(60.0)
        caller.cancel()


async def test_a_stated_ttl_is_the_budget_and_one_without_end_is_told_as_such() -> None:
    config = FlowControlConfig(default_ttl=math.inf)
    controller = FlowController(config, locator=StaticPodLocator(), detector=ConcurrencyDetector(1))
    async with controller, Callers(controller) as callers:
        for name, ttl in ("short", 5.0), ("endless", None):
            await callers.start(request(name, ttl=ttl))
        short, endless = only(controller, "short"), only(controller, "endless")
        assert short.budget_left is not None
        assert short.budget_left + short.waited == pytest.approx(5.0)
        assert endless.budget_left == math.inf
        assert "it may wait for ever" in str(endless)
        assert endless.as_dict()["budget_left"] is None


async def test_a_locator_that_failed_is_named_as_the_reason() -> None:
    class Broken(StaticPodLocator):
        def locate(self, metadata: object) -> tuple[Pod, ...]:
            raise OSError("the API server is away")

    controller = FlowController(locator=Broken(), detector=ConcurrencyDetector(1))
    async with controller, Callers(controller) as callers:
        await callers.start(request("x"))
        assert only(controller, "x").reason.endswith("the locator failed: the API server is away")


async def test_behind_full_pods_it_is_told_who_is_ahead_and_how_full_they_are() -> None:
    controller = FlowController(BANDS, locator=StaticPodLocator([POD_A, POD_B]), detector=ConcurrencyDetector(1))
    async with controller, Callers(controller) as callers:
        for number in range(13):
            await callers.start(request(f"r-{number}"))
        await callers.start(request("urgent", "b", priority=10))
        told = only(controller, "r-12")
        assert told.reason == "all of its 2 candidates are full"
        assert (told.place, told.turn, told.above) == (11, 12, 1)
        assert told.ahead == tuple(f"r-{number}" for number in range(2, 10))
        assert [(each.in_flight, each.saturation) for each in told.pods] == [(1, 1.0), (1, 1.0)]
        assert (told.pod_count, told.band, told.gate) == (2, "batch", 1.0)
        text = told.text()
        assert "place: 11 in its flow, behind r-2, r-3" in text
        assert "and 2 more" in text
        assert "turn: 11 requests of its lane go before it, 1 of them of higher bands" in text
        assert "gate: candidates are 100% full; its band may fill a pod to 100%" in text
        assert f"pod: {POD_A.name} at {POD_A.endpoint}: 1 in flight, saturation 1.00" in text


async def test_a_band_beneath_its_ceiling_is_told_apart_from_full_pods() -> None:
    controller = FlowController(
        locator=StaticPodLocator([POD_A]), detector=ConcurrencyDetector(2), usage_limit=StaticUsageLimit(0.5)
    )
    async with controller, Callers(controller) as callers:
        await callers.start(request("first"))
        await callers.start(request("second"))
        told = only(controller, "second")
        assert told.reason == "all of its 1 candidates are fuller than its band may make them"
        assert (told.gate, told.ceiling) == (0.5, 0.5)


async def test_a_band_that_waits_for_a_higher_one_under_the_pool_rule_is_told_so() -> None:
    config = FlowControlConfig(bands=BANDS.bands, hol_scope="pool")
    controller = FlowController(config, locator=StaticPodLocator([POD_A]), detector=ConcurrencyDetector(1))
    async with controller, Callers(controller) as callers:
        for name, priority in ("held", 0), ("low", 0), ("high", 10):
            await callers.start(request(name, priority=priority))
        assert 'hol_scope="pool"' in only(controller, "low").reason
        assert only(controller, "high").reason == "all of its 1 candidates are full"


async def test_a_slot_that_is_free_until_the_next_pass_is_told_as_such() -> None:
    controller = FlowController(locator=StaticPodLocator([POD_A]), detector=ConcurrencyDetector(1))
    async with controller, Callers(controller) as callers:
        first = await callers.start(request("first"))
        second = await callers.start(request("second"))
        assert first.ticket is not None
        first.ticket.release()
        assert only(controller, "second").reason.startswith("a candidate has room")
        await settle()
        assert second.ticket is not None
        second.release()


def test_a_lane_that_drains_at_a_known_rate_has_an_estimate() -> None:
    """One request a second leaves, and nine go before it."""

    async def explain() -> tuple[float | None, Explanation]:
        controller = FlowController(locator=StaticPodLocator([POD_A]), detector=ConcurrencyDetector(1))
        async with controller, Callers(controller) as callers:
            started = [await callers.start(request(f"r-{number}", ttl=100.0)) for number in range(40)]
            early = only(controller, "r-39").estimate
            for caller in started[:30]:
                await anyio.sleep(1.0)
                caller.release()
            await settle()
            return early, only(controller, "r-39")

    early, told = run_in_virtual_time(explain)
    assert early is None
    assert told.turn == 9
    assert told.estimate == pytest.approx(9.0, rel=0.2)
    assert "estimate: about" in str(told)


@pytest.mark.parametrize("fairness", [BestHead, RoundRobin])
@pytest.mark.parametrize("seed", range(5))
async def test_the_turn_told_is_the_order_in_which_requests_go(fairness: type, seed: int) -> None:
    """Best head across flows, round robin within one: there the turn is exact."""
    chance = random.Random(seed)
    config = FlowControlConfig(bands=[PriorityBandConfig(number, fairness=fairness()) for number in range(3)])
    locator = StaticPodLocator()
    controller = FlowController(config, locator=locator, detector=ConcurrencyDetector(1))
    flows = "abc" if fairness is BestHead else "a"
    async with controller, Callers(controller) as callers:
        names = [f"r-{number}" for number in range(20)]
        started = {
            name: await callers.start(request(name, chance.choice(flows), chance.randrange(3))) for name in names
        }
        told = {name: only(controller, name).turn for name in names}
        locator.set_pods([POD_A])
        went: list[str] = []
        while len(went) < len(names):
            await settle()
            (name,) = (name for name in names if name not in went and started[name].ticket is not None)
            went.append(name)
            started[name].release()
        assert [told[name] for name in went] == list(range(1, len(names) + 1))


async def test_requests_of_one_id_are_all_told_the_longest_waiting_first() -> None:
    controller = FlowController(locator=StaticPodLocator(), detector=ConcurrencyDetector(1), explain_last=8)
    async with controller, Callers(controller) as callers:
        gone = await callers.start(request("same", "gone"))
        gone.cancel()
        await settle()
        await callers.start(request("same", "first"))
        await callers.start(request("same", "second"))
        await callers.start(request("other"))
        told = controller.explain("same")
        assert [each.flow_key and each.flow_key.id for each in told] == ["first", "second", "gone"]
        assert told[2].outcome is QueueOutcome.EVICTED_CANCELLED


async def test_unknown_ids_have_no_explanation_and_wrong_ones_are_refused() -> None:
    controller = FlowController(locator=StaticPodLocator(), detector=ConcurrencyDetector(1))
    assert controller.explain("never seen") == ()
    async with controller:
        assert controller.explain("never seen") == ()
        with pytest.raises(TypeError, match="request_id must be a str, not 7"):
            controller.explain(7)  # type: ignore[arg-type]


async def test_a_request_whose_id_cannot_be_read_hides_no_other() -> None:
    class Nameless(Request):
        def request_id(self) -> str:
            raise LookupError

    controller = FlowController(locator=StaticPodLocator(), detector=ConcurrencyDetector(1))
    async with controller, Callers(controller) as callers:
        await callers.start(Nameless("a"))
        await callers.start(request("named"))
        assert only(controller, "named").ahead == ("(no id)",)


async def test_a_request_of_no_band_is_kept_without_one() -> None:
    config = FlowControlConfig(bands=[PriorityBandConfig(0)], default_band=None)
    controller = FlowController(config, locator=StaticPodLocator(), detector=ConcurrencyDetector(1), explain_last=1)
    async with controller:
        with pytest.raises(RequestRejected):
            await controller.enqueue_and_wait(request("stranger", priority=5))
        assert only(controller, "stranger").band == ""


@pytest.mark.parametrize(("value", "error"), [(-1, ValueError), (True, TypeError), (1.0, TypeError)])
def test_a_wrong_number_of_kept_decisions_is_refused(value: object, error: type[Exception]) -> None:
    with pytest.raises(error, match=f"explain_last must be .*, not {value!r}"):
        FlowController(locator=StaticPodLocator(), detector=ConcurrencyDetector(1), explain_last=value)  # type: ignore[arg-type]


async def test_the_last_decisions_are_kept_and_no_more() -> None:
    locator = StaticPodLocator([POD_A])
    controller = FlowController(BANDS, locator=locator, detector=ConcurrencyDetector(2), explain_last=3)
    async with controller, Callers(controller) as callers:
        for number in range(4):
            async with controller.admitted(request(f"r-{number}")):
                pass
        assert controller.explain("r-0") == ()
        told = only(controller, "r-3")
        assert (told.outcome, told.pod, told.band) == (QueueOutcome.DISPATCHED, POD_A, "batch")
        assert told.reason == f"{POD_A.name} had room when it arrived"
        assert [(each.in_flight, each.saturation) for each in told.pods] == [(1, 0.5)]
        assert (told.place, told.turn, told.budget_left, told.gate) == (None, None, None, None)
        locator.set_pods([])
        waiting = await callers.start(request("patient"))
        locator.set_pods([POD_A])
        await settle()
        assert only(controller, "patient").reason == f"{POD_A.name} had room when its turn came"
        waiting.release()


async def test_an_eviction_and_a_bad_value_are_kept_with_their_sentence() -> None:
    class Bad(Request):
        def flow_key(self) -> FlowKey:
            raise ValueError("no flow")

    controller = FlowController(locator=StaticPodLocator(), detector=ConcurrencyDetector(1), explain_last=2)
    async with controller:
        with pytest.raises(RequestEvicted) as caught:
            await controller.enqueue_and_wait(request("late", ttl=0.001))
        told = only(controller, "late")
        assert told.outcome is QueueOutcome.EVICTED_NO_PODS
        assert told.reason in str(caught.value)
        with pytest.raises(RequestRejected):
            await controller.enqueue_and_wait(Bad("a", request_id="bad"))
        bad = only(controller, "bad")
        assert (bad.flow_key, bad.ceiling) == (None, None)
        assert bad.reason == "it has a bad value: no flow"
        assert bad.as_dict()["flow"] is None


async def test_a_ticket_tells_how_its_request_went() -> None:
    locator = StaticPodLocator([POD_A])
    controller = FlowController(BANDS, locator=locator, detector=ConcurrencyDetector(1))
    async with controller, Callers(controller) as callers:
        async with controller.admitted(request("quick")) as ticket:
            told = ticket.explanation
            assert told.reason == f"{POD_A.name} had room when its turn came"
            assert (told.pod, told.outcome, told.pod_count) == (POD_A, QueueOutcome.DISPATCHED, 1)
            assert (told.gate, told.ceiling, told.band) == (1.0, 1.0, "batch")
            slow = await callers.start(request("slow"))
        await settle()
        assert slow.ticket is not None
        assert slow.ticket.explanation.reason == f"{POD_A.name} had room when its turn came"
        slow.release()


async def test_a_ticket_of_the_legacy_controller_tells_it_too() -> None:
    empty = LegacyAdmissionController(StaticPodLocator(), ConcurrencyDetector(1))
    with await empty.admit(request("x")) as ticket:
        told = ticket.explanation
        assert told.reason.startswith("it went on without a pod")
        assert (told.pods, told.pod, told.flow_key) == ((), None, FlowKey("a", 0))


def test_what_is_told_is_json() -> None:
    async def explain() -> Explanation:
        detector = CallDetector(lambda pod, load: math.inf)
        controller = FlowController(locator=StaticPodLocator([POD_A]), detector=detector)
        async with controller, Callers(controller) as callers:
            await callers.start(request("x"))
            return only(controller, "x")

    told = json.loads(anyio.run(explain).as_json())
    assert told["outcome"] == "waiting"
    assert told["pods"][0]["saturation"] is None
    assert told["pods"][0]["endpoint"] == POD_A.endpoint


async def test_a_controller_tells_at_most_sixteen_pods_and_how_many_more() -> None:
    pods = [Pod(f"pod-{number}", "10.0.0.1", 8000 + number) for number in range(20)]
    controller = FlowController(locator=StaticPodLocator(pods), detector=ConcurrencyDetector(1))
    async with controller, controller.admitted(request("x")) as ticket:
        told = ticket.explanation
        assert (len(told.pods), told.pod_count) == (16, 20)
        assert "and 4 more pods" in str(told)


def test_no_text_of_a_client_reaches_a_terminal_raw() -> None:
    nasty = "\x1b[2J\u202e\nnext"
    told = Explanation(
        request_id=nasty,
        outcome=None,
        reason=nasty,
        time=0.0,
        waited=0.0,
        flow_key=FlowKey(nasty, 0),
        band=nasty,
        lane=nasty,
        pods=(),
        place=2,
        turn=2,
        ahead=(nasty,),
    )
    assert all(line.isprintable() for line in str(told).splitlines())
    assert len(str(told).splitlines()) == 6
    assert printable("x" * 300) == "x" * 200 + "…"
