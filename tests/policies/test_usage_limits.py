"""Between bands: ceilings that never rise, and what the engine makes of them."""

import math
from collections.abc import Sequence
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowgate import FlowController, Pod, Request, Ticket
from flowgate.config import FlowControlConfig
from flowgate.contracts import UsageLimitPolicy
from flowgate.items import Item
from flowgate.locators import StaticPodLocator
from flowgate.policies import PriorityHoldback, SoftReflectiveCeiling, StaticUsageLimit
from flowgate.processor import ShardProcessor
from flowgate.saturation import ConcurrencyDetector
from tests.support import POD_A, Callers, Recorder, assert_idle, settle

SHARES = st.floats(0, 1)
PRIORITIES = st.lists(st.integers(), min_size=1, max_size=12, unique=True).map(lambda found: sorted(found)[::-1])


@st.composite
def holdbacks(draw: st.DrawFn) -> PriorityHoldback:
    low, high = sorted([draw(SHARES), draw(SHARES.filter(lambda share: share > 0))])
    return PriorityHoldback(low, high, draw(st.sampled_from(["rank", "value"])))


POLICIES = st.one_of(
    holdbacks(),
    SHARES.filter(lambda share: share > 0).map(StaticUsageLimit),
    st.just(SoftReflectiveCeiling()),
)


@given(POLICIES, SHARES, PRIORITIES)
def test_ceilings_never_rise_and_lie_between_0_and_1(
    policy: UsageLimitPolicy, saturation: float, priorities: Sequence[int]
) -> None:
    """Whatever waits and however full the pods are: the engine never has cause to refuse an answer."""
    ceilings = policy.ceilings(saturation, priorities)
    assert len(ceilings) == len(priorities)
    assert all(0.0 <= ceiling <= 1.0 for ceiling in ceilings)
    assert list(ceilings) == sorted(ceilings, reverse=True)


@given(holdbacks(), SHARES, PRIORITIES)
def test_holdback_gives_both_ends_exactly_what_was_asked(
    policy: PriorityHoldback, saturation: float, priorities: Sequence[int]
) -> None:
    """The highest band has max_ceiling and the lowest min_ceiling, to the last bit; one alone has max_ceiling."""
    ceilings = policy.ceilings(saturation, priorities)
    assert ceilings[0] == policy.max_ceiling
    assert len(ceilings) == 1 or ceilings[-1] == policy.min_ceiling


def test_holdback_by_rank_takes_equal_steps_and_by_value_the_distances() -> None:
    """Priorities 100, 10 and 0: the middle is halfway by rank, and 90% of the way by value."""
    assert PriorityHoldback(0.0).ceilings(1.0, [100, 10, 0]) == [1.0, 0.5, 0.0]
    assert PriorityHoldback(0.0, domain="value").ceilings(1.0, [100, 10, 0]) == pytest.approx([1.0, 0.1, 0.0])
    assert PriorityHoldback(0.2, 0.6).ceilings(1.0, [3, 2, 1]) == pytest.approx([0.6, 0.4, 0.2])


@pytest.mark.parametrize(
    ("saturation", "expected"), [(0.0, [1.0, 1.0, 1.0]), (0.5, [1.0, 0.75, 0.5]), (1.0, [1.0, 0.5, 0.0])]
)
def test_soft_reflective_ceilings_fall_as_the_pods_fill(saturation: float, expected: Sequence[float]) -> None:
    """1 - i * s / (N - 1); a band that waits alone has all, on full pods too."""
    assert SoftReflectiveCeiling().ceilings(saturation, [9, 5, 1]) == expected
    assert SoftReflectiveCeiling().ceilings(saturation, [1]) == [1.0]


def test_soft_reflective_ceilings_take_what_is_more_than_full_for_full() -> None:
    """A saturation beyond 1, which the engine never tells, makes no ceiling negative."""
    assert SoftReflectiveCeiling().ceilings(7.0, [1, 0]) == [1.0, 0.0]


@pytest.mark.parametrize("policy", [StaticUsageLimit(0.5), PriorityHoldback(0.5), SoftReflectiveCeiling()])
def test_nothing_waits_and_nothing_is_answered(policy: UsageLimitPolicy) -> None:
    assert list(policy.ceilings(0.5, [])) == []


