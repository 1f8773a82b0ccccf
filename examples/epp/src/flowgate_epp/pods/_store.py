"""The one pool that everybody reads."""

import asyncio
import logging
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any

import attrs

from flowgate import Pod, PodMetrics
from flowgate.announcer import Announcer
from flowgate.contracts import ChangeCallback, PoolCallback
from flowgate_epp.pods._endpoints import Endpoints

__all__ = ["PodStore"]

_logger = logging.getLogger("flowgate_epp.pods")

_ONE_SELECTION = "the pool"


class PodStore:
    """The pool's pods with their newest metrics: filled by one `PodSource` and the scraper, read by everybody else.

    It is the controller's locator: every request shares one lane until a `SubsetPodLocator` around it parts them.
    Of pods at the same address and port only the first is kept, for Envoy could not tell them apart; that is logged,
    and when it leaves the next takes its place.

    A change costs O(change), and the next reader of the whole pool O(pods), once for however many came in between.

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
        self._endpoints = Endpoints()
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
        checked = _distinct(_checked(pods))
        old_endpoints, self._endpoints = self._endpoints, Endpoints()
        new = {pod: self._renewed(pod) for pod in checked if self._join(pod, old_endpoints)}
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

    def change_pods(self, changed: Iterable[Pod], removed: Iterable[Pod] = ()) -> None:
        """Change some pods: new ones come after all others, those that stay keep their metrics. O(change).

        Args:
            changed: Pods that are new, or differ; of two of one identity the later counts.
            removed: Those that have left before; one that is `changed`, too, begins anew. Strangers do no harm.

        Raises:
            TypeError: One is no `Pod`. Nothing has changed then.
        """
        changed, removed = _checked(changed), _checked(removed)
        gone, come, renewed = dict[Pod, None](), dict[Pod, Pod](), dict[Pod, Pod]()
        for pod in removed:
            self._leave(pod, gone, come)
        for pod in changed:
            known, newer = self._pods.get(pod), self._renewed(pod)
            if newer is known or not self._join(pod, self._endpoints):
                continue
            self._pods[pod] = newer
            (come if known is None or pod in come else renewed)[pod] = newer
        self._has_synced.set()
        if gone or come or renewed:
            self._snapshot = None
            self._announcer.announce(tuple(renewed.values()), removed=tuple(gone), added=tuple(come.values()))

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

    def selects(self, key: Hashable, pod: Pod) -> bool:  # noqa: ARG002 - the contract's
        """Return True: every pod is in the one selection."""
        return True

    def subscribe(self, callback: ChangeCallback) -> Callable[[], None]:
        """Register a callback for changes; returns a function that takes it back."""
        return self._announcer.subscribe(callback)

    def subscribe_changes(self, callback: PoolCallback) -> Callable[[], None]:
        """Register a callback that is told which pods come and go; returns a function that takes it back."""
        return self._announcer.subscribe_changes(callback)

    def _renewed(self, pod: Pod) -> Pod:
        known = self._pods.get(pod)
        if known is None or pod.metrics is not None:
            return pod
        return known if pod.labels == known.labels else attrs.evolve(pod, metrics=known.metrics)

    def _join(self, pod: Pod, known: Endpoints) -> bool:
        """Let a pod have its endpoint, if no other has it; a twin that was none before is logged."""
        was_twin = known.is_waiting(pod)
        first = self._endpoints.join(pod)
        if first is not None and not was_twin:
            _logger.warning(
                'pod "%s" is left out: it is at %s, as "%s" is, and Envoy could not tell them apart',
                pod.name,
                pod.endpoint,
                first.name,
            )
        return first is None

    def _leave(self, pod: Pod, gone: dict[Pod, None], come: dict[Pod, Pod]) -> None:
        heir = self._endpoints.leave(pod)
        if self._pods.pop(pod, None) is not None and come.pop(pod, None) is None:
            gone[pod] = None
        if heir is not None:
            self._pods[heir] = come[heir] = heir


def _checked(pods: Iterable[Any]) -> tuple[Pod, ...]:
    checked = tuple(pods)
    for pod in checked:
        if not isinstance(pod, Pod):
            raise TypeError(f"pods must each be a Pod, not {pod!r}")
    return checked


def _distinct(pods: tuple[Pod, ...]) -> tuple[Pod, ...]:
    seen: set[Pod] = set()
    for pod in pods:
        if pod in seen:
            raise ValueError(
                "pods must differ in (namespace, name, address, port), "
                f'but pod "{pod.name}" at {pod.endpoint} is there twice'
            )
        seen.add(pod)
    return pods
