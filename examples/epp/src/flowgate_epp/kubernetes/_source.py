"""Pods of an InferencePool."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs

from flowgate_epp.contracts import PodSink, PodSource
from flowgate_epp.kubernetes._client import ApiClient
from flowgate_epp.kubernetes._pods import PodsFollower, trimmed
from flowgate_epp.kubernetes._pool import PoolSpec, check_name, check_namespace, pools_path
from flowgate_epp.kubernetes._reflector import Reflector
from flowgate_epp.pods import Outage

__all__ = ["KubernetesPods"]

_logger: Final = logging.getLogger("flowgate_epp.kubernetes")


@attrs.frozen
class KubernetesPods:
    """The pods of an InferencePool (``inference.networking.k8s.io/v1``), in the cluster of the table ``kubernetes``.

    A pod serves while it runs, is ready, is not being deleted and has an IP address; each of the pool's target ports
    is an endpoint of its own. A change is in the pool as soon as the API server tells of it.

    A pool that has not been there yet is waited for, and the program is not ready until then. One that is deleted has
    no pods. One whose spec cannot be read leaves everything as it was.

    Args:
        pool: The name of the InferencePool.
        namespace: Where it is, and its pods are; None for the namespace of the cluster's settings.

    Raises:
        ValueError: A name is none.
    """

    pool: str = attrs.field(validator=check_name)
    namespace: str | None = attrs.field(default=None, validator=check_namespace)

    def source(self, client: ApiClient) -> PodSource:
        """Return what follows these pods by a cluster's API."""
        return PoolSource(client, self.pool, self.namespace)


class PoolSource:
    """Follows an InferencePool, and the pods that it selects.

    Args:
        client: The cluster's API.
        pool: The name of the InferencePool.
        namespace: Where it is; None for the client's own.
    """

    def __init__(self, client: ApiClient, pool: str, namespace: str | None) -> None:
        self._client = client
        self._pool = pool
        self._namespace = namespace

    async def run(self, sink: PodSink) -> None:
        """Follow them until cancelled."""
        namespace = self._namespace or self._client.namespace
        async with asyncio.TaskGroup() as tasks:
            follower = _PoolFollower(self._client, self._pool, namespace, sink, tasks)
            await Reflector(
                self._client,
                pools_path(namespace),
                follower,
                field_selector=f"metadata.name={self._pool}",
                what=f'InferencePool "{self._pool}"',
            ).run()


@attrs.frozen(eq=False)
class _Following:
    """The pods of one selector, while somebody follows them."""

    selector: str
    pods: PodsFollower
    task: asyncio.Task[None]


class _PoolFollower:
    """Follows the pods of a pool's selector; of another one, once its pods are known."""

    def __init__(self, client: ApiClient, pool: str, namespace: str, sink: PodSink, tasks: asyncio.TaskGroup) -> None:
        self._client = client
        self._namespace = namespace
        self._sink = sink
        self._tasks = tasks
        self._outage = Outage(
            _logger, f'InferencePool "{pool}" of namespace "{namespace}"', "it is taken over as soon as it is right"
        )
        self._current: _Following | None = None
        self._next: _Following | None = None

    def update(self, changed: Sequence[Mapping[str, Any]], removed: Sequence[Mapping[str, Any]]) -> None:
        """Take what has changed: the pool comes, changes or goes."""
        if not changed:
            self._lose(has_been=bool(removed))
            return
        try:
            spec = PoolSpec.of(changed[-1])
        except ValueError as error:
            self._outage.fail(f"{error}, and its pods stay what they were")
            return
        self._outage.recover()
        self._follow(spec)

    def _follow(self, spec: PoolSpec) -> None:
        for following in filter(None, [self._current, self._next]):
            following.pods.listen_at(spec.ports)
        newest = self._next or self._current
        if newest is not None and newest.selector == spec.selector:
            return
        self._stop(self._next)
        self._next = None
        if self._current is None or self._current.selector != spec.selector:
            self._next = self._start(spec)

    def _start(self, spec: PoolSpec) -> _Following:
        pods = PodsFollower(self._sink, spec.ports, self._take_next)
        reflector = Reflector(
            self._client,
            f"/api/v1/namespaces/{self._namespace}/pods",
            pods,
            label_selector=spec.selector,
            what=f"pods with {spec.selector}",
            trim=trimmed,
        )
        return _Following(spec.selector, pods, self._tasks.create_task(reflector.run(), name="pods of the pool"))

    def _take_next(self) -> None:
        self._stop(self._current)
        self._current, self._next = self._next, None

    def _lose(self, *, has_been: bool) -> None:
        if not has_been:
            self._outage.fail("there is none")
            return
        self._stop(self._current)
        self._stop(self._next)
        self._current = self._next = None
        self._outage.fail("it has been deleted, and there are no pods without it")
        self._sink.set_pods(())

    def _stop(self, following: _Following | None) -> None:
        if following is not None:
            following.task.cancel()