@pytest.mark.parametrize(
    ("policy", "name"),
    [
        (StaticUsageLimit(), "static"),
        (PriorityHoldback(0.5), "priority-holdback"),
        (SoftReflectiveCeiling(), "soft-reflective-ceiling"),
    ],
)
def test_each_has_the_name_that_files_use(policy: Any, name: str) -> None:
    assert policy.name == name


@pytest.mark.parametrize(
    ("make", "values", "message"),
    [
        (StaticUsageLimit, {"ceiling": 0}, "ceiling must be more than 0, not 0: no band could ever use a pod"),
        (StaticUsageLimit, {"ceiling": 1.1}, r"ceiling must lie in 0\.\.1, not 1\.1"),
        (StaticUsageLimit, {"ceiling": math.nan}, r"ceiling must lie in 0\.\.1, not nan"),
        (StaticUsageLimit, {"ceiling": True}, "ceiling must be a number, not True"),
        (PriorityHoldback, {"min_ceiling": -0.1}, r"min_ceiling must lie in 0\.\.1, not -0\.1"),
        (PriorityHoldback, {"min_ceiling": "0"}, "min_ceiling must be a number, not '0'"),
        (PriorityHoldback, {"min_ceiling": 0, "max_ceiling": 0}, "max_ceiling must be more than 0"),
        (
            PriorityHoldback,
            {"min_ceiling": 0.8, "max_ceiling": 0.5},
            r"min_ceiling must be at most max_ceiling, 0\.5, and is 0\.8",
        ),
        (PriorityHoldback, {"min_ceiling": 0.8, "domain": "log"}, 'domain must be "rank" or "value", not \'log\''),
    ],
)
def test_a_mistake_is_told_at_the_constructor(make: Any, values: dict[str, Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=f"^{message}"):
        make(**values)


# -- in the engine


@pytest.mark.anyio
async def test_a_low_band_alone_fills_the_pods_and_stops_early_while_a_higher_one_waits() -> None:
    """Bands without a waiting request do not count: they hold nobody back, before they come and after they went."""
    locator = StaticPodLocator([POD_A])
    limit = PriorityHoldback(0.5)
    async with (
        FlowController(locator=locator, detector=ConcurrencyDetector(4), usage_limit=limit) as controller,
        anyio.create_task_group() as tasks,
    ):
        callers = Callers(tasks, controller)
        held = [await callers.start(Request("low", -1)) for _ in range(4)]
        assert controller.stats().in_flight == 4  # alone: all of the pod
        low = await callers.start(Request("low", -1))
        high = [await callers.start(Request("high", 1)) for _ in range(2)]
        held[0].release()
        await settle()
        assert [caller.ticket is not None for caller in high] == [True, False]
        for caller in held[1:3]:
            caller.release()
            await settle()
        # Two are out, the higher band waits no longer: the low one has what is left.
        assert all(caller.ticket is not None for caller in high)
        assert low.ticket is not None
        await callers.finish()
        assert_idle(controller)


@pytest.mark.anyio
async def test_a_low_band_held_back_leaves_room_while_a_higher_one_waits_elsewhere() -> None:
    """With a higher band waiting for a pod that is not there, the lower one may fill its own to its ceiling alone."""

    class ByMetadata:
        def locate(self, metadata: Any) -> Sequence[Pod]:
            return [POD_A] if metadata else []

        def selection_key(self, metadata: Any) -> bool:
            return bool(metadata)

        def subscribe(self, callback: Any) -> Any:
            return lambda: None

    async with (
        FlowController(
            locator=ByMetadata(), detector=ConcurrencyDetector(4), usage_limit=PriorityHoldback(0.5)
        ) as controller,
        anyio.create_task_group() as tasks,
    ):
        callers = Callers(tasks, controller)
        high = await callers.start(Request("high", 1))
        low = [await callers.start(Request("low", 0, metadata={"pod": "a"})) for _ in range(4)]
        assert [caller.ticket is not None for caller in low] == [True, True, False, False]
        high.cancel()
        await settle()
        assert all(caller.ticket is not None for caller in low)
        await callers.finish()
        assert_idle(controller)


@pytest.mark.anyio
async def test_ceilings_that_rise_are_an_error_that_names_both_bands() -> None:
    """The event says which policy, which priorities and which numbers; the pass goes on without ceilings."""

    class UpsideDown:
        name = "upside-down"

        def ceilings(self, saturation: float, priorities: Sequence[int]) -> Sequence[float]:
            return [0.5, 0.75][: len(priorities)]

    locator, recorder = StaticPodLocator(), Recorder()
    async with (
        FlowController(
            locator=locator, detector=ConcurrencyDetector(1), usage_limit=UpsideDown(), observers=[recorder]
        ) as controller,
        anyio.create_task_group() as tasks,
    ):
        callers = Callers(tasks, controller)
        for priority in (7, -1):
            await callers.start(Request("a", priority))
        locator.set_pods([POD_A])
        await settle()
        event = recorder.of("plugin_error")[0]
        assert (event.kind, event.name) == ("usage limit", "upside-down")
        assert str(event.error) == (
            "ceilings must not rise towards lower priorities: 0.75 for priority -1 is more than 0.5 for priority 7"
        )
        await callers.finish()
        assert_idle(controller)


class Asked:
    """A constant policy that counts how often it is asked."""

    def __init__(self, ceiling: float, *, says_so: bool) -> None:
        self.ceiling = ceiling
        self.calls = 0
        if says_so:
            self.constant_ceiling = ceiling

    def ceilings(self, saturation: float, priorities: Sequence[int]) -> Sequence[float]:
        self.calls += 1
        return [self.ceiling] * len(priorities)


def run(limit: Any, most: int, steps: Sequence[tuple[str, int]]) -> list[list[int]]:
    """Submit and release as told; return, after each step, which arrivals hold a ticket."""
    core = ShardProcessor(
        FlowControlConfig(),
        locator=StaticPodLocator([POD_A, Pod("b", "10.0.0.2", 8000)]),
        detector=ConcurrencyDetector(most),
        usage_limit=limit,
    )
    results: list[Any] = []
    history: list[list[int]] = []
    for now, (step, number) in enumerate(steps):
        if step == "submit":
            results.append(core.submit(Request("a", number), float(now)))
        else:
            live = [ticket for ticket in map(ticket_of, results) if ticket is not None and not ticket.is_released]
            if live:
                live[number % len(live)].release()
        core.advance(float(now))
        history.append([index for index, result in enumerate(results) if ticket_of(result) is not None])
    for ticket in filter(None, map(ticket_of, results)):
        ticket.release()
    return history


def ticket_of(result: Any) -> Ticket | None:
    found = result.result if isinstance(result, Item) else result
    return found if isinstance(found, Ticket) else None


STEPS = st.lists(
    st.one_of(st.tuples(st.just("submit"), st.integers(-1, 1)), st.tuples(st.just("release"), st.integers(0, 7))),
    max_size=40,
)


@given(STEPS)
def test_a_constant_ceiling_is_as_good_as_smaller_pods(steps: Sequence[tuple[str, int]]) -> None:
    """Half of pods with room for 8 is all of pods with room for 4, step by step; asked or not makes no difference."""
    smaller = run(None, 4, steps)
    assert run(StaticUsageLimit(0.5), 8, steps) == smaller
    assert run(Asked(0.5, says_so=False), 8, steps) == smaller


@pytest.mark.parametrize("limit", [StaticUsageLimit(), StaticUsageLimit(0.5), PriorityHoldback(0.5, 0.5)])
def test_a_constant_ceiling_says_so_and_the_engine_never_asks(limit: Any) -> None:
    """What holds no band back costs nothing: arrivals may pass those that wait in other lanes or lower bands."""
    steps = [("submit", 0)] * 9 + [("release", 0)] * 3
    asked = Asked(limit.constant_ceiling, says_so=True)
    assert run(asked, 4, steps) == run(limit, 4, steps)
    assert asked.calls == 0
    assert PriorityHoldback(0.4, 0.5).constant_ceiling is None


@pytest.mark.parametrize(
    ("constant", "message"),
    [
        (1.5, r"constant_ceiling of Asked must lie in 0\.\.1, not 1\.5"),
        ("1", "constant_ceiling of Asked must be a number or None, not '1'"),
    ],
)
def test_a_constant_ceiling_that_is_none_is_refused_at_once(constant: Any, message: str) -> None:
    limit = Asked(constant, says_so=True)
    with pytest.raises((TypeError, ValueError), match=message):
        FlowController(locator=StaticPodLocator(), detector=ConcurrencyDetector(1), usage_limit=limit)
