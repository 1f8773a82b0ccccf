"""Pods that a test makes, adds and takes away."""

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping

import attrs

from flowgate.contracts import ChangeCallback, Pod, PodMetrics
from flowgate.locators import StaticPodLocator

__all__ = ["PodPool", "make_pods"]

_PORT = 8_000
_NO_LABELS: Mapping[str, str] = {}


def make_pods(pods: int | Iterable[str]) -> tuple[Pod, ...]:
    """Make pods by their number, or by their names; each has an address of its own.

    Raises:
        ValueError: The number is negative.

    >>> [pod.endpoint for pod in make_pods(2)]
    ['10.0.0.1:8000', '10.0.0.2:8000']
    >>> [pod.name for pod in make_pods(["fast", "slow"])]
    ['fast', 'slow']
    """
    if isinstance(pods, int):
        if pods < 0:
            raise ValueError(f"the number of pods must be 0 or more, not {pods}")
        pods = [f"pod-{number}" for number in range(1, pods + 1)]
    return tuple(Pod(name, _address(number), _PORT) for number, name in enumerate(pods, start=1))


class PodPool:
    """The pods of a test: a locator that finds them all, and announces each change.

    All requests share one lane; to part them, wrap the pool in a `SubsetPodLocator`. Iterating gives the pods, oldest
    first. Each change costs O(pods).

    Args:
        pods: The pods to begin with: their number, their names, or the pods.

    Raises:
        ValueError: Two pods have the same name.

    >>> pods = PodPool()
    >>> pods.add().endpoint
    '10.0.0.1:8000'
    >>> pods.scale(3)
    >>> pods.remove("pod-2")
    >>> [pod.name for pod in pods]
    ['pod-1', 'pod-3']
    """

    def __init__(self, pods: int | Iterable[str] | Iterable[Pod] = 0) -> None:
        self._locator = StaticPodLocator()
        self._by_name: dict[str, Pod] = {}
        self._made = 0
        for pod in range(1, pods + 1) if isinstance(pods, int) else pods:
            self._put(pod if isinstance(pod, Pod) else self._make(None if isinstance(pod, int) else pod))
        self._announce()

    def __iter__(self) -> Iterator[Pod]:
        return iter(tuple(self._by_name.values()))

    def __len__(self) -> int:
        return len(self._by_name)

    def __getitem__(self, name: str) -> Pod:
        try:
            return self._by_name[name]
        except KeyError:
            names = ", ".join(self._by_name) or "none at all"
            raise KeyError(f"no pod is named {name!r}; there are: {names}") from None

    def __repr__(self) -> str:
        return f"{type(self).__name__}([{', '.join(map(repr, self._by_name))}])"

    # -- what a test does

    def add(
        self,
        name: str | None = None,
        *,
        address: str | None = None,
        port: int = _PORT,
        labels: Mapping[str, str] = _NO_LABELS,
        metrics: PodMetrics | None = None,
    ) -> Pod:
        """Add one pod, and announce it.

        Args:
            name: Its name; None takes the next number.
            address: Its IP address or host name; None takes the next.
            port: Its TCP port.
            labels: What schedulers may filter by.
            metrics: What it says of itself.

        Raises:
            ValueError: There is a pod of that name, or a value is out of range.
        """
        made = self._make(name)
        pod = Pod(made.name, made.address if address is None else address, port, labels=labels, metrics=metrics)
        self._put(pod)
        self._announce()
        return pod

    def remove(self, pod: Pod | str) -> None:
        """Take a pod away, by itself or its name, and announce it.

        Raises:
            KeyError: There is no such pod.
        """
        name = pod if isinstance(pod, str) else pod.name
        del self._by_name[self[name].name]
        self._announce()

    def scale(self, count: int) -> None:
        """Add pods, or take the newest away, until there are so many; announced once, as one change.

        Raises:
            ValueError: The count is negative.
        """
        if count < 0:
            raise ValueError(f"the number of pods must be 0 or more, not {count}")
        while len(self) < count:
            self._put(self._make(None))
        while len(self) > count:
            self._by_name.popitem()
        self._announce()

    def report(self, pod: Pod | str, metrics: PodMetrics | None) -> Pod:
        """Let a pod say something new of itself, and announce that; returns the pod as it is now.

        Raises:
            KeyError: There is no such pod.
        """
        name = pod if isinstance(pod, str) else pod.name
        new = self._by_name[name] = attrs.evolve(self[name], metrics=metrics)
        self._announce()
        return new

    # -- what a locator does

    def locate(self, metadata: Mapping[str, object]) -> tuple[Pod, ...]:
        """Return all pods."""
        return self._locator.locate(metadata)

    def selection_key(self, metadata: Mapping[str, object]) -> Hashable:
        """Return the one selection's name."""
        return self._locator.selection_key(metadata)

    def subscribe(self, callback: ChangeCallback) -> Callable[[], None]:
        """Register a callback for changes; returns a function that takes it back."""
        return self._locator.subscribe(callback)

    def _make(self, name: str | None) -> Pod:
        # Counted up and never back: a pod that is scaled up again is another one, as in a cluster.
        self._made += 1
        return Pod(f"pod-{self._made}" if name is None else name, _address(self._made), _PORT)

    def _put(self, pod: Pod) -> None:
        if pod.name in self._by_name:
            raise ValueError(f"pods must differ in name, but {pod.name!r} is there already")
        self._by_name[pod.name] = pod

    def _announce(self) -> None:
        self._locator.set_pods(self._by_name.values())


def _address(number: int) -> str:
    return f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
