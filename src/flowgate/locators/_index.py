"""A locator's last answer, found by endpoint and by address."""

from bisect import bisect_left
from collections.abc import Iterable, Sequence

from flowgate.contracts import Pod
from flowgate.locators._hints import ANY_PORT, Member, canonical_host

__all__ = ["PodIndex", "is_member"]


class PodIndex:
    """Finds pods by members in O(members + matches * log matches).

    To follow the locator is free while it answers with the same tuple, one comparison of each pod while they are the
    same ones (with new metrics, say), and else O(pods). What the locator tells of changes costs O(change).
    """

    def __init__(self) -> None:
        self._source: Sequence[Pod] | None = None
        self._pods: tuple[Pod, ...] = ()
        # Pods have a place each, in the locator's order: one that comes gets the next, one that goes leaves a gap.
        self._places: dict[Pod, int] = {}
        self._newest: dict[int, Pod] = {}
        self._by_member: dict[Member, dict[int, None]] = {}
        self._next_place = 0

    def follow(self, pods: Sequence[Pod]) -> None:
        """Take the locator's newest answer."""
        # The same list may have changed inside; the same tuple has not.
        if pods is self._source and isinstance(pods, tuple):
            return
        snapshot = tuple(pods)
        if snapshot == self._pods and len(snapshot) == len(self._newest):
            self._newest = dict(zip(self._newest, snapshot, strict=True))
        else:
            self._places.clear()
            self._newest.clear()
            self._by_member.clear()
            for pod in snapshot:
                self.put(pod)
        self._source, self._pods = pods, snapshot

    def put(self, pod: Pod) -> None:
        """Take a pod, after all others when it is new. O(1)."""
        place = self._places.get(pod)
        if place is None:
            place = self._places[pod] = self._next_place
            self._next_place += 1
            for member in _members_of(pod):
                self._by_member.setdefault(member, {})[place] = None
        self._newest[place] = pod

    def remove(self, pod: Pod) -> None:
        """Let a pod go, if it is there. O(1)."""
        place = self._places.pop(pod, None)
        if place is None:
            return
        del self._newest[place]
        for member in _members_of(pod):
            places = self._by_member[member]
            del places[place]
            if not places:
                del self._by_member[member]

    def renew(self, pod: Pod) -> None:
        """Take the newest record of a pod, if it is there. O(1)."""
        if pod in self._places:
            self.put(pod)

    def select(self, members: Iterable[Member]) -> tuple[Pod, ...]:
        """Return the pods that any member names, in the locator's order."""
        places = {place for member in members for place in self._by_member.get(member, ())}
        return tuple([self._newest[place] for place in sorted(places)])


def is_member(pod: Pod, members: Sequence[Member]) -> bool:
    """Return whether any of these members, which are sorted, names a pod. O(log members)."""
    host = canonical_host(pod.address)
    place = bisect_left(members, (host, ANY_PORT))
    while place < len(members) and members[place][0] == host:
        if members[place][1] in {ANY_PORT, pod.port}:
            return True
        place += 1
    return False


def _members_of(pod: Pod) -> tuple[Member, Member]:
    host = canonical_host(pod.address)
    return (host, pod.port), (host, ANY_PORT)
