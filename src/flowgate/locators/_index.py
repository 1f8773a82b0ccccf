"""A locator's last answer, found by endpoint and by address."""

from collections.abc import Iterable, Sequence

from flowgate.contracts import Pod
from flowgate.locators._hints import ANY_PORT, Member, canonical_host

__all__ = ["PodIndex"]


class PodIndex:
    """Finds pods by members in O(members + matches).

    To follow the locator is free while it answers with the same tuple, one comparison of each pod while they are the
    same ones (with new metrics, say), and else O(pods).
    """

    def __init__(self) -> None:
        self._source: Sequence[Pod] | None = None
        self._pods: tuple[Pod, ...] = ()
        self._positions: dict[Member, list[int]] = {}

    def follow(self, pods: Sequence[Pod]) -> None:
        """Take the locator's newest answer."""
        # The same list may have changed inside; the same tuple has not.
        if pods is self._source and isinstance(pods, tuple):
            return
        snapshot = tuple(pods)
        if snapshot != self._pods:
            self._positions = _positions(snapshot)
        self._source, self._pods = pods, snapshot

    def select(self, members: Iterable[Member]) -> tuple[Pod, ...]:
        """Return the pods that any member names, in the locator's order."""
        positions = {position for member in members for position in self._positions.get(member, ())}
        return tuple(self._pods[position] for position in sorted(positions))


def _positions(pods: tuple[Pod, ...]) -> dict[Member, list[int]]:
    positions: dict[Member, list[int]] = {}
    seen: set[Pod] = set()
    for position, pod in enumerate(pods):
        if pod in seen:
            continue
        seen.add(pod)
        host = canonical_host(pod.address)
        positions.setdefault((host, pod.port), []).append(position)
        positions.setdefault((host, ANY_PORT), []).append(position)
    return positions
