"""Never run: each queue and policy is what its contract says, as the type checkers see it."""

from collections.abc import Callable

from flowgate.contracts import (
    BandView,
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
    EarliestDeadlineFirst,
    Fcfs,
    QueueSelectorPolicy,
    RoundRobin,
    SloDeadline,
    adapt_fairness,
)
from flowgate.policies._best_head import _Heads  # pyright: ignore[reportPrivateUsage]
from flowgate.queues import ListQueue, PriorityQueue


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
group: FlowGroup = _Heads()
ranked: RankedGroup = _Heads()
