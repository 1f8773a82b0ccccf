"""What a gateway submits: a request that carries an identity, a size, a budget and metadata, and no pods."""

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

import attrs

__all__ = ["FlowControlRequest", "FlowKey"]


def _check_id(_key: "FlowKey", _field: object, value: str) -> None:
    if not isinstance(value, str):
        raise TypeError(f"a flow id must be a str, not {value!r}")
    if not value:
        raise ValueError("a flow id must not be empty")


def _check_priority(_key: "FlowKey", _field: object, value: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"a priority must be an int, not {value!r}")


@attrs.frozen
class FlowKey:
    """The name of a flow: the stream of requests that fairness treats as one.

    Args:
        id: Who the stream belongs to: a tenant, a model, a program. Not empty.
        priority: The band it is in. Higher is served first; negative is sheddable.

    Raises:
        ValueError: The id is empty.
        TypeError: The id is no string, or the priority no integer.
    """

    id: str = attrs.field(validator=_check_id)
    priority: int = attrs.field(default=0, validator=_check_priority)


@runtime_checkable
class FlowControlRequest(Protocol):
    """What flowgate needs to know of a request.

    Each method is called once, when the request is submitted; `get_metadata` again whenever candidates are resolved.
    All are called on the event loop's thread and must return at once. flowgate never changes a request. A method that
    raises, or answers with a bad value, ends the request with REJECTED_INVALID; the error is chained.
    """

    def request_id(self) -> str:
        """Name the request, for logs and errors. It need not be unique."""
        ...

    def flow_key(self) -> FlowKey:
        """Name the flow, and with it the priority band."""
        ...

    def byte_size(self) -> int:
        """Size in bytes, 0 or more; byte limits count it."""
        ...

    def initial_effective_ttl(self) -> float | None:
        """Longest time in the queue in seconds, finite and more than 0; None leaves it to the controller's budgets."""
        ...

    def get_metadata(self) -> Mapping[str, object]:
        """What locators and policies read: the gateway's filter metadata, say. Never the body."""
        ...
