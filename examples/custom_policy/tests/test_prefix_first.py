"""The policy keeps every policy's promises, and its own."""

from pathlib import Path
from typing import Any

import anyio
import hypothesis.strategies as st
import pytest
from hypothesis import given

from flowgate import FlowControlConfig, FlowController, PriorityBandConfig, Request, Ticket
from flowgate.configfile import ConfigError, load_settings
from flowgate.contracts import Dispatched, IntraFlowDispatchPolicy
from flowgate.queues import PriorityQueue
from flowgate.testing import Item, PodPool, Recorder, VirtualClock
from flowgate.testing.suites import DispatchPolicySuite
from prefix_first import PrefixFirst

EXAMPLE = Path(__file__).parents[1] / "gateway.toml"


class TestPrefixFirst(DispatchPolicySuite):
    """All that the engine expects of a dispatch policy."""

    @pytest.fixture
    def policy(self) -> IntraFlowDispatchPolicy:
        """Answer with the policy under test."""
        return PrefixFirst()


def asked(hint: object, at: float = 0.0) -> Item:
    return Item(enqueue_time=at, request=Request("a", metadata={"cached-prefix": hint}))


def order(policy: PrefixFirst, items: list[Item]) -> list[Item]:
    queue = PriorityQueue(policy.comparator)
    for item in items:
        queue.add(item)
    return list(queue)  # type: ignore[arg-type] # they are those that were put in


def test_what_is_cached_goes_first() -> None:
    """Of requests that came together, by how much of the prompt is cached; ties by arrival."""
    none, half, whole, other = asked(None), asked(0.5), asked("1.0"), asked(0)
    assert order(PrefixFirst(), [none, half, whole, other]) == [whole, half, none, other]


@given(
    arrivals=st.lists(
        st.tuples(st.floats(0, 30), st.one_of(st.none(), st.floats(), st.integers(), st.text(), st.booleans())),
        max_size=40,
    ),
    head_start=st.floats(0.1, 10),
)
def test_nobody_is_overtaken_by_who_came_a_head_start_later(
    arrivals: list[tuple[float, object]], head_start: float
) -> None:
    """Whatever the hints say: whoever has waited so long goes before all who come from then on."""
    items = [asked(hint, at) for at, hint in sorted(arrivals, key=lambda arrival: arrival[0])]
    served = order(PrefixFirst(head_start=head_start), items)
    for place, item in enumerate(served):
        for later in served[place + 1 :]:
            assert item.enqueue_time <= later.enqueue_time + head_start


@pytest.mark.parametrize("hint", [None, "half", float("nan"), -0.1, 1.1, [1], "1e999", 10**400])
def test_what_is_no_share_is_no_hint(hint: object) -> None:
    """A bad hint costs a request nothing."""
    assert PrefixFirst().worth({"cached-prefix": hint}) == 0.0


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        ({"head_start": 0}, ValueError, "head_start must be finite and more than 0 seconds, not 0"),
        ({"head_start": "5"}, TypeError, "head_start must be a number of seconds, not '5'"),
        ({"metadata_key": ""}, ValueError, "metadata_key must not be empty"),
        ({"metadata_key": 1}, TypeError, "metadata_key must be a str, not 1"),
    ],
)
def test_a_wrong_argument_is_named(arguments: dict[str, Any], kind: type[Exception], message: str) -> None:
    """At the constructor, with the rule."""
    with pytest.raises(kind, match=message):
        PrefixFirst(**arguments)


@pytest.fixture
def flow_control_config() -> FlowControlConfig:
    """Let the `flow_controller` of the tests below use the policy."""
    return FlowControlConfig([PriorityBandConfig(0, dispatch=PrefixFirst(head_start=3.0))])


async def test_the_engine_serves_what_is_cached_first_and_then_by_age(
    flow_controller: FlowController, pods: PodPool, flow_events: Recorder, virtual_clock: VirtualClock
) -> None:
    """Requests wait for a pod: a cached one that comes two seconds late is first, one four seconds late is not."""
    async with flow_controller, anyio.create_task_group() as tasks:
        for name, hint in (("old", 0.0), ("cached", 1.0), ("late", 1.0)):
            request = Request("tenant", metadata={"cached-prefix": hint}, request_id=name)
            tasks.start_soon(serve, flow_controller, request)
            await virtual_clock.advance(2)
        pods.add()
    assert [event.request.request_id() for event in flow_events.of(Dispatched)] == ["cached", "old", "late"]


async def serve(controller: FlowController, request: Request) -> None:
    async with controller.admitted(request):
        await anyio.sleep(1)


@pytest.mark.anyio
async def test_a_file_names_it() -> None:
    """Installed, it is known by the name of its entry point, with its parameters."""
    settings = load_settings(EXAMPLE)
    assert settings.config.bands[0].dispatch == PrefixFirst(head_start=3)
    async with settings.new_controller() as controller:
        ticket = await controller.enqueue_and_wait(Request("tenant"))
        assert isinstance(ticket, Ticket)
        ticket.release()


def test_a_mistake_in_the_file_is_told_with_its_place() -> None:
    """As for flowgate's own policies."""
    with pytest.raises(ConfigError, match=r"bands\[0\]\.dispatch\.head_start"):
        load_settings({"bands": [{"priority": 0, "dispatch": {"name": "prefix-first", "head_start": -1}}]})
