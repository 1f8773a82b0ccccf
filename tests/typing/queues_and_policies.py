"""Never run: each queue and policy is what its contract says, as the type checkers see it."""

from collections.abc import Callable

from flowgate.contracts import (
    BandView,
    ClockBound,
    Costed,
    FlowGroup,
    FlowQueueView,
    InterFlowDispatchPolicy,
    IntraFlowDispatchPolicy,
    ItemComparator,
    QueueSelector,
    RankedGroup,
    SafeQueue,
)
from flowgate.policies import (
    BestHead,
    DeficitRoundRobin,
    EarliestDeadlineFirst,
    Fcfs,
    LeastAttainedService,
    QueueSelectorPolicy,
    RoundRobin,
    SloDeadline,
    StartTimeFairQueuing,
    VirtualTokenCounter,
    adapt_fairness,
)
from flowgate.policies._best_head import _Heads  # pyright: ignore[reportPrivateUsage]
from flowgate.policies._deficit_round_robin import _Ring  # pyright: ignore[reportPrivateUsage]
from flowgate.policies._levels import Levels
from flowgate.queues import ListQueue, PriorityQueue
from flowgate.testing._fairness_bounds import BoundedFairnessPolicy


class Longest:
    def select_queue(self, band: BandView) -> FlowQueueView | None:
        return max(band.queues, key=len)


queues: list[SafeQueue] = [ListQueue(), PriorityQueue(Fcfs().comparator)]
factories: list[Callable[[ItemComparator], SafeQueue]] = [ListQueue, PriorityQueue]
dispatch: list[IntraFlowDispatchPolicy] = [Fcfs(), EarliestDeadlineFirst(), SloDeadline("x-slo-ttft-ms", unit=0.001)]
selector: QueueSelector = Longest()
fairness: list[InterFlowDispatchPolicy] = [
    BestHead(),
    RoundRobin(),
    QueueSelectorPolicy(selector, 0),
    adapt_fairness(selector, 0),
    adapt_fairness(RoundRobin(), 0),
]
bounded: list[BoundedFairnessPolicy] = [
    RoundRobin(),
    DeficitRoundRobin(quantum=1_000, weights={"a": 2}, cost="tokens"),
    StartTimeFairQueuing(weights=lambda key: key.priority + 1.0, cost=lambda request: request.byte_size()),
    VirtualTokenCounter(max_idle_flows=10),
    LeastAttainedService(half_life=10),
]
costed: list[Costed] = [DeficitRoundRobin(), StartTimeFairQueuing(), VirtualTokenCounter(), LeastAttainedService()]
clock_bound: ClockBound = LeastAttainedService()
group: FlowGroup = _Heads()
groups: list[FlowGroup] = [_Ring(DeficitRoundRobin()), Levels(max_idle_flows=10)]
ranked: RankedGroup = _Heads()
