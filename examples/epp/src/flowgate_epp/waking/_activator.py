"""From zero to one and back: wakes a pool that is asked for, and lets it sleep once nobody asks."""

import asyncio
import logging
import math
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, NoReturn

import attrs

from flowgate.validators import finite_seconds, instance_of
from flowgate_epp.kubernetes import ApiClient, ApiError, Object, check_name, check_namespace
from flowgate_epp.pods import Backoff, Outage, jittered
from flowgate_epp.waking._demand import Demand

__all__ = ["Activator", "ActivatorSettings"]

_logger = logging.getLogger("flowgate_epp.waking")

_KINDS: Final[Mapping[str, tuple[str, str]]] = {
    "Deployment": ("apps/v1", "deployments"),
    "StatefulSet": ("apps/v1", "statefulsets"),
    "LeaderWorkerSet": ("leaderworkerset.x-k8s.io/v1", "leaderworkersets"),
}
_API_VERSION: Final = re.compile(r"([a-z0-9.-]+/)?v[a-z0-9]+")
_WORD: Final = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 10.0
_BETWEEN_LOOKS: Final = 5.0
"""Seconds for which a target that is awake is left alone, so that a demand that flickers costs no calls."""
_LOOK_FOR_LEADERSHIP: Final = 1.0


def _word(_settings: object, field: "attrs.Attribute[Any]", value: object) -> None:
    if not isinstance(value, str) or not _WORD.fullmatch(value):
        raise ValueError(f"{field.name} must be a name in lower case, such as 'deployments', not {value!r}")


def _api_version(_settings: object, field: "attrs.Attribute[Any]", value: object) -> None:
    if not isinstance(value, str) or not _API_VERSION.fullmatch(value):
        raise ValueError(f"{field.name} must be a group and a version, such as 'apps/v1', not {value!r}")


@attrs.frozen
class ActivatorSettings:
    """What is woken, and when it may sleep again.

    Args:
        target: The name of the object that is scaled.
        kind: Its kind: ``Deployment``, ``StatefulSet``, ``LeaderWorkerSet``; any other one that has a scale
            subresource by `api_version` and `plural`.
        api_version: Its group and version; None for those of a kind that is known.
        plural: What its kind is called in paths; None for that of a kind that is known.
        namespace: Where it is; None takes the credentials' own.
        cool_down: Seconds without any demand after which one replica becomes none.
        interval: Seconds between looks at the replicas while nothing changes.
        dry_run: Whether to say in the log what would be written, and to write nothing.

    Raises:
        ValueError: A value breaks its rule.
        TypeError: A value has the wrong type.
    """

    target: str = attrs.field(validator=check_name)
    kind: str = attrs.field(default="Deployment", validator=instance_of(str))
    api_version: str | None = attrs.field(default=None, validator=attrs.validators.optional(_api_version))
    plural: str | None = attrs.field(default=None, validator=attrs.validators.optional(_word))
    namespace: str | None = attrs.field(default=None, validator=check_namespace)
    cool_down: float = attrs.field(default=300.0, validator=finite_seconds)
    interval: float = attrs.field(default=60.0, validator=finite_seconds)
    dry_run: bool = attrs.field(default=False, validator=instance_of(bool))

    def __attrs_post_init__(self) -> None:
        if self.kind not in _KINDS and (self.api_version is None or self.plural is None):
            known = ", ".join(map(repr, _KINDS))
            raise ValueError(
                f"kind must be one of {known}, or have api_version and plural beside it, not {self.kind!r}"
            )

    @property
    def resource(self) -> tuple[str, str]:
        """Group and version, and the plural."""
        api_version, plural = _KINDS.get(self.kind, ("", ""))
        return self.api_version or api_version, self.plural or plural

    def path(self, namespace: str) -> str:
        """Return the path of the scale subresource.

        Args:
            namespace: The credentials' own.
        """
        api_version, plural = self.resource
        root = "apis" if "/" in api_version else "api"
        return f"/{root}/{api_version}/namespaces/{self.namespace or namespace}/{plural}/{self.target}/scale"


