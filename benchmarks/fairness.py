"""What a choice between flows costs, by how many wait: dispatch after dispatch through the synchronous core."""

import math
from functools import partial
from itertools import count

from benchmarks.rounds import Case, Stopwatch
from flowgate import FlowControlConfig, Pod, PriorityBandConfig, Request, Ticket
from flowgate.contracts import InterFlowDispatchPolicy
from flowgate.items import Item
from flowgate.locators import StaticPodLocator
from flowgate.policies import (
    BestHead,
    DeficitRoundRobin,
    LeastAttainedService,
    RoundRobin,
    StartTimeFairQueuing,
    VirtualTokenCounter,
)
from flowgate.processor import ShardProcessor
from flowgate.saturation import ConcurrencyDetector

__all__ = ["choices", "fairness"]

_POLICIES: tuple[InterFlowDispatchPolicy, ...] = (
    RoundRobin(),
    BestHead(),
    DeficitRoundRobin(),
    StartTimeFairQueuing(),
    VirtualTokenCounter(),
    LeastAttainedService(),
)
_TARGET = 3.0


def fairness(active: tuple[int, ...], times: int) -> list[list[Case]]:
    """Return a suite for each policy: one case for each number of waiting flows, as a multiple of the first."""
    return [_suite(policy, active, times) for policy in _POLICIES]


def _suite(policy: InterFlowDispatchPolicy, active: tuple[int, ...], times: int) -> list[Case]:
    names = [f"{policy.name}, {flows:,} flows" for flows in active]
    return [
        Case(
            name,
            partial(choices, policy, flows, times),
            {} if name == names[0] else {names[0]: _TARGET if name == names[-1] else None},
        )
        for name, flows in zip(names, active, strict=True)
    ]


async def choices(policy: InterFlowDispatchPolicy, flows: int, times: int) -> float:
    """Let every flow wait, then release, dispatch and submit anew, so that as many wait all the time."""
    band = PriorityBandConfig(0, max_requests=None, max_bytes=None, fairness=policy)
    core = ShardProcessor(
        FlowControlConfig([band], default_ttl=math.inf, max_flows=2 * flows),
        locator=StaticPodLocator([Pod("pod", "10.0.0.1", 8000)]),
        detector=ConcurrencyDetector(1),
    )
    core.ledger.hears = frozenset()
    numbers = count()
    holder = core.submit(Request("holder"), 0.0)
    assert isinstance(holder, Ticket)
    for flow in range(flows):
        core.submit(_request(f"flow-{flow}", next(numbers)), 0.0)
    with Stopwatch() as watch:
        for _ in range(times):
            holder = _next(core, holder)
            core.submit(_request(holder.request.flow_key().id, next(numbers)), 0.0)
    holder.release()
    core.close(0.0)
    return watch.seconds / times


def _next(core: ShardProcessor, holder: Ticket) -> Ticket:
    holder.release()
    core.advance(0.0)
    (item,), core.ledger.finished = core.ledger.finished, []
    assert isinstance(item, Item)
    assert isinstance(item.result, Ticket)
    return item.result


def _request(flow: str, number: int) -> Request:
    return Request(flow, 0, 100 + number % 9_000)
