"""How long a request may wait: its own TTL, or the budget of its lane's regime."""

import math

import anyio
import pytest

from flowgate import FlowControlConfig, FlowController, QueueOutcome, Request
from flowgate.locators import StaticPodLocator
from tests.support import POD_A, CallDetector, Callers, MapLocator, assert_books, assert_idle, settle

pytestmark = pytest.mark.anyio

TTL, NO_PODS = QueueOutcome.EVICTED_TTL, QueueOutcome.EVICTED_NO_PODS


def controller_of(
    locator: StaticPodLocator | MapLocator, default_ttl: float, no_pods_ttl: float | None
) -> FlowController:
    config = FlowControlConfig(default_ttl=default_ttl, no_pods_ttl=no_pods_ttl)
    return FlowController(config, locator=locator, detector=CallDetector(lambda pod, load: 1.0))


async def test_an_own_ttl_is_exact_whatever_the_pods_do() -> None:
    """A stated TTL is the caller's deadline: pods that come and go neither lengthen nor shorten it."""
    locator = StaticPodLocator()
    async with controller_of(locator, 1.0, 0.5) as controller, anyio.create_task_group() as tasks:
        callers = Callers(tasks, controller)
        await anyio.sleep(0.25)
        patient, hasty = [callers.begin(Request("a", ttl=ttl)) for ttl in (8.0, 0.125)]
        for round_ in range(40):
            await anyio.sleep(0.25)
            locator.set_pods([POD_A] * (round_ % 2))
        assert (hasty.ended_at, hasty.outcome) == (0.375, NO_PODS)
        assert patient.ended_at == 8.25
        assert_books(controller, 2)
        assert_idle(controller)


@pytest.mark.parametrize(("pods", "budget", "outcome"), [(1, 4.0, TTL), (0, 2.0, NO_PODS)])
async def test_without_a_ttl_the_regime_sets_the_budget(pods: int, budget: float, outcome: QueueOutcome) -> None:
    """default_ttl while the lane has pods, no_pods_ttl while it has none; each arrival has its own, in order."""
    async with (
        controller_of(StaticPodLocator([POD_A][:pods]), 4.0, 2.0) as controller,
        anyio.create_task_group() as tasks,
    ):
        callers = Callers(tasks, controller)
        for _ in range(5):
            await callers.start(Request("a"))
            await anyio.sleep(0.25)
        await anyio.sleep(10)
        assert [caller.ended_at for caller in callers.all] == [budget + place * 0.25 for place in range(5)]
        assert {caller.outcome for caller in callers.all} == {outcome}
        assert {caller.error.queue_wait for caller in callers.all if caller.error} == {budget}
        assert_idle(controller)


async def test_no_pods_ttl_defaults_to_default_ttl() -> None:
    """An operator who sets one budget sets both."""
    async with controller_of(StaticPodLocator(), 3.0, None) as controller, anyio.create_task_group() as tasks:
        caller = await Callers(tasks, controller).start(Request("a"))
        await anyio.sleep(5)
        assert (caller.ended_at, caller.outcome) == (3.0, NO_PODS)


@pytest.mark.parametrize(
    ("first_pods", "changed_at", "ends_at", "outcome"),
    [
        (0, 1.5, 1.5 + 4.0, TTL),  # pods came: a fresh default_ttl
        (1, 3.5, 3.5 + 2.0, NO_PODS),  # pods went: a fresh no_pods_ttl
        (1, 0.5, 0.5 + 2.0, NO_PODS),  # the fresh budget may also be the shorter
    ],
)
async def test_a_change_of_regime_gives_a_fresh_budget(
    first_pods: int, changed_at: float, ends_at: float, outcome: QueueOutcome
) -> None:
    """The budget is charged from the regime's last change, for those who were there before it."""
    locator = StaticPodLocator([POD_A][:first_pods])
    async with controller_of(locator, 4.0, 2.0) as controller, anyio.create_task_group() as tasks:
        caller = await Callers(tasks, controller).start(Request("a"))
        await anyio.sleep_until(changed_at)
        locator.set_pods([POD_A][: 1 - first_pods])
        await anyio.sleep(20)
        assert (caller.ended_at, caller.outcome) == (ends_at, outcome)
        assert_idle(controller)


async def test_those_who_arrive_after_a_change_are_charged_from_their_arrival() -> None:
    """A regime that changed long ago takes nothing from a new arrival's budget."""
    locator = StaticPodLocator([POD_A])
    async with controller_of(locator, 4.0, 2.0) as controller, anyio.create_task_group() as tasks:
        callers = Callers(tasks, controller)
        early = await callers.start(Request("a"))
        await anyio.sleep_until(1.0)
        locator.set_pods([])
        await anyio.sleep_until(2.5)
        late = await callers.start(Request("a"))
        await anyio.sleep(20)
        assert (early.ended_at, late.ended_at) == (3.0, 4.5)
        assert {early.outcome, late.outcome} == {NO_PODS}


