"""What a Lease says, and what we write into it."""

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import attrs

__all__ = ["Record", "claim", "placeholder"]

_LONGEST: Final = 2**31 - 1
_RESIGNED: Final = 1
"""Seconds of duration in a Lease that was given back, ours or client-go's."""


@attrs.frozen
class Record:
    """A Lease as it was read; whatever people may have written into it.

    Args:
        lease: The object; None when there is no such Lease.
    """

    lease: Mapping[str, Any] | None

    @property
    def spec(self) -> Mapping[str, Any]:
        """Its spec; empty where it has none that can be read."""
        spec = (self.lease or {}).get("spec")
        return spec if isinstance(spec, Mapping) else {}

    @property
    def holder(self) -> str | None:
        """Who holds it; empty when nobody does, None when it does not say."""
        holder = self.spec.get("holderIdentity")
        return None if holder is None else str(holder)

    @property
    def is_given_back(self) -> bool:
        """Whether its last holder has resigned; one that was emptied by hand says another duration than they do."""
        return self.holder == "" and self.spec.get("leaseDurationSeconds") == _RESIGNED

    @property
    def is_unused(self) -> bool:
        """Whether it is there, and nobody has ever written into it: so it comes with a deployment's manifests."""
        return self.lease is not None and not self.spec

    def says_the_same_as(self, other: "Record") -> bool:
        """Return whether its holder has written nothing since the other was read; metadata are not its holder's."""
        return (self.lease is None) == (other.lease is None) and self.spec == other.spec

    def duration(self, least: float) -> float:
        """Return for how many seconds its holder may believe that it leads.

        Args:
            least: Ours, which holds for a lease that does not say, and for one that was shortened by hand.
        """
        seconds = self.spec.get("leaseDurationSeconds")
        return max(float(seconds), least) if isinstance(seconds, int) else least

    def held_by(self, identity: str, duration: float) -> dict[str, Any]:
        """Return the Lease as we write it to take or to renew it: only if it has not changed since it was read.

        Args:
            identity: Ours.
            duration: In seconds; rounded up.
        """
        now, spec = _now(), dict(self.spec)
        if self.holder != identity:
            spec |= {"acquireTime": now, "leaseTransitions": self._transitions()}
        return self._with({**spec, **_held(identity, duration), "renewTime": now})

    def given_back(self) -> dict[str, Any]:
        """Return the Lease as we write it to resign: free at once."""
        return self._with({**self.spec, "holderIdentity": "", "leaseDurationSeconds": _RESIGNED, "renewTime": _now()})

    def _with(self, spec: Mapping[str, Any]) -> dict[str, Any]:
        return {**(self.lease or {}), "spec": dict(spec)}

    def _transitions(self) -> int:
        before = self.spec.get("leaseTransitions")
        if self.holder is None and before is None:
            return 0
        return before + 1 if isinstance(before, int) and 0 <= before < _LONGEST else 1


def claim(name: str, identity: str, duration: float) -> dict[str, Any]:
    """Return the Lease as its leader makes it anew where it is gone."""
    now = _now()
    return _lease(name, {**_held(identity, duration), "acquireTime": now, "renewTime": now, "leaseTransitions": 0})


def placeholder(name: str, duration: float) -> dict[str, Any]:
    """Return a Lease that nobody holds, as it is made where there is none: to be waited out like any other."""
    return _lease(name, {"leaseDurationSeconds": math.ceil(duration)})


def _lease(name: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": name}, "spec": spec}


def _held(identity: str, duration: float) -> dict[str, Any]:
    return {"holderIdentity": identity, "leaseDurationSeconds": math.ceil(duration)}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
