"""What must hold at the moment of each dispatch: the right request goes, to the right pod."""

from flowgate.contracts import Dispatched, Pod
from flowgate.testing._model import Model
from flowgate.testing._model_parts import MovableRequest

__all__ = ["check_dispatch"]


def check_dispatch(model: Model, request: MovableRequest, event: Dispatched) -> Pod:
    """Check a dispatch against all that waited just before; return the pod that was charged."""
    assert (request in model.waiting) == event.waited, f"{request} went twice, or is not said truly to have waited"
    pod = event.ticket.pod
    assert pod is not None, f"{request} went to no pod"
    _check_pod(model, request, pod)
    _check_ceiling(model, request, event, pod)
    assert event.ticket.candidates[0] == pod, f"{pod.name} was charged, and is not the ticket's first candidate"
    for other in event.ticket.candidates:
        assert model.saturation(other) < 1.0, f"{request} was offered {other.name}, which is full"
    _check_bands(model, request, pod)
    if event.waited:
        _check_place(model, request, event)
    else:
        _check_no_barging(model, request, event)
    return pod


def _check_pod(model: Model, request: MovableRequest, pod: Pod) -> None:
    candidates = model.candidates(request)
    assert pod in candidates, f"{request} went to {pod.name}, which is no candidate of it"
    least = min(map(model.saturation, candidates))
    assert model.saturation(pod) == least, (
        f"{request} went to {pod.name}, which is full to {model.saturation(pod):g}, and its best candidate to {least:g}"
    )


def _check_ceiling(model: Model, request: MovableRequest, event: Dispatched, pod: Pod) -> None:
    if event.waited and not model.is_static:
        return  # ceilings that move are computed for a pass, not for each request
    ceiling = model.ceilings([request])[request.priority]
    saturation = model.saturation(pod)
    assert saturation < ceiling, (
        f"{request} went to {pod.name}, which is full to {saturation:g} and open up to {ceiling:g}"
    )


def _check_bands(model: Model, request: MovableRequest, pod: Pod) -> None:
    higher = [other for other in model.waiting if other.priority > request.priority]
    if model.config.band_shares is None:
        for other in higher:
            wants = model.speaks_for_lane(other) and pod in model.candidates(other)
            assert not wants, f"{request} got a slot of {pod.name}, for which {other} waited"
    if model.config.hol_scope == "pool":
        assert not higher, f"{request} went while {higher[0]} waited, of a band that holds back all lower ones"


def _check_place(model: Model, request: MovableRequest, event: Dispatched) -> None:
    first = model.first_in_flow(request)
    assert first is request, f"{request} went before {first}, which its dispatch policy selects"
    waited = model.now - model.waiting[request].enqueue_time
    assert event.queue_wait == waited, f"{request} waited {waited:g} s, not {event.queue_wait:g}"


def _check_no_barging(model: Model, request: MovableRequest, event: Dispatched) -> None:
    assert event.queue_wait == 0.0, f"{request} did not wait, and is said to have waited {event.queue_wait:g} s"
    same = [other for other in model.waiting if model.group(other) == model.group(request)]
    assert not same, f"{request} barged ahead of {same[0]}, which waited in its lane and band"
