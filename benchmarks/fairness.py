"""What a choice between flows costs, by how many wait: dispatch after dispatch through the synchronous core."""

import gc
import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import count
from types import TracebackType
from typing import Self

from benchmarks.floor import bare_queue
from benchmarks.rounds import Case, Figure, Stopwatch, measure
from benchmarks.sizes import Sizes
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

__all__ = ["POLICIES", "choice"]

POLICIES: tuple[InterFlowDispatchPolicy, ...] = (
    RoundRobin(),
    BestHead(),
    DeficitRoundRobin(),
    StartTimeFairQueuing(),
    VirtualTokenCounter(),
    LeastAttainedService(),
)
"""Every fairness policy, as it comes."""

_TARGET = 3.0
_SLOTS = 64


def choice(sizes: Sizes) -> list[Figure]:
    """Measure each policy by the number of waiting flows, as a multiple of what it costs with the fewest."""
    return [figure for policy in POLICIES for figure in _measure(policy, sizes)]


def _measure(policy: InterFlowDispatchPolicy, sizes: Sizes) -> list[Figure]:
    floor = f"bare futures, beside {policy.name}"
    callers = max(1, sizes.choices // 10)
    cases = [Case(floor, partial(bare_queue, callers, _SLOTS, sizes.choices // callers))]
    names = [f"{policy.name}, {flows:,} flows" for flows in sizes.active]
    with ExitStack() as contests:
        for name, flows in zip(names, sizes.active, strict=True):
            versus: dict[str, float | None] = {floor: None}
            if name != names[0]:
                versus[names[0]] = _TARGET if name == names[-1] else None
            contest = contests.enter_context(_Contest(policy, flows))
            cases.append(Case(name, partial(contest.choose, sizes.choices), versus))
        contests.enter_context(_frozen_heap())
        return measure(cases, sizes.few_rounds)


@contextmanager
def _frozen_heap() -> Iterator[None]:
    # Or to sweep up before each round would take longer than the round.
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


class _Contest:
    """As many flows wait all the time: who was dispatched comes again, so rounds go on where the last one ended."""

    def __init__(self, policy: InterFlowDispatchPolicy, flows: int) -> None:
        band = PriorityBandConfig(0, max_requests=None, max_bytes=None, fairness=policy)
        self._core = ShardProcessor(
            FlowControlConfig([band], default_ttl=math.inf, max_flows=2 * flows),
            locator=StaticPodLocator([Pod("pod", "10.0.0.1", 8000)]),
            detector=ConcurrencyDetector(1),
        )
        self._core.ledger.hears = frozenset()
        self._numbers = count()
        holder = self._core.submit(Request("holder"), 0.0)
        assert isinstance(holder, Ticket)
        self._holder = holder
        for flow in range(flows):
            self._submit(f"flow-{flow}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._holder.release()
        self._core.close(0.0)

    async def choose(self, times: int) -> float:
        """Release, dispatch and submit anew."""
        with Stopwatch() as watch:
            for _ in range(times):
                self._next()
                self._submit(self._holder.request.flow_key().id)
        return watch.seconds / times

    def _next(self) -> None:
        core = self._core
        self._holder.release()
        core.advance(0.0)
        (item,), core.ledger.finished = core.ledger.finished, []
        assert isinstance(item, Item)
        assert isinstance(item.result, Ticket)
        self._holder = item.result

    def _submit(self, flow: str) -> None:
        self._core.submit(Request(flow, 0, 100 + next(self._numbers) % 9_000), 0.0)
