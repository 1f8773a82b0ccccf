"""What you may implement, and the records that are exchanged."""

from flowgate.contracts._admission import AdmissionController
from flowgate.contracts._observers import (
    Dispatched,
    Dropped,
    Enqueued,
    Observer,
    PassEnded,
    PluginFailed,
    PodsChanged,
    Released,
)
from flowgate.contracts._pods import (
    ChangeCallback,
    ClockBound,
    Incremental,
    Pod,
    PodLoad,
    PodLocator,
    PodMetrics,
    PoolCallback,
    SelectionKeyed,
    TimeVarying,
    Watchable,
)
from flowgate.contracts._policies import (
    BandView,
    Costed,
    FlowGroup,
    FlowQueueView,
    InterFlowDispatchPolicy,
    IntraFlowDispatchPolicy,
    QueueSelector,
    RankedGroup,
    Weighted,
)
from flowgate.contracts._queues import ItemComparator, QueueCapability, QueueItem, SafeQueue
from flowgate.contracts._requests import FlowControlRequest, FlowKey
from flowgate.contracts._saturation import ReleaseAware, SaturationDetector, UsageLimitPolicy
from flowgate.contracts._tickets import AdmissionTicket, ReleaseResult

__all__ = [
    "AdmissionController",
    "AdmissionTicket",
    "BandView",
    "ChangeCallback",
    "ClockBound",
    "Costed",
    "Dispatched",
    "Dropped",
    "Enqueued",
    "FlowControlRequest",
    "FlowGroup",
    "FlowKey",
    "FlowQueueView",
    "Incremental",
    "InterFlowDispatchPolicy",
    "IntraFlowDispatchPolicy",
    "ItemComparator",
    "Observer",
    "PassEnded",
    "PluginFailed",
    "Pod",
    "PodLoad",
    "PodLocator",
    "PodMetrics",
    "PodsChanged",
    "PoolCallback",
    "QueueCapability",
    "QueueItem",
    "QueueSelector",
    "RankedGroup",
    "ReleaseAware",
    "ReleaseResult",
    "Released",
    "SafeQueue",
    "SaturationDetector",
    "SelectionKeyed",
    "TimeVarying",
    "UsageLimitPolicy",
    "Watchable",
    "Weighted",
]
