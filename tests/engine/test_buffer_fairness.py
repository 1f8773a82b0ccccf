"""Room in the queue is shared, too: one flooding flow keeps nobody out."""

import math
import random
import sys
from collections import Counter
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given

from flowgate import FlowControlConfig, PriorityBandConfig, QueueOutcome, Request
from flowgate.contracts import Dropped
from flowgate.items import Item
from flowgate.locators import StaticPodLocator
from flowgate.longest import Longest
from flowgate.processor import ShardProcessor
from flowgate.saturation import ConcurrencyDetector


def shop(*, config: dict[str, Any] | None = None, **band: Any) -> ShardProcessor:
    bands = [PriorityBandConfig(0, **{"when_full": "longest-flow", **band}), PriorityBandConfig(1)]
    return ShardProcessor(
        FlowControlConfig(bands, default_ttl=math.inf, **(config or {})),
        locator=StaticPodLocator(),
        detector=ConcurrencyDetector(1),
    )


def fill(core: ShardProcessor, flows: str, size: int = 0, priority: int = 0) -> list[Item]:
    items = [core.submit(Request(flow, priority, size), 0.0) for flow in flows]
    assert all(isinstance(item, Item) for item in items)
    return [item for item in items if isinstance(item, Item)]


def waiting(core: ShardProcessor) -> str:
    return "".join(item.flow_key.id for item in core.shard.waiting_items())


def refused(core: ShardProcessor, flow: str, size: int = 0, priority: int = 0) -> Dropped:
    result = core.submit(Request(flow, priority, size), 0.0)
    assert isinstance(result, Dropped)
    return result


# -- displacement of the longest flow


def test_the_longest_flow_s_newest_request_makes_room() -> None:
    """It hears why; nobody else is touched."""
    core = shop(max_requests=5)
    items = fill(core, "aabaa")
    fill(core, "c")
    assert waiting(core) == "aabac"
    dropped = items[4].result
    assert isinstance(dropped, Dropped)
    assert dropped.outcome is QueueOutcome.EVICTED_DISPLACED
    assert dropped.message == "a request of flow 'c', which is shorter, took its place in band 0"


def test_nobody_is_pushed_out_by_a_flow_that_would_become_longer() -> None:
    """Otherwise two flows would push each other out in turn."""
    core = shop(max_requests=4)
    fill(core, "aaab")
    fill(core, "b")
    assert waiting(core) == "aabb"
    for flow in "ab":
        dropped = refused(core, flow)
        assert (dropped.outcome, dropped.message) == (
            QueueOutcome.REJECTED_NO_PODS,
            "band 0 holds 4 of 4 requests",
        )


def test_it_is_off_unless_asked_for() -> None:
    """By default whoever comes first has the room."""
    core = shop(max_requests=3, when_full="reject")
    fill(core, "aaa")
    refused(core, "b")
    assert waiting(core) == "aaa"


def test_bytes_are_shared_like_requests() -> None:
    """Under a byte limit the flow with most bytes is the longest, and as many of its requests go as are needed."""
    core = shop(max_bytes=100)
    fill(core, "a", size=40)
    fill(core, "bbb", size=10)
    fill(core, "a", size=30)
    fill(core, "c", size=25)
    assert waiting(core) == "abbbc"
    assert refused(core, "c", size=20).message == "band 0 holds 95 of 100 bytes and 20 more do not fit"
    assert waiting(core) == "abbbc"


def test_a_request_that_one_flow_cannot_make_room_for_is_rejected() -> None:
    """All or nothing: nobody leaves in vain."""
    core = shop(max_bytes=100)
    fill(core, "aabb", size=25)
    refused(core, "c", size=60)
    assert waiting(core) == "aabb"


def test_under_the_controller_s_limit_lower_bands_go_first() -> None:
    """Only where nobody below can make room does the longest flow of the arrival's own band."""
    core = shop(config={"max_requests": 4})
    fill(core, "x", priority=-1)
    fill(core, "aaa")
    fill(core, "b")
    assert waiting(core) == "aaab"
    fill(core, "c")
    assert waiting(core) == "aabc"


def test_a_full_band_relieves_the_full_controller_as_well() -> None:
    """The longest flow's request that leaves counts at both levels."""
    core = shop(max_requests=3, config={"max_requests": 4})
    fill(core, "x", priority=1)
    fill(core, "aaa")
    fill(core, "b")
    assert waiting(core) == "xaab"


