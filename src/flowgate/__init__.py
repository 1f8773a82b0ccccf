"""Admission control for Python gateways: requests wait for pods, and go in the right order."""

from flowgate.config import FlowControlConfig, PriorityBandConfig
from flowgate.contracts import FlowKey, Pod, PodLoad, PodMetrics
from flowgate.controller import FlowController
from flowgate.errors import FlowControlError, RequestEvicted, RequestRejected
from flowgate.explanation import Explanation
from flowgate.forecast import RetryAfter
from flowgate.outcomes import QueueOutcome
from flowgate.requests import Request
from flowgate.shares import BandShares
from flowgate.ticket import Ticket

__all__ = [
    "BandShares",
    "Explanation",
    "FlowControlConfig",
    "FlowControlError",
    "FlowController",
    "FlowKey",
    "Pod",
    "PodLoad",
    "PodMetrics",
    "PriorityBandConfig",
    "QueueOutcome",
    "Request",
    "RequestEvicted",
    "RequestRejected",
    "RetryAfter",
    "Ticket",
]
