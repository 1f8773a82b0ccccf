"""Admission control for Python gateways: requests wait for pods, and go in the right order."""

from flowgate.config import FlowControlConfig, PriorityBandConfig
from flowgate.contracts import FlowKey, Pod, PodLoad, PodMetrics
from flowgate.controller import FlowController
from flowgate.errors import FlowControlError, RequestEvicted, RequestRejected
from flowgate.outcomes import QueueOutcome
from flowgate.requests import Request
from flowgate.ticket import Ticket

__all__ = [
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
    "Ticket",
]