def test_where_both_limits_are_met_the_flow_stays_longer_and_larger() -> None:
    """One large request of a new flow does not push hundreds of small ones out, to hold more than their flow then."""
    core = shop(max_requests=10, max_bytes=10)
    fill(core, "a" * 10, size=1)
    assert refused(core, "b", size=6).message == "band 0 holds 10 of 10 requests"
    fill(core, "b", size=5)
    assert waiting(core) == "aaaaab"


def test_those_over_a_lowered_limit_stay() -> None:
    """An arrival makes room for itself alone, not for all that a smaller limit no longer allows."""
    core = shop(max_requests=100)
    fill(core, "a" * 50, size=1)
    small = PriorityBandConfig(0, max_requests=5, max_bytes=20, when_full="longest-flow")
    core.reconfigure(FlowControlConfig([small], default_ttl=math.inf), 0.0)
    fill(core, "b", size=2)
    assert waiting(core) == "a" * 48 + "b"
    core.reconfigure(FlowControlConfig([PriorityBandConfig(0)], max_requests=5, default_ttl=math.inf), 0.0)
    fill(core, "c", priority=1)
    assert waiting(core) == "a" * 48 + "c"


def test_ids_that_share_the_overflow_flow_are_as_long_as_they_are() -> None:
    """Nobody is pushed out for the length of others, and each id is displaced for its own."""
    core = shop(max_requests=8, config={"max_flows": 1})
    fill(core, "kept" + "xxxy" + "zw")
    assert waiting(core) == "keptxyzw"
    refused(core, "v")


def test_a_rejection_looks_at_nobody() -> None:
    """However many wait, an arrival that cannot be helped is refused without counting them."""
    core = shop(max_bytes=2_000, config={"max_bytes": 2_000})
    fill(core, "a" * 2_000, size=1)
    calls = 0

    def count_calls(*_: object) -> None:
        nonlocal calls
        calls += 1

    sys.setprofile(count_calls)
    try:
        refused(core, "b", size=1_500)
    finally:
        sys.setprofile(None)
    assert calls < 200


def test_the_longest_flow_is_known_whatever_left_it() -> None:
    """Dispatch, cancellation and displacement shorten a flow alike."""
    core = shop(max_requests=6)
    items = fill(core, "aaaabb")
    for item in items[:3]:
        core.cancel(item, 0.0)
    fill(core, "bcb")
    assert waiting(core) == "abbbcb"
    fill(core, "a")
    assert waiting(core) == "abbbca"
    fill(core, "d")
    assert waiting(core) == "abbcad"


def test_it_can_be_switched_on_while_requests_wait() -> None:
    """Those who wait already are known by flow from then on, and no longer once it is off."""
    core = shop(max_requests=3, when_full="reject")
    fill(core, "aaa")
    on = FlowControlConfig([PriorityBandConfig(0, max_requests=3, when_full="longest-flow")], default_ttl=math.inf)
    core.reconfigure(on, 0.0)
    fill(core, "b")
    assert waiting(core) == "aab"
    core.reconfigure(FlowControlConfig([PriorityBandConfig(0, max_requests=3)], default_ttl=math.inf), 0.0)
    refused(core, "c")
    assert core.shard.registry.bands[0].newest is None


