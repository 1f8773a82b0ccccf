"""What fairness shares by: what a request costs, and what a flow weighs."""

from collections.abc import Callable, Mapping
from typing import Final

from flowgate.contracts import FlowControlRequest, FlowKey, QueueItem

__all__ = ["UNIT_BITS", "Cost", "Weights", "check_cost", "check_weights", "price", "share", "weigh"]

Weights = Mapping[str, float] | Callable[[FlowKey], float]
"""What flows weigh: by flow id, where 1 is what others weigh; or asked for each flow."""

Cost = str | Callable[[FlowControlRequest], float]
"""What a request costs: the name of a number in its metadata; or asked for each request."""

UNIT_BITS: Final = 64


def check_weights(weights: Weights | None) -> Weights | None:
    """Copy a mapping whose values are weights; leave a callable as it is.

    Raises:
        TypeError: It is neither, or a weight is no number.
        ValueError: A weight is not finite and more than 0.
    """
    if weights is None or callable(weights):
        return weights
    if not isinstance(weights, Mapping):
        raise TypeError(f"weights must be a mapping of flow ids or a callable, not {weights!r}")
    return {flow_id: _check_weight(flow_id, weight) for flow_id, weight in weights.items()}


def check_cost(cost: Cost | None) -> Cost | None:
    """Refuse what cannot say what a request costs.

    Raises:
        TypeError: It is neither a str nor a callable.
        ValueError: The name is empty.
    """
    if cost is not None and not isinstance(cost, str) and not callable(cost):
        raise TypeError(f"cost must be the name of a number in the metadata or a callable, not {cost!r}")
    if cost == "":
        raise ValueError("cost must not be an empty name")
    return cost


def weigh(weights: Weights | None, key: FlowKey) -> float:
    """Return what a flow weighs.

    Raises:
        TypeError: A callable answered with what is no number.
        ValueError: It answered with what is not finite and more than 0.
    """
    if weights is None:
        return 1.0
    if callable(weights):
        return _check_weight(key.id, weights(key))
    return weights.get(key.id, 1.0)


def price(cost: Cost | None, item: QueueItem) -> float:
    """Return what an item costs; its bytes without a `cost`.

    Raises:
        ValueError: The metadata has no number under that name.
    """
    if cost is None:
        return float(item.byte_size)
    if isinstance(cost, str):
        return _read_number(cost, item.request.get_metadata().get(cost))
    return cost(item.request)


def share(amount: float, weight: float) -> int:
    """Return amount / weight, rounded up to 2**-64, as a whole number of such units.

    Whole numbers do not round away a small share beside a large level, however much was served; and rounding up,
    the share of a cost is never nothing.
    """
    over, under = amount.as_integer_ratio()
    if weight == 1 == under:  # the usual case, four times as fast
        return over << UNIT_BITS
    weight_over, weight_under = weight.as_integer_ratio()
    return -((-over * weight_under << UNIT_BITS) // (under * weight_over))


def _check_weight(flow_id: str, weight: object) -> float:
    if not isinstance(weight, int | float) or isinstance(weight, bool):
        raise TypeError(f"the weight of flow {flow_id!r} must be a number, not {weight!r}")
    if not 0 < weight < float("inf"):  # NaN is not
        raise ValueError(f"the weight of flow {flow_id!r} must be finite and more than 0, not {weight!r}")
    return weight


def _read_number(name: str, value: object) -> float:
    # Headers are text, so a text that reads as a number is one.
    try:
        if isinstance(value, int | float | str) and not isinstance(value, bool):
            return float(value)
    except (ValueError, OverflowError):
        pass
    raise ValueError(f"the request's metadata must have a number as {name!r}, not {value!r}")
