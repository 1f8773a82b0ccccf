"""What the program does with a cluster: each part that speaks with its API server, as far as it is asked for."""

from collections.abc import Callable, Coroutine, Mapping
from types import TracebackType
from typing import Any, Self

from flowgate_epp.config import EppSettings
from flowgate_epp.contracts import PodSource
from flowgate_epp.director import Objectives
from flowgate_epp.kubernetes import ApiClient, KubernetesObjectives, KubernetesPods, PoolObjectives
from flowgate_epp.leadership import Election
from flowgate_epp.waking import Activator, DemandMeter

__all__ = ["Cluster"]


class _Both:
    """Objectives that the file lists, and after them those of the cluster."""

    def __init__(self, listed: Objectives, found: Objectives) -> None:
        self._listed = listed
        self._found = found

    def priority(self, name: str) -> int | None:
        """Return the listed priority of an objective, else the cluster's."""
        listed = self._listed.priority(name)
        return self._found.priority(name) if listed is None else listed


class Cluster:
    """The parts that speak with the API server, through one client; and those of the file where none is needed.

    Args:
        settings: The program's.
        meter: What counts the demand by which a target is woken.

    Attributes:
        objectives: The priorities of objectives.
        election: Whether this program leads; None where it is alone.
        activator: What wakes a target; None where nobody asked for it.
    """

    def __init__(self, settings: EppSettings, meter: DemandMeter) -> None:
        self._settings = settings
        self._client: ApiClient | None = None
        self._found: PoolObjectives | None = None
        self.objectives: Objectives = settings.objectives
        if isinstance(settings.pods, KubernetesPods):
            pool = KubernetesObjectives(settings.pods.pool, settings.pods.namespace)
            self._found = pool.source(self._connected())
            self.objectives = _Both(settings.objectives, self._found)
        self.election: Election | None = None
        if settings.leadership is not None:
            self.election = Election(settings.leadership, self._connected())
        self.activator: Activator | None = None
        if settings.waking.activator is not None:
            self.activator = Activator(settings.waking.activator, self._connected(), may_write=self.is_leader)
            meter.subscribe(self.activator)

    async def __aenter__(self) -> Self:
        if self._client is not None:
            await self._client.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._client is not None:
            await self._client.__aexit__(kind, error, traceback)

    @property
    def pods(self) -> PodSource:
        """Where pods come from."""
        pods = self._settings.pods
        return pods.source(self._connected()) if isinstance(pods, KubernetesPods) else pods

    def is_leader(self) -> bool:
        """Return whether this program leads, or is alone."""
        return self.election is None or self.election.is_leader

    def background(self) -> Mapping[str, Callable[[], Coroutine[Any, Any, None]]]:
        """Return what is to run for as long as the program serves, by name; the election not included."""
        parts: dict[str, Callable[[], Coroutine[Any, Any, None]]] = {}
        if self._found is not None:
            parts["objectives"] = self._found.run
        if self.activator is not None:
            parts["activator"] = self.activator.run
        return parts

    def activator_writes(self) -> Mapping[str, int]:
        """Return how often the activator has written, and how often that failed; nothing where there is none."""
        activator = self.activator
        if activator is None:
            return {}
        return {"woken": activator.wakes, "put-to-sleep": activator.sleeps, "failed": activator.failures}

    def kubernetes_failures(self) -> Mapping[str, int]:
        """Return for what is followed how many attempts have failed since it was last well."""
        return {} if self._client is None else self._client.failures

    def _connected(self) -> ApiClient:
        """Return the one client; there is none, and no credentials are looked for, where nobody asks for it."""
        if self._client is None:
            self._client = ApiClient(self._settings.kubernetes)
        return self._client
