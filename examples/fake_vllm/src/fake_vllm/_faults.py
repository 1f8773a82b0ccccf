"""What goes wrong on demand."""

import random
from collections.abc import Mapping
from typing import Literal, get_args

import attrs
from attrs.validators import optional

from fake_vllm._checks import number, whole

__all__ = ["Fault", "FaultKind", "Faults"]

FaultKind = Literal["hang", "error", "drop", "slow-metrics", "slow-tokens", "none"]


@attrs.frozen
class Fault:
    """Something that goes wrong with a share of the requests from now on.

    Args:
        kind: ``hang``: the request keeps its slot and is not answered; ``error``: it gets a status at once; ``drop``:
            the connection is cut, in the middle of a stream, or where the answer would begin; ``slow-metrics``:
            ``/metrics`` takes longer; ``slow-tokens``: each token takes longer; ``none``: all is well again.
        share: How many of the requests it hits, 0.0 to 1.0.
        status: The status of an ``error``.
        seconds: For how long a request hangs, None for ever; or how much longer the metrics or each token take, which
            must be given.

    Raises:
        ValueError: A value breaks its rule.
        TypeError: A value has the wrong type.
    """

    kind: FaultKind = attrs.field()
    share: float = attrs.field(default=1.0, validator=number(0, 1))
    status: int = attrs.field(default=500, validator=whole(400, 599))
    seconds: float | None = attrs.field(default=None, validator=optional(number(0)))

    @kind.validator
    def _check_kind(self, _field: "attrs.Attribute[FaultKind]", kind: object) -> None:
        if kind not in get_args(FaultKind):
            raise ValueError(f"kind must be one of {', '.join(get_args(FaultKind))}, not {kind!r}")

    def __attrs_post_init__(self) -> None:
        """Check what no field shows alone."""
        if self.kind.startswith("slow-") and self.seconds is None:
            raise ValueError(f"seconds must be given for {self.kind}")

    @classmethod
    def read(cls, data: object) -> "Fault":
        """Make a fault of what somebody posted.

        Raises:
            ValueError: It is no object, has an unknown field, or breaks a rule.
            TypeError: A value has the wrong type.
        """
        if not isinstance(data, Mapping):
            raise ValueError(f"a fault must be an object, not {data!r}")  # noqa: TRY004 - a bad value, whatever its type
        names = {field.name for field in attrs.fields(cls)}
        if strange := sorted(set(data) - names):
            raise ValueError(f"{strange[0]!r} is no field of a fault; those are {', '.join(sorted(names))}")
        if "kind" not in data:
            raise ValueError("kind must be given")
        return cls(**data)


class Faults:
    """The faults in force: one of each kind at most.

    Args:
        seed: Where the chances start.
    """

    def __init__(self, seed: int) -> None:
        self._chances = random.Random(f"faults {seed}")
        self._in_force: dict[str, Fault] = {}

    def set(self, fault: Fault) -> None:
        """Put a fault in force, in place of the one of its kind; ``none`` ends all. It hits those who come later."""
        if fault.kind == "none":
            self._in_force.clear()
        else:
            self._in_force[fault.kind] = fault

    def strike(self, kind: FaultKind) -> Fault | None:
        """Return the fault of a kind, if it hits this time."""
        fault = self._in_force.get(kind)
        return fault if fault is not None and self._chances.random() < fault.share else None

    def in_force(self) -> list[dict[str, object]]:
        """Return the faults, each as one would post it."""
        return [attrs.asdict(fault) for fault in self._in_force.values()]