class Activator:
    """Scales a target from 0 to 1 when there is demand, and from 1 to 0 once there was none for long.

    A `DemandObserver`. Nothing but these two steps is ever written: what has two replicas or more is an autoscaler's or
    a human's. Any demand counts, also a request that came and went before the call was made, or was refused: the
    target is woken, and sleeps again after `cool_down`. While there is demand, a zero does not last: one that a human
    wrote is undone at the next look, `interval` seconds later at most. Who wants it to stay, stops the activator.

    Each write is conditional on what was read. A new activator, or one that was not the one who writes until now, lets
    nothing sleep before it has seen no demand for the whole `cool_down` itself.

    Args:
        settings: What is woken.
        client: How the API server is reached.
        may_write: Whether we are the one who writes: the leader.
        clock: Seconds on a clock that never goes back; None takes the event loop's.

    Attributes:
        wakes: How many times it has written a 1.
        sleeps: How many times it has written a 0.
        failures: How many attempts have failed; a conflict is none.
    """

    def __init__(
        self,
        settings: ActivatorSettings,
        client: ApiClient,
        *,
        may_write: Callable[[], bool] = lambda: True,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self._settings = settings
        self._client = client
        self._may_write = may_write
        self._clock = asyncio.get_running_loop().time if clock is None else clock
        self.wakes: int = 0
        self.sleeps: int = 0
        self.failures: int = 0
        self._is_asked = self._is_latched = self._has_looked = False
        self._quiet_since: float = self._clock()
        self._rests_until = -math.inf
        self._news = asyncio.Event()
        self._backoff = Backoff(_FIRST_PAUSE, _LONGEST_PAUSE)
        self._name = f"{settings.kind} {settings.target!r}"
        self._outage = Outage(_logger, f"{self._name} cannot be scaled", "it stays as it is, and we try again")

    def demand_changed(self, demand: Demand) -> None:
        """Hear of the demand; the call that wakes the target begins in the loop's next turn."""
        was_asked, self._is_asked = self._is_asked, not demand.is_idle
        if self._is_asked:
            self._is_latched = True
        elif was_asked:
            self._quiet_since = self._clock()
        self._news.set()

    async def run(self) -> NoReturn:
        """Wake the target and let it sleep, until cancelled; what fails is logged, and tried again."""
        while True:
            self._news.clear()
            try:
                pause = await self._act()
            except ApiError as error:
                # Not cut short by news: a demand that comes and goes is not to hammer a server that is in trouble.
                await asyncio.sleep(self._failed(error))
                continue
            try:
                async with asyncio.timeout(pause):
                    await self._news.wait()
            except TimeoutError:
                continue

    async def _act(self) -> float:
        """Do what is due; return the seconds until something may be due again, if no news come before."""
        if not self._may_write():
            self._quiet_since = self._clock()  # until now somebody else knew of the demand
            return _LOOK_FOR_LEADERSHIP
        if self._is_wanted and (pause := self._rests_until - self._clock()) > 0:
            return pause
        # The first look comes at once: a wrong name is told before anybody waits for it.
        if self._has_looked and not self._is_wanted and (pause := self._left_to_sleep()) > 0:
            return pause
        scale = await self._client.get(self._path)
        self._has_looked = True
        replicas = (scale.get("spec") or {}).get("replicas") or 0  # of a Scale at zero it may be left out
        if self._is_wanted:
            if replicas == 0:
                await self._write(scale, 1)
            self._is_latched = False
            self._rests_until = self._clock() + _BETWEEN_LOOKS
        elif replicas == 1 and self._left_to_sleep() <= 0:
            await self._write(scale, 0)
            self._rests_until = -math.inf
        self._outage.recover()
        self._backoff.reset()
        left = self._left_to_sleep()
        return jittered(self._settings.interval) if self._is_asked or left <= 0 else left

    @property
    def _is_wanted(self) -> bool:
        return self._is_asked or self._is_latched

    def _left_to_sleep(self) -> float:
        return self._quiet_since + self._settings.cool_down - self._clock()

    async def _write(self, scale: Object, replicas: int) -> None:
        if not self._may_write():  # no more, since we have looked
            return
        if self._settings.dry_run:
            _logger.info("%s would be scaled to %d, but for dry_run", self._name, replicas)
            return
        await self._client.replace(self._path, {**scale, "spec": {**(scale.get("spec") or {}), "replicas": replicas}})
        _logger.info("%s is scaled to %d", self._name, replicas)
        if replicas:
            self.wakes += 1
            # It sleeps no sooner after it was woken than after it was asked for.
            self._quiet_since = max(self._quiet_since, self._clock())
        else:
            self.sleeps += 1

    def _failed(self, error: ApiError) -> float:
        if error.reason != "Conflict":  # somebody else has scaled it: what is there now?
            self.failures += 1
            self._outage.fail(self._explain(error))
        return self._backoff.pause()

    @property
    def _path(self) -> str:
        return self._settings.path(self._client.namespace)

    def _explain(self, error: ApiError) -> str:
        settings = self._settings
        api_version, plural = settings.resource
        namespace = settings.namespace or self._client.namespace
        if error.reason == "Forbidden":
            group = api_version.rpartition("/")[0]
            return f"{error.message}: allow get and update on {plural}/scale of {group!r} in namespace {namespace!r}"
        if error.reason == "NotFound":
            return f"there is no {plural}/{settings.target}/scale of {api_version} in namespace {namespace!r}"
        return str(error)
