"""Where requests may go: pods, their metrics and load, and the locator that finds them."""

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from types import MappingProxyType
from typing import Protocol, runtime_checkable

import attrs

__all__ = [
    "ChangeCallback",
    "ClockBound",
    "Incremental",
    "Pod",
    "PodLoad",
    "PodLocator",
    "PodMetrics",
    "PoolCallback",
    "SelectionKeyed",
    "TimeVarying",
    "Watchable",
]

_NO_LABELS: Mapping[str, str] = MappingProxyType({})
_NO_ADDRESS = frozenset("/[]")


def _check_count(_record: object, field: "attrs.Attribute[int]", value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{field.name} must be an int, not {value!r}")
    if value < 0:
        raise ValueError(f"{field.name} must be 0 or more, not {value!r}")


def _check_finite(_record: object, field: "attrs.Attribute[float]", value: object) -> None:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise TypeError(f"{field.name} must be a number, not {value!r}")
    if not math.isfinite(value):
        raise ValueError(f"{field.name} must be finite, not {value!r}")


def _check_share(record: object, field: "attrs.Attribute[float]", value: float) -> None:
    _check_finite(record, field, value)
    if not 0.0 <= value <= 1.0:
        raise ValueError(f"{field.name} must lie in 0..1, not {value!r}")


@attrs.frozen
class PodMetrics:
    """What a pod last said of itself.

    Args:
        waiting: Requests in the pod's own queue.
        running: Requests that the pod works on.
        kv_cache_usage: Share of its key-value cache in use, 0..1.
        updated_at: When this was read, in seconds of the controller's clock.
    """

    waiting: int = attrs.field(validator=_check_count)
    running: int = attrs.field(validator=_check_count)
    kv_cache_usage: float = attrs.field(validator=_check_share)
    updated_at: float = attrs.field(validator=_check_finite)


@attrs.frozen
class PodLoad:
    """What flowgate itself knows of a pod, whatever its metrics say.

    Args:
        in_flight: Unreleased tickets charged to the pod.
        since_metrics: Those of them charged at or after the metrics' `updated_at`; all of them without metrics.
    """

    in_flight: int
    since_metrics: int


def _check_text(_pod: "Pod", field: "attrs.Attribute[str]", value: str) -> None:
    if not isinstance(value, str):
        raise TypeError(f"a pod's {field.name} must be a str, not {value!r}")
    if not value:
        raise ValueError(f"a pod's {field.name} must not be empty")


def _check_address(pod: "Pod", field: "attrs.Attribute[str]", value: str) -> None:
    _check_text(pod, field, value)
    # Only in an IPv6 address are there colons, two at least; its brackets are gone by now.
    if value.count(":") == 1 or not _NO_ADDRESS.isdisjoint(value):
        raise ValueError(
            f"a pod's address must be an IP address or a host name, without scheme and port, not {value!r}"
        )


def _check_port(_pod: "Pod", _field: object, value: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"a pod's port must be an int, not {value!r}")
    if not 1 <= value <= 65_535:  # noqa: PLR2004 - the range of TCP ports
        raise ValueError(f"a pod's port must lie in 1..65535, not {value!r}")


def _check_labels(_pod: "Pod", _field: object, value: Mapping[str, str]) -> None:
    if not isinstance(value, Mapping):
        raise TypeError(f"a pod's labels must be a mapping, not {value!r}")


def _check_metrics(_pod: "Pod", _field: object, value: PodMetrics | None) -> None:
    if value is not None and not isinstance(value, PodMetrics):
        raise TypeError(f"a pod's metrics must be PodMetrics or None, not {value!r}")


def _without_brackets(address: str) -> str:
    if isinstance(address, str) and address.startswith("[") and address.endswith("]"):  # callers may be untyped
        return address[1:-1]
    return address


@attrs.frozen(cache_hash=True)
class Pod:
    """An endpoint that may serve requests, known by (namespace, name, address, port).

    Labels and metrics are no part of its identity: a pod with new metrics equals the one with old.

    Args:
        name: The pod's name.
        address: Its IP address or host name; an IPv6 address with or without brackets.
        port: Its TCP port, 1..65535.
        namespace: Where the name is unique.
        labels: Whatever schedulers may want to filter by.
        metrics: What it last said of itself, or None when nothing is known.

    Raises:
        ValueError: A text is empty, the address holds a scheme or a port, or the port is out of range.
        TypeError: A field is of the wrong type.

    >>> Pod("a", "10.0.0.1", 8000).endpoint
    '10.0.0.1:8000'
    >>> Pod("b", "fd00::1", 8000).endpoint
    '[fd00::1]:8000'
    """

    name: str = attrs.field(validator=_check_text)
    address: str = attrs.field(converter=_without_brackets, validator=_check_address)
    port: int = attrs.field(validator=_check_port)
    namespace: str = attrs.field(default="default", validator=_check_text)
    labels: Mapping[str, str] = attrs.field(default=_NO_LABELS, eq=False, validator=_check_labels)
    metrics: PodMetrics | None = attrs.field(default=None, eq=False, validator=_check_metrics)

    @property
    def endpoint(self) -> str:
        """``ip:port``, an IPv6 address in brackets."""
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"{host}:{self.port}"


@runtime_checkable
class PodLocator(Protocol):
    """Resolves a request's metadata to the pods that may serve it.

    Called at dispatch, and whenever the pods may have changed: for a lane with waiting requests once a change is
    announced, for an arrival when its lane is not known yet. It must answer at once from a local view: no I/O, no
    await, no change to the metadata. It may raise; requests then wait as if there were no pods, and it is asked again
    every `poll_interval` until it answers.

    A locator may also be `SelectionKeyed`, `Watchable`, `Incremental`, `ClockBound` and `TimeVarying`. One that is
    neither `Watchable` nor `TimeVarying` is asked anew at each arrival, and every `poll_interval` while requests wait.
    One that is an async context manager is entered and left by the controller.
    """

    def locate(self, metadata: Mapping[str, object]) -> Sequence[Pod]:
        """Find the candidates for a request with this metadata; empty when there are none."""
        ...


class SelectionKeyed(Protocol):
    """An optional part of a locator: names the lane of a request, so that requests can share candidates.

    Without it each flow is a lane of its own, resolved by its head, and costs a resolution for each dispatch.
    """

    def selection_key(self, metadata: Mapping[str, object]) -> Hashable:
        """Name the selection: equal keys must have equal candidates. Called once for each arrival."""
        ...


class ChangeCallback(Protocol):
    """What a plug-in calls to announce a change; it only sets a flag, so it may be called at any time on the loop."""

    def __call__(self, pods: Sequence[Pod] | None = None) -> None:
        """Announce a change: of these pods' metrics and labels alone, or, with None, of anything."""
        ...


@runtime_checkable
class Watchable(Protocol):
    """An optional part of a locator or detector: announces every change that the engine did not cause itself."""

    def subscribe(self, callback: ChangeCallback) -> Callable[[], None]:
        """Register the callback; returns a function that takes it back. Called once, when the engine is built."""
        ...


class PoolCallback(Protocol):
    """What an `Incremental` locator calls to announce a change; it only takes notes, as a `ChangeCallback` does."""

    def __call__(
        self, pods: Sequence[Pod] | None = None, *, removed: Sequence[Pod] = (), added: Sequence[Pod] = ()
    ) -> None:
        """Announce a change.

        Args:
            pods: Those that stay, and whose metrics or labels are new; None for a change of anything, the order of
                pods included, and then the others say nothing.
            removed: Those that have left. One that is `added` as well has begun anew, and comes last.
            added: Those that have come, in the order in which `locate` names them: after all others.
        """
        ...


class Incremental(Protocol):
    """An optional part of a locator that is `SelectionKeyed` and `Watchable`: tells which pods came and went.

    So a change among very many pods costs an engine no look at the others. Who does not know of it subscribes as ever,
    and hears that anything changed.
    """

    def subscribe_changes(self, callback: PoolCallback) -> Callable[[], None]:
        """Register the callback; returns a function that takes it back."""
        ...

    def selects(self, key: Hashable, pod: Pod) -> bool:
        """Say whether a pod that is there is a candidate of a selection; nothing but its identity may matter."""
        ...


@runtime_checkable
class ClockBound(Protocol):
    """An optional part of a plug-in that needs the time."""

    def bind(self, clock: Callable[[], float]) -> None:
        """Take the controller's clock (seconds); inside a step of the engine it stands still."""
        ...


@runtime_checkable
class TimeVarying(Protocol):
    """An optional part of a locator or detector whose answers change as time goes by."""

    def next_change(self) -> float | None:
        """Time of the next such change (seconds of the bound clock), or an earlier one; None when there is none."""
        ...
