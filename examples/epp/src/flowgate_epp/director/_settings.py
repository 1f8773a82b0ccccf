"""How requests are read and answered."""

from collections.abc import Iterable
from typing import Any, Final, Literal

import attrs

from flowgate.admission import PR_1952, STANDARD, ResponseTable
from flowgate.validators import an_int, at_least, finite_seconds, instance_of, one_of

__all__ = ["RESERVED", "DirectorSettings"]

RESERVED: Final = frozenset({"headers", "model", "objective"})
"""Keys of a request's metadata that the director writes itself."""


def _names(value: Iterable[str]) -> Any:
    """Write names of headers as Envoy does, in lower case; what is no list of texts is left to the check."""
    if isinstance(value, str) or not isinstance(value, Iterable):
        return value
    return tuple(name.lower() if isinstance(name, str) else name for name in value)


def _lower(value: str) -> str:
    return value.lower() if isinstance(value, str) else value


def _check_names(_settings: object, field: "attrs.Attribute[Any]", value: object) -> None:
    for name in value if isinstance(value, tuple) else (value,):
        if not isinstance(value, tuple) or not isinstance(name, str) or not name:
            raise TypeError(f"{field.name} must be a list of names, not {value!r}")
        if name in RESERVED and field.name.startswith("metadata"):
            raise ValueError(f"{field.name} must not name {name!r}, which the director writes itself")


def _not_empty(_settings: object, field: "attrs.Attribute[Any]", value: str) -> None:
    if not value:
        raise ValueError(f"{field.name} must not be empty")


def _name_list(*names: str) -> Any:
    return attrs.field(default=names, converter=_names, validator=_check_names)


@attrs.frozen
class DirectorSettings:
    """How requests are read and answered.

    Whoever sends a header is believed: where clients are not to choose their own flow, the gateway in front sets these
    headers, and removes what clients send.

    A subset hint that is not empty and names only pods that are gone is taken at its word: the request waits in a lane
    of its own, holds back nobody, goes as soon as a pod of that address comes, and is answered 503 when its time is
    over. So is one that names pods of another pool.

    Args:
        objective_headers: Which headers name the objective, and so the priority; the first one there is counts.
        default_priority: Of requests that name no objective, or one that nobody knows.
        fairness_headers: Which headers name the flow; the first one there is counts.
        default_flow: The flow of requests that name none.
        model_headers: Which headers name the model, where the body does not.
        ttl_header: Which header says how many seconds a request may wait; empty: none does.
        max_ttl: The longest of such waits, in seconds; a request that asks for more gets this. Let it be no more than
            the budgets of the flow control (`default_ttl`, `no_pods_ttl`), then clients can only shorten their wait.
        metadata_namespaces: Which namespaces of Envoy's filter metadata locators and policies may read.
        metadata_headers: Which headers they may read: in the metadata by name, and together under ``"headers"``.
        empty_subset: What a subset hint that is an empty list means: ``"none"``, no pod may serve the request, so it
            waits until its time is over and is answered 503, as the protocol has it; ``"all"``, any pod may. A gateway
            that computes the hint from the pods there are sends an empty one while there is none, and with ``"none"``
            the request cannot go even when pods come: for scale from zero behind such a gateway choose ``"all"``.
        answers: Statuses and reasons of refusals: flowgate's own, or those of the Endpoint Picker as scale from zero
            came in (``"pr-1952"``), for those who migrate.
        strict_body: Whether a body that is no JSON object, or has values of the wrong type, is answered 400. If not,
            its request is treated as one whose body is not seen.
        assumed_tokens: Output tokens that `token_counter` assumes of a request that states none.

    Raises:
        ValueError: A value is out of range, or a name is one that the director writes itself.
        TypeError: A value is of the wrong type.
    """

    objective_headers: tuple[str, ...] = _name_list("x-llm-d-inference-objective", "x-gateway-inference-objective")
    default_priority: int = attrs.field(default=0, validator=an_int)
    fairness_headers: tuple[str, ...] = _name_list("x-llm-d-inference-fairness-id", "x-gateway-inference-fairness-id")
    default_flow: str = attrs.field(default="default", validator=[instance_of(str), _not_empty])
    model_headers: tuple[str, ...] = _name_list("x-gateway-model-name")
    ttl_header: str = attrs.field(default="x-request-ttl-seconds", converter=_lower, validator=instance_of(str))
    max_ttl: float = attrs.field(default=60.0, validator=finite_seconds)
    metadata_namespaces: tuple[str, ...] = attrs.field(default=("envoy.lb.subset_hint",), validator=_check_names)
    metadata_headers: tuple[str, ...] = _name_list()
    empty_subset: Literal["none", "all"] = attrs.field(default="none", validator=one_of("none", "all"))
    answers: Literal["standard", "pr-1952"] = attrs.field(default="standard", validator=one_of("standard", "pr-1952"))
    strict_body: bool = attrs.field(default=False, validator=instance_of(bool))
    assumed_tokens: int = attrs.field(default=256, validator=at_least(0))

    @property
    def table(self) -> ResponseTable:
        """The table of answers."""
        return STANDARD if self.answers == "standard" else PR_1952
