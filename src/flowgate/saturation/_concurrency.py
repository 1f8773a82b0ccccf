"""Fullness by flowgate's own count of what is in flight."""

from collections.abc import Callable

from flowgate.contracts import ChangeCallback, Pod, PodLoad

__all__ = ["ConcurrencyDetector"]


class ConcurrencyDetector:
    """A pod is full with `max_concurrency` unreleased tickets; it needs no metrics.

    Answers in_flight / max_concurrency, O(1).

    Args:
        max_concurrency: Tickets, 1 or more; or a function that says so of a pod. It is called for each answer and must
            be pure: of the pod alone, labels and metrics included. A pod for which it gives anything but an int of 1
            or more is an error when asked for, and so counts as full.

    Raises:
        ValueError: `max_concurrency` is less than 1.
        TypeError: It is neither an int nor callable.

    >>> pod = Pod("a", "10.0.0.1", 8000, labels={"slots": "8"})
    >>> ConcurrencyDetector(4).saturation(pod, PodLoad(in_flight=3, since_metrics=3))
    0.75
    >>> ConcurrencyDetector(lambda pod: int(pod.labels["slots"])).saturation(pod, PodLoad(2, 2))
    0.25
    """

    def __init__(self, max_concurrency: int | Callable[[Pod], int]) -> None:
        self._limit_of = max_concurrency if callable(max_concurrency) else None
        self._limit = 0 if callable(max_concurrency) else _check_constant(max_concurrency)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._limit_of or self._limit!r})"

    def saturation(self, pod: Pod, load: PodLoad) -> float:
        """Return in_flight / max_concurrency.

        Raises:
            ValueError: The function gave this pod no int of 1 or more.
        """
        limit = self._limit if self._limit_of is None else _check_limit(pod, self._limit_of(pod))
        return load.in_flight / limit

    def subscribe(self, callback: ChangeCallback) -> Callable[[], None]:  # noqa: ARG002 - the contract's
        """Take a callback and never call it: nothing but the pod and its load moves the answer.

        To be subscribable is how a detector says so; the engine would else ask again and again.
        """
        return _unsubscribe


def _unsubscribe() -> None:
    """Take back what was not kept."""


def _check_constant(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"max_concurrency must be an int or a function of the pod, not {value!r}")
    if value < 1:
        raise ValueError(f"max_concurrency must be 1 or more, not {value!r}")
    return value


def _check_limit(pod: Pod, value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"max_concurrency of pod {pod.name!r} must be an int of 1 or more, not {value!r}")
    return value
