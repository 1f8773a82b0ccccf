"""Which of its candidates a request goes to: filters, scorers and a picker, each of them replaceable."""

from flowgate_epp.scheduling._contracts import Closed, Filter, Picked, Picker, Schedules, Scorer
from flowgate_epp.scheduling._faults import Faults
from flowgate_epp.scheduling._filters import FreshMetrics, LabelFilter
from flowgate_epp.scheduling._loads import LeastInFlight, LeastKvCache, LeastQueue
from flowgate_epp.scheduling._pickers import MaxScore, WeightedRandom
from flowgate_epp.scheduling._prefixes import PrefixAffinity
from flowgate_epp.scheduling._requests import InferenceRequest
from flowgate_epp.scheduling._scheduler import Scheduler
from flowgate_epp.scheduling._sessions import SessionAffinity
from flowgate_epp.scheduling._settings import SchedulerSettings, WeightedScorer

__all__ = [
    "Closed",
    "Faults",
    "Filter",
    "FreshMetrics",
    "InferenceRequest",
    "LabelFilter",
    "LeastInFlight",
    "LeastKvCache",
    "LeastQueue",
    "MaxScore",
    "Picked",
    "Picker",
    "PrefixAffinity",
    "Scheduler",
    "SchedulerSettings",
    "Schedules",
    "Scorer",
    "SessionAffinity",
    "WeightedRandom",
    "WeightedScorer",
]