@pytest.mark.parametrize("tenants", [1, 3, 9])
@pytest.mark.parametrize("by_bytes", [False, True], ids=["requests", "bytes"])
def test_a_flood_leaves_the_others_their_share_of_the_room(tenants: int, by_bytes: bool) -> None:
    """One tenant sends a hundred times its share; each other may hold what max-min fairness gives it."""
    room = 60
    core = shop(**({"max_requests": None, "max_bytes": room * 10} if by_bytes else {"max_requests": room}))
    chance = random.Random(tenants)
    share = room // (tenants + 1)
    lost: Counter[str] = Counter()
    for _ in range(room):
        for flow in ["flood"] * 100 + [f"tenant-{number}" for number in range(tenants)]:
            result = core.submit(Request(flow, byte_size=10), 0.0)
            lost[flow] += isinstance(result, Dropped)
        if chance.random() < 0.5:
            core.cancel(chance.choice(core.shard.waiting_items()), 0.0)
    held = Counter(item.flow_key.id for item in core.shard.waiting_items())
    assert all(held[f"tenant-{number}"] >= share - 1 for number in range(tenants))
    assert max(held.values()) - min(held.values()) <= 2
    assert lost["flood"] > 50 * room


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.integers(1, 30), st.booleans()), max_size=120))
def test_no_flow_below_its_share_is_ever_turned_away(steps: list[tuple[str, int, bool]]) -> None:
    """An arrival is rejected only where no other flow is longer than its own would be."""
    core = shop(max_requests=8)
    for flow, _, leaves in steps:
        before = Counter(item.flow_key.id for item in core.shard.waiting_items())
        result = core.submit(Request(flow), 0.0)
        if isinstance(result, Dropped):
            assert max(before.values()) <= before[flow] + 1
        if leaves and core.shard.registry.queued:
            core.cancel(core.shard.waiting_items()[0], 0.0)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 9)), max_size=200))
def test_the_longest_of_many_is_found_in_little_memory(changes: list[tuple[int, int]]) -> None:
    """The heap agrees with a look at everybody, and holds no more than twice as many, and a few."""
    lengths = dict.fromkeys(range(6), 0)
    longest: Longest[int] = Longest()
    for key, length in changes:
        lengths[key] = length
        longest.put(key, length)
        top = longest.get()
        assert lengths.get(top, 0) == max(lengths.values())  # type: ignore[arg-type]
        assert (top is None) == (not any(lengths.values()))
        assert len(longest) <= 2 * 6 + 16


# -- limits of each flow


def test_a_flow_s_own_limits_bind_it_alone() -> None:
    """In requests and in bytes; others go on, and the error says whose limit it was."""
    core = shop(max_flow_requests=2, max_flow_bytes=50)
    fill(core, "aa", size=10)
    assert refused(core, "a").message == "flow 'a' holds 2 of 2 requests"
    fill(core, "b", size=30)
    assert refused(core, "b", size=30).message == "flow 'b' holds 30 of 50 bytes and 30 more do not fit"
    fill(core, "b", size=20)
    fill(core, "c", size=50)
    assert waiting(core) == "aabbc"


def test_a_flow_s_own_limit_displaces_nobody() -> None:
    """More room for others would not make its own any larger."""
    core = shop(max_flow_requests=1, max_requests=2)
    fill(core, "ab")
    assert refused(core, "a").message == "flow 'a' holds 1 of 1 requests"
    assert waiting(core) == "ab"


def test_a_request_larger_than_its_flow_may_hold_can_never_wait() -> None:
    """It is told so for good, by the smallest limit that it breaks."""
    core = shop(max_flow_bytes=10, max_bytes=100)
    dropped = refused(core, "a", size=11)
    assert (dropped.outcome, dropped.message) == (
        QueueOutcome.REJECTED_TOO_LARGE,
        "its 11 bytes exceed the limit of 10",
    )


def test_ids_that_share_the_overflow_flow_have_limits_of_their_own() -> None:
    """A full table of flows makes nobody pay for another."""
    core = shop(max_flow_requests=2, max_flow_bytes=20, config={"max_flows": 1})
    fill(core, "kept")
    fill(core, "xyxy"[:2], size=5)
    fill(core, "x", size=15)
    assert refused(core, "x").message == "flow 'x' holds 2 of 2 requests"
    assert refused(core, "y", size=16).message == "flow 'y' holds 5 of 20 bytes and 16 more do not fit"
    fill(core, "y", size=15)
    for item in core.shard.waiting_items():
        core.cancel(item, 0.0)
    assert core.shard.registry.queued == 0


@pytest.mark.parametrize(
    ("field", "value", "kind", "message"),
    [
        ("max_flow_requests", -1, ValueError, "max_flow_requests must be 0 or more, not -1"),
        ("max_flow_bytes", 1.5, TypeError, "max_flow_bytes must be an int, not 1.5"),
        ("when_full", "panic", ValueError, "when_full must be one of 'reject', 'longest-flow', not 'panic'"),
    ],
)
def test_bad_limits_are_refused(field: str, value: Any, kind: type[Exception], message: str) -> None:
    """The error names the field, the value and the rule."""
    with pytest.raises(kind, match=message):
        PriorityBandConfig(0, **{field: value})
