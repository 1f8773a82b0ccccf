"""What an InferencePool says: which pods are its own, and where they listen."""

import re
from collections.abc import Mapping
from typing import Any, Final

import attrs

__all__ = ["GROUP", "PoolSpec", "check_name", "check_namespace", "pools_path", "table"]

GROUP: Final = "inference.networking.k8s.io"
"""The API group of InferencePool v1."""

_MOST_PORTS: Final = 8
_HIGHEST_PORT: Final = 65_535
_LONGEST_NAME: Final = 253
_LONGEST_NAMESPACE: Final = 63
_LABEL: Final = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_NAME: Final = re.compile(rf"{_LABEL}(\.{_LABEL})*")
_NAMESPACE: Final = re.compile(_LABEL)


def check_name(_settings: object, field: "attrs.Attribute[str]", value: object) -> None:
    """Check that a value may be the name of an object."""
    if not isinstance(value, str) or len(value) > _LONGEST_NAME or not _NAME.fullmatch(value):
        raise ValueError(f"{field.name} must be the name of a Kubernetes object, not {value!r}")


def check_namespace(_settings: object, field: "attrs.Attribute[str | None]", value: object) -> None:
    """Check that a value may be the name of a namespace, or is None."""
    if value is None:
        return
    if not isinstance(value, str) or len(value) > _LONGEST_NAMESPACE or not _NAMESPACE.fullmatch(value):
        raise ValueError(f"{field.name} must be the name of a Kubernetes namespace, not {value!r}")


def pools_path(namespace: str) -> str:
    """Return where the InferencePools of a namespace are."""
    return f"/apis/{GROUP}/v1/namespaces/{namespace}/inferencepools"


def table(value: object) -> Mapping[str, Any]:
    """Return a value that should be a table; an empty one for whatever else it is."""
    return value if isinstance(value, Mapping) else {}


@attrs.frozen
class PoolSpec:
    """What counts of an InferencePool's ``spec``.

    Args:
        selector: Which pods are its own, as a label selector.
        ports: The TCP ports at which each of them serves, 1 to 8 of them; each is an endpoint of its own.
    """

    selector: str
    ports: tuple[int, ...]

    @classmethod
    def of(cls, pool: Mapping[str, Any]) -> "PoolSpec":
        """Read an InferencePool.

        Raises:
            ValueError: It is not as its API says; the message names the field.

        >>> PoolSpec.of({"spec": {"selector": {"matchLabels": {"app": "llama"}}, "targetPorts": [{"number": 8000}]}})
        PoolSpec(selector='app=llama', ports=(8000,))
        """
        spec = table(pool.get("spec"))
        return cls(_selector(table(spec.get("selector")).get("matchLabels")), _ports(spec.get("targetPorts")))


def _selector(labels: object) -> str:
    # No label at all would select every pod of the namespace.
    if not isinstance(labels, Mapping) or not labels or not all(isinstance(value, str) for value in labels.values()):
        raise ValueError(f"spec.selector.matchLabels must name one label at least, not {labels!r:.80}")
    return ",".join(f"{key}={labels[key]}" for key in sorted(labels))


def _ports(entries: object) -> tuple[int, ...]:
    numbers: list[Any] = [table(entry).get("number") for entry in entries] if isinstance(entries, list) else []
    ports = tuple(dict.fromkeys(number for number in numbers if _is_port(number)))
    if not 1 <= len(numbers) <= _MOST_PORTS or not all(map(_is_port, numbers)):
        raise ValueError(
            f"spec.targetPorts must have 1 to {_MOST_PORTS} entries with a number in 1..{_HIGHEST_PORT}, "
            f"not {entries!r:.80}"
        )
    return ports


def _is_port(number: object) -> bool:
    return isinstance(number, int) and not isinstance(number, bool) and 1 <= number <= _HIGHEST_PORT
