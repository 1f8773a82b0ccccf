"""Shares that lower bands are guaranteed, so that strict priority need not starve anybody.

Each band with a share keeps a *credit*. A dispatch to a pod is a slot that every band waiting for that pod might have
had: it earns each of them its share. Whoever has a credit of 1 is owed a slot, and gets it before higher bands; the
largest credit first. A band's credit ends when it waits no longer: nobody saves up.

Where those who wait want the same pods, n bands with shares never have a credit above 1 + 1/2 + ... + 1/n. Let S(j) be
the most that the j largest credits may add up to. While nobody is owed anything each is below 1; while somebody is, a
slot adds no more than 1 to all of them and takes 1 from the largest. So S(n) <= n, and if the largest is not one of j,
they hold at most j parts of the j + 1: S(j) / j <= (S(j + 1) + 1) / (j + 1), from which S(1) follows.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from flowgate.ceilings import Ceilings
    from flowgate.pods import PodState
    from flowgate.registry import Band, Registry

__all__ = ["BandShares", "Credits"]

# Ten times 0.1 is a little less than 1.
_OWED = 1.0 - 1e-9


def _copied(shares: Mapping[int, float]) -> Mapping[int, float]:
    if not isinstance(shares, Mapping):  # callers may be untyped
        raise TypeError(f"shares must map priorities to shares, not {shares!r}")
    return dict(shares)


def _check_shares(_record: object, _field: object, shares: Mapping[int, float]) -> None:
    for priority, share in shares.items():
        if not isinstance(priority, int) or isinstance(priority, bool):
            raise TypeError(f"shares must map priorities, which are ints, not {priority!r}")
        if not isinstance(share, int | float) or isinstance(share, bool):
            raise TypeError(f"the share of priority {priority} must be a number, not {share!r}")
        if not 0 < share <= 1:  # NaN is not
            raise ValueError(f"the share of priority {priority} must be more than 0 and at most 1, not {share!r}")
    total = sum(shares.values())
    if total > 1 + 1e-9:
        raise ValueError(f"shares must add up to at most 1, not {total:g}: {dict(shares)}")


@attrs.frozen
class BandShares:
    """The least share of dispatches that some bands get, however much higher bands ask for.

    A band that waits for pods which are open to it gets, of any n dispatches to them in a row, at least
    ``share * n - bound()``. What nobody is owed goes by strict priority, as ever. That is exact where all bands want
    the same pods; where subsets overlap, one may spend here what it earned there, and others lag somewhat more.

    Args:
        shares: Priority to share, more than 0; all shares add up to at most 1.

    Raises:
        ValueError: A share is out of range, or they add up to more than 1.
        TypeError: A priority is no int, or a share no number.

    >>> BandShares({-1: 0.05, 0: 0.2}).bound()
    1.5
    """

    shares: Mapping[int, float] = attrs.field(converter=_copied, validator=_check_shares, eq=dict)

    def bound(self) -> float:
        """Return by how many dispatches a band may lag behind its share, at most: 1 + 1/2 + ... for as many shares."""
        return sum(1 / rank for rank in range(1, len(self.shares) + 1))

    def __hash__(self) -> int:
        return hash(frozenset(self.shares.items()))


class Credits:
    """What each band is owed.

    Args:
        registry: The bands; their `credit` is written here.
        shares: Who gets how much.
        ceilings: How full each band may make a pod: one that is held back earns nothing.
    """

    __slots__ = ("_ceilings", "_registry", "shares")

    def __init__(self, registry: "Registry", shares: BandShares, ceilings: "Ceilings") -> None:
        self._registry = registry
        self.shares: Mapping[int, float] = shares.shares
        self._ceilings = ceilings

    def owed(self, pod: "PodState") -> "Band | None":
        """Return the band that a pod's next slot is owed to, its share of this slot counted; None for nobody."""
        owed = [band for band in self._earning(pod) if band.credit + self.shares[band.priority] >= _OWED]
        return max(owed, key=self._claim, default=None)

    def count(self, pod: "PodState", served: "Band") -> None:
        """Note a dispatch: all who might have had it earn their share of it, and whoever gets it has had it."""
        for band in self._earning(pod):
            band.credit += self.shares[band.priority]
        served.credit = max(0.0, served.credit - 1.0)

    def _earning(self, pod: "PodState") -> "list[Band]":
        """Return the bands with shares that wait for a pod which is open to them. O(shares * lanes of the pod)."""
        bands = self._registry.bands
        return [
            band
            for priority in self.shares
            if (band := bands.get(priority)) is not None
            and band.queued
            and pod.saturation < self._ceilings.of(priority)
            and any(lane.group(band) is not None for lane in pod.lanes)
        ]

    def _claim(self, band: "Band") -> tuple[float, int]:
        return band.credit + self.shares[band.priority], band.priority
