"""Pods that somebody names: in a file, in a test, or from a watch of their own."""

from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import cast

from flowgate.announcer import Announcer
from flowgate.contracts import ChangeCallback, Pod

__all__ = ["StaticPodLocator"]

_ONE_SELECTION = "all pods"


class StaticPodLocator:
    """Answers every request with the same pods, until they are set anew.

    All requests share one lane. Answers are tuples, the same object until something changes; `locate` is O(1).

    Args:
        pods: The pods to begin with.

    Raises:
        ValueError: Two pods have the same identity.
        TypeError: One is no `Pod`.

    >>> locator = StaticPodLocator()
    >>> locator.set_pods([Pod("a", "10.0.0.1", 8000)])
    >>> [pod.endpoint for pod in locator.locate({})]
    ['10.0.0.1:8000']
    """

    def __init__(self, pods: Iterable[Pod] = ()) -> None:
        self._pods = _checked(pods)
        self._announcer = Announcer()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self._pods)} pods)"

    def set_pods(self, pods: Iterable[Pod]) -> None:
        """Replace the pods and announce it: of some pods alone when only their metrics or labels differ.

        Pods that differ in nothing leave everything as it is, and announce nothing.

        Raises:
            ValueError: Two pods have the same identity. Nothing has changed then.
            TypeError: One is no `Pod`.
        """
        new, old = _checked(pods), self._pods
        if new != old:
            self._pods = new
            self._announcer.announce()
            return
        changed = tuple(pod for pod, before in zip(new, old, strict=True) if _differs(pod, before))
        if changed:
            self._pods = new
            self._announcer.announce(changed)

    def locate(self, metadata: Mapping[str, object]) -> tuple[Pod, ...]:  # noqa: ARG002 - the contract's
        """Return all pods, in the order in which they were set."""
        return self._pods

    def selection_key(self, metadata: Mapping[str, object]) -> Hashable:  # noqa: ARG002 - the contract's
        """Return the one selection's name."""
        return _ONE_SELECTION

    def subscribe(self, callback: ChangeCallback) -> Callable[[], None]:
        """Register a callback for changes; returns a function that takes it back."""
        return self._announcer.subscribe(callback)


def _checked(pods: Iterable[Pod]) -> tuple[Pod, ...]:
    checked = tuple(pods)
    seen: set[Pod] = set()
    for pod in cast("tuple[object, ...]", checked):
        if not isinstance(pod, Pod):
            raise TypeError(f"pods must each be a Pod, not {pod!r}")
        if pod in seen:
            raise ValueError(
                "pods must differ in (namespace, name, address, port), "
                f'but pod "{pod.name}" at {pod.endpoint} is there twice'
            )
        seen.add(pod)
    return checked


def _differs(pod: Pod, before: Pod) -> bool:
    return pod is not before and (pod.metrics != before.metrics or pod.labels != before.labels)
