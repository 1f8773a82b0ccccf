"""Pure decisions: who goes next within a flow, and between flows."""

from flowgate.policies._best_head import BestHead
from flowgate.policies._dispatch import EarliestDeadlineFirst, Fcfs
from flowgate.policies._round_robin import RoundRobin
from flowgate.policies._selector import QueueSelectorPolicy, adapt_fairness
from flowgate.policies._slo import SloDeadline

__all__ = [
    "BestHead",
    "EarliestDeadlineFirst",
    "Fcfs",
    "QueueSelectorPolicy",
    "RoundRobin",
    "SloDeadline",
    "adapt_fairness",
]
