"""Pure decisions: who goes next within a flow, and between flows; how full a band may make a pod."""

from flowgate.policies._best_head import BestHead
from flowgate.policies._deficit_round_robin import DeficitRoundRobin
from flowgate.policies._dispatch import EarliestDeadlineFirst, Fcfs
from flowgate.policies._least_attained_service import LeastAttainedService
from flowgate.policies._round_robin import RoundRobin
from flowgate.policies._selector import QueueSelectorPolicy, adapt_fairness
from flowgate.policies._slo import SloDeadline
from flowgate.policies._start_time import StartTimeFairQueuing
from flowgate.policies._usage_limits import PriorityHoldback, SoftReflectiveCeiling, StaticUsageLimit
from flowgate.policies._virtual_token_counter import VirtualTokenCounter

__all__ = [
    "BestHead",
    "DeficitRoundRobin",
    "EarliestDeadlineFirst",
    "Fcfs",
    "LeastAttainedService",
    "PriorityHoldback",
    "QueueSelectorPolicy",
    "RoundRobin",
    "SloDeadline",
    "SoftReflectiveCeiling",
    "StartTimeFairQueuing",
    "StaticUsageLimit",
    "VirtualTokenCounter",
    "adapt_fairness",
]