@pytest.mark.parametrize("period", [0.5, 1.0, 1.75])
async def test_a_flapping_pool_cannot_hold_a_request_for_ever(period: float) -> None:
    """However often the regime changes, nobody waits beyond arrival + no_pods_ttl + default_ttl, exactly."""
    locator = StaticPodLocator()
    async with controller_of(locator, 4.0, 2.0) as controller, anyio.create_task_group() as tasks:
        callers = Callers(tasks, controller)
        for place in range(3):
            await callers.start(Request("a"))
            await anyio.sleep_until((place + 1) * 0.125)
        round_ = 0
        while anyio.current_time() < 12:
            round_ += 1
            await anyio.sleep_until(round_ * period)
            locator.set_pods([POD_A] * (round_ % 2))
        assert [caller.ended_at for caller in callers.all] == [6.0, 6.125, 6.25]
        assert_idle(controller)


async def test_an_infinite_budget_never_ends() -> None:
    """math.inf means no TTL: a request waits for ever, and arms no timer to do so."""
    async with (
        controller_of(StaticPodLocator([POD_A]), math.inf, math.inf) as controller,
        anyio.create_task_group() as tasks,
    ):
        callers = Callers(tasks, controller)
        caller = await callers.start(Request("a"))
        await anyio.sleep(86_000)
        assert caller.ended_at is None
        caller.cancel()
        await callers.finish()
        assert_idle(controller)


@pytest.mark.parametrize("default_ttl", [2.0, math.inf])
async def test_one_finite_budget_ends_with_its_regime(default_ttl: float) -> None:
    """With one budget infinite and the other not, only the other regime's end."""
    no_pods_ttl = math.inf if default_ttl == 2.0 else 2.0
    locator = StaticPodLocator([POD_A] * (default_ttl == math.inf))
    async with controller_of(locator, default_ttl, no_pods_ttl) as controller, anyio.create_task_group() as tasks:
        caller = await Callers(tasks, controller).start(Request("a"))
        await anyio.sleep_until(1_000)
        assert caller.ended_at is None
        locator.set_pods([POD_A] * (default_ttl == 2.0))
        await anyio.sleep(10)
        assert caller.ended_at == 1_002


async def test_regimes_are_those_of_lanes() -> None:
    """A pool that vanishes shortens nobody's budget in another lane."""
    locator = MapLocator(x=[POD_A], y=[POD_A])
    async with controller_of(locator, 4.0, 1.0) as controller, anyio.create_task_group() as tasks:
        callers = Callers(tasks, controller)
        x = await callers.start(Request("a", metadata={"model": "x"}))
        y = await callers.start(Request("a", metadata={"model": "y"}))
        await anyio.sleep_until(0.5)
        locator.set(x=[])
        await anyio.sleep(20)
        assert (x.ended_at, x.outcome) == (1.5, NO_PODS)
        assert (y.ended_at, y.outcome) == (4.0, TTL)


async def test_deadlines_hold_while_the_loop_is_late() -> None:
    """What is due is evicted before anything is dispatched, even when the controller's turn comes late."""
    locator = StaticPodLocator()
    config = FlowControlConfig(default_ttl=1.0)
    detector = CallDetector(lambda pod, load: float(load.in_flight))
    async with (
        FlowController(config, locator=locator, detector=detector) as controller,
        anyio.create_task_group() as tasks,
    ):
        callers = Callers(tasks, controller)
        due = await callers.start(Request("a"))
        await anyio.sleep_until(0.5)
        fresh = await callers.start(Request("a"))
        await anyio.sleep_until(1.0)
        locator.set_pods([POD_A])
        await settle()
        assert due.outcome is NO_PODS
        assert fresh.outcome is QueueOutcome.DISPATCHED
        await callers.finish()


async def test_thousands_of_deadlines_are_each_exact() -> None:
    """One timer serves them all: each caller leaves at its own deadline, in whatever order they came."""
    async with controller_of(StaticPodLocator(), math.inf, math.inf) as controller, anyio.create_task_group() as tasks:
        callers = Callers(tasks, controller)
        for place in range(2_000):
            callers.begin(Request("a", ttl=(1 + place * 37 % 997) / 64))
        await anyio.sleep(60)
        assert all(
            caller.ended_at == caller.request.initial_effective_ttl() and caller.outcome is NO_PODS
            for caller in callers.all
        )
        assert_books(controller, 2_000)
        assert_idle(controller)
