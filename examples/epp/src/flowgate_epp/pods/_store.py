"""The one pool that everybody reads."""

import asyncio
import logging
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import cast

import attrs

from flowgate import Pod, PodMetrics
from flowgate.announcer import Announcer
from flowgate.contracts import ChangeCallback
from flowgate_epp.pods._entries import canonical_endpoint

__all__ = ["PodStore"]

_logger = logging.getLogger("flowgate_epp.pods")

_ONE_SELECTION = "the pool"


class PodStore:
    """The pool's pods with their newest metrics: filled by one `PodSource` and the scraper, read by everybody else.

    It is the controller's locator: every request shares one lane until a `SubsetPodLocator` around it parts them.
    Of pods at the same address and port only the first is kept, for Envoy could not tell them apart; that is logged.

    New metrics cost O(1), and the next reader of the whole pool O(pods), once for however many metrics came in between.

    >>> store = PodStore()
    >>> store.set_pods([Pod("a", "10.0.0.1", 8000)])
    >>> store.set_metrics(store.pods[0], PodMetrics(waiting=3, running=8, kv_cache_usage=0.5, updated_at=100.0))
    >>> [pod.metrics.waiting for pod in store.pods]
    [3]
    """

    def __init__(self) -> None:
        # By identity; the value is the newest record, the key may be an older one.
        self._pods: dict[Pod, Pod] = {}
        self._snapshot: tuple[Pod, ...] | None = ()
        self._announcer = Announcer()
        self._twins: frozenset[Pod] = frozenset()
        self._has_synced = asyncio.Event()

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {len(self._pods)} pods>"

    @property
    def pods(self) -> tuple[Pod, ...]:
        """All pods, in the order of their source: the same tuple until something changes."""
        if self._snapshot is None:
            self._snapshot = tuple(self._pods.values())
        return self._snapshot

    @property
    def is_synced(self) -> bool:
        """Whether the source has told of its pods, be there any or none."""
        return self._has_synced.is_set()

    async def synced(self) -> None:
        """Wait until the source has told of its pods for the first time."""
        await self._has_synced.wait()

    def find(self, pod: Pod) -> Pod | None:
        """Return the newest record of a pod; None when it has gone. O(1)."""
        return self._pods.get(pod)

    def set_pods(self, pods: Iterable[Pod]) -> None:
        """Replace all pods; those that stay keep their metrics, and pods that differ in nothing announce nothing.

        Raises:
            ValueError: Two pods have the same identity. Nothing has changed then.
            TypeError: One is no `Pod`.
        """
        checked = _checked(pods)
        new = {pod: self._renewed(pod) for pod in self._without_twins(checked)}
        old, self._pods = self._pods, new
        self._has_synced.set()
        if tuple(new) != tuple(old):
            self._snapshot = None
            self._announcer.announce()
            return
        changed = tuple(pod for pod in new.values() if pod is not old[pod])
        if changed:
            self._snapshot = None
            self._announcer.announce(changed)

    def set_metrics(self, pod: Pod, metrics: PodMetrics) -> None:
        """Take what a pod has said of itself, and announce it; nothing when the pod has gone. O(1)."""
        known = self._pods.get(pod)
        if known is not None:
            newer = self._pods[pod] = attrs.evolve(known, metrics=metrics)
            self._snapshot = None
            self._announcer.announce((newer,))

    def locate(self, metadata: Mapping[str, object]) -> tuple[Pod, ...]:  # noqa: ARG002 - the contract's
        """Return all pods."""
        return self.pods

    def selection_key(self, metadata: Mapping[str, object]) -> Hashable:  # noqa: ARG002 - the contract's
        """Return the one selection's name."""
        return _ONE_SELECTION

    def subscribe(self, callback: ChangeCallback) -> Callable[[], None]:
        """Register a callback for changes; returns a function that takes it back."""
        return self._announcer.subscribe(callback)

    def _renewed(self, pod: Pod) -> Pod:
        known = self._pods.get(pod)
        if known is None or pod.metrics is not None:
            return pod
        return known if pod.labels == known.labels else attrs.evolve(pod, metrics=known.metrics)

    def _without_twins(self, pods: Iterable[Pod]) -> Iterable[Pod]:
        kept: dict[tuple[str, int], Pod] = {}
        twins: dict[Pod, Pod] = {}
        for pod in pods:
            first = kept.setdefault(canonical_endpoint(pod), pod)
            if first is not pod:
                twins[pod] = first
        for pod in twins.keys() - self._twins:
            _logger.warning(
                'pod "%s" is left out: it is at %s, as "%s" is, and Envoy could not tell them apart',
                pod.name,
                pod.endpoint,
                twins[pod].name,
            )
        self._twins = frozenset(twins)
        return kept.values()


def _checked(pods: Iterable[Pod]) -> Iterable[Pod]:
    checked: dict[Pod, None] = {}
    for pod in cast("Iterable[object]", pods):
        if not isinstance(pod, Pod):
            raise TypeError(f"pods must each be a Pod, not {pod!r}")
        if pod in checked:
            raise ValueError(
                "pods must differ in (namespace, name, address, port), "
                f'but pod "{pod.name}" at {pod.endpoint} is there twice'
            )
        checked[pod] = None
    return checked
