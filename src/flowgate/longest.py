"""The longest flow of a band, for those that let it make room."""

import heapq
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from flowgate.registry import Flow

__all__ = ["LongestFlow"]

_SLACK = 16

# (minus the length, serial, flow); serials are unique, so flows are never compared.
_Entry = tuple[int, int, "Flow"]


class LongestFlow:
    """Which flow of a band is the longest, by a measure that changes as requests come and go.

    A heap whose entries are corrected lazily: one counts only while it says what its flow measures. O(log flows) a
    change, amortised.

    Args:
        measure: How long a flow is; 0 when it does not wait.
    """

    __slots__ = ("_entries", "_heap", "_measure", "_serial")

    def __init__(self, measure: "Callable[[Flow], int]") -> None:
        self._measure = measure
        self._heap: list[_Entry] = []
        self._entries: dict[Flow, _Entry] = {}
        self._serial = 0

    def __len__(self) -> int:
        """Return how many entries it holds, outdated ones included."""
        return len(self._heap)

    def changed(self, flow: "Flow") -> None:
        """Note that a flow has another length than before."""
        length = self._measure(flow)
        if length:
            self._serial += 1
            entry = self._entries[flow] = (-length, self._serial, flow)
            heapq.heappush(self._heap, entry)
        else:
            self._entries.pop(flow, None)
        if len(self._heap) > 2 * len(self._entries) + _SLACK:
            self._heap = list(self._entries.values())
            heapq.heapify(self._heap)

    def get(self) -> "Flow | None":
        """Return the longest flow, of several the one that has been so longest; None when nobody waits."""
        while self._heap:
            entry = self._heap[0]
            if self._entries.get(entry[2]) is entry:
                return entry[2]
            heapq.heappop(self._heap)
        return None
