"""Priorities that InferenceObjectives give."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Final, NoReturn

import attrs

from flowgate_epp.kubernetes._client import ApiClient
from flowgate_epp.kubernetes._pool import GROUP, check_name, check_namespace, table
from flowgate_epp.kubernetes._reflector import Reflector

__all__ = ["KubernetesObjectives", "PoolObjectives"]

_logger: Final = logging.getLogger("flowgate_epp.kubernetes")

_OBJECTIVES: Final = "inference.networking.x-k8s.io/v1alpha2"
_KIND: Final = "InferencePool"


@attrs.frozen
class KubernetesObjectives:
    """The InferenceObjectives (``inference.networking.x-k8s.io/v1alpha2``) that name an InferencePool.

    Args:
        pool: The name of the InferencePool.
        namespace: Where it is, and the objectives are; None for the namespace of the cluster's settings.

    Raises:
        ValueError: A name is none.
    """

    pool: str = attrs.field(validator=check_name)
    namespace: str | None = attrs.field(default=None, validator=check_namespace)

    def source(self, client: ApiClient) -> "PoolObjectives":
        """Return what follows these objectives by a cluster's API."""
        return PoolObjectives(client, self.pool, self.namespace)


class PoolObjectives:
    """Knows the priority of each objective of a pool, while it is followed; before that, of none.

    A cluster that does not have the resource has no objectives; it is asked again, for it may get it.

    Args:
        client: The cluster's API.
        pool: The name of the InferencePool.
        namespace: Where it is; None for the client's own.
    """

    def __init__(self, client: ApiClient, pool: str, namespace: str | None = None) -> None:
        self._client = client
        self._pool = pool
        self._namespace = namespace
        self._priorities: dict[str, int] = {}

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._pool}: {len(self._priorities)}>"

    def priority(self, name: str) -> int | None:
        """Return an objective's priority; None where there is no such objective."""
        return self._priorities.get(name)

    async def run(self) -> NoReturn:
        """Follow the objectives until cancelled."""
        namespace = self._namespace or self._client.namespace
        path = f"/apis/{_OBJECTIVES}/namespaces/{namespace}/inferenceobjectives"
        await Reflector(self._client, path, self, what="InferenceObjectives").run()

    def update(self, changed: Sequence[Mapping[str, Any]], removed: Sequence[Mapping[str, Any]]) -> None:
        """Take what has changed."""
        for each in removed:
            self._priorities.pop(each["metadata"]["name"], None)
        for each in changed:
            name, spec = each["metadata"]["name"], table(each.get("spec"))
            priority = spec.get("priority", 0)
            if not self._is_ours(table(spec.get("poolRef"))):
                self._priorities.pop(name, None)
            elif isinstance(priority, int) and not isinstance(priority, bool):
                self._priorities[name] = priority
            else:
                self._priorities.pop(name, None)
                _logger.warning('InferenceObjective "%s": spec.priority must be an integer, not %.80r', name, priority)

    def _is_ours(self, pool: Mapping[str, Any]) -> bool:
        return pool.get("name") == self._pool and pool.get("group", GROUP) == GROUP and pool.get("kind", _KIND) == _KIND
