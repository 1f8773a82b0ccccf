"""What must hold when a request ends without a slot: the reason is true, and the time is right."""

import math

from flowgate.contracts import Dropped
from flowgate.outcomes import QueueOutcome
from flowgate.testing._model import Model
from flowgate.testing._model_parts import MovableRequest
from flowgate.testing._model_room import exceeds_a_limit, may_displace

__all__ = ["check_expiry", "check_rejection", "check_wait"]

_OF_ITSELF = (QueueOutcome.REJECTED_INVALID, QueueOutcome.REJECTED_SHUTDOWN)
_FOR_LIMITS = (QueueOutcome.REJECTED_CAPACITY, QueueOutcome.REJECTED_NO_PODS)


def check_rejection(model: Model, request: MovableRequest, dropped: Dropped, *, settled: bool, closing: bool) -> None:
    """Check a rejection.

    Args:
        model: What waited.
        request: Whose it is.
        dropped: What the engine says of it.
        settled: Whether no pass was pending when it was submitted.
        closing: Whether the engine had been closed.
    """
    outcome = dropped.outcome
    if outcome in _OF_ITSELF:
        is_true = closing if outcome is QueueOutcome.REJECTED_SHUTDOWN else _may_be_invalid(model, request)
        assert is_true, f"{request} was rejected as {outcome.value} without reason: {dropped.message}"
        return
    head = request if model.is_keyed else model.head_of_lane(request)
    if settled and model.is_static and model.config.hol_scope == "candidates":
        _check_closed(model, head, request, dropped)
    if outcome in _FOR_LIMITS:
        assert exceeds_a_limit(model, request), f"no limit is met, and {request} was rejected: {dropped.message}"
        assert not may_displace(model, request), (
            f"{request} was rejected, and others were to make room for it: {dropped.message}"
        )
        has_pods = outcome is QueueOutcome.REJECTED_CAPACITY
        assert has_pods == bool(model.candidates(head)) or not settled, (
            f"{request} has {model.candidates(head)} as candidates, and was rejected as {outcome.value}"
        )
    else:
        _check_own_reason(model, request, dropped)


def _may_be_invalid(model: Model, request: MovableRequest) -> bool:
    priorities = {*model.submitted, *(band.priority for band in model.config.bands)}
    return model.config.band(request.priority) is None or len(priorities) > model.config.max_bands


def _check_closed(model: Model, head: MovableRequest, request: MovableRequest, dropped: Dropped) -> None:
    ceiling = model.ceilings([request])[request.priority]
    for pod in model.candidates(head):
        assert model.saturation(pod) >= ceiling, (
            f"{request} could have gone to {pod.name} at once, and was rejected: {dropped.message}"
        )


def _check_own_reason(model: Model, request: MovableRequest, dropped: Dropped) -> None:
    band, outcome = model.settings(request.priority), dropped.outcome
    most = min(
        math.inf if limit is None else limit for limit in (band.max_flow_bytes, band.max_bytes, model.config.max_bytes)
    )
    reasons = {
        QueueOutcome.REJECTED_SHED: band.mode == "shed",
        QueueOutcome.REJECTED_TOO_LARGE: request.size > most,
        QueueOutcome.REJECTED_INFEASIBLE: band.reject_infeasible is not None,
    }
    assert reasons.get(outcome, False), f"{request} was rejected as {outcome.value} without reason: {dropped.message}"


def check_expiry(model: Model, request: MovableRequest, *, exact: bool) -> None:
    """Check that a request which left for its time left neither early nor late.

    Args:
        model: What it believes of budgets.
        request: Who left.
        exact: Whether the engine was called at each of its due times.
    """
    due = model.due(request)
    assert due <= model.now, f"{request} left at {model.now:g} s, and its time was not up before {due:g} s"
    # A shorter budget may have been spent already when it came.
    late = model.now - max(due, model.rebudgeted_at)
    assert not exact or late <= 1e-9, f"{request} left {late:g} s late"


def check_wait(model: Model, request: MovableRequest, dropped: Dropped) -> None:
    """Check how long a request is said to have waited."""
    item = model.waiting.get(request)
    waited = 0.0 if item is None else model.now - item.enqueue_time
    assert dropped.queue_wait == waited, f"{request} waited {waited:g} s, not {dropped.queue_wait:g}"
