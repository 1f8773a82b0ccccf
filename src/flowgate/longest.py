"""The longest of many, for those that let it make room."""

import heapq
from collections.abc import Hashable
from typing import Generic, TypeVar

__all__ = ["Longest"]

_SLACK = 16

_Key = TypeVar("_Key", bound=Hashable)


class Longest(Generic[_Key]):
    """Which of many is the longest, while their lengths change.

    A heap whose entries are corrected lazily: one counts only while it says how long its key is. O(log n) a change,
    amortised.

    >>> longest = Longest[str]()
    >>> longest.put("a", 3)
    >>> longest.put("b", 2)
    >>> longest.put("a", 1)
    >>> longest.get()
    'b'
    """

    __slots__ = ("_entries", "_heap", "_serial")

    def __init__(self) -> None:
        # (minus the length, serial, key); serials are unique, so keys are never compared.
        self._heap: list[tuple[int, int, _Key]] = []
        self._entries: dict[_Key, tuple[int, int, _Key]] = {}
        self._serial = 0

    def __len__(self) -> int:
        """Return how many entries it holds, outdated ones included."""
        return len(self._heap)

    def put(self, key: _Key, length: int) -> None:
        """Note how long a key is now; 0 for one that is no more."""
        if length:
            self._serial += 1
            entry = self._entries[key] = (-length, self._serial, key)
            heapq.heappush(self._heap, entry)
        else:
            self._entries.pop(key, None)
        if len(self._heap) > 2 * len(self._entries) + _SLACK:
            self._heap = list(self._entries.values())
            heapq.heapify(self._heap)

    def get(self) -> _Key | None:
        """Return the longest key, of several the one that has been so longest; None when there is none."""
        while self._heap:
            entry = self._heap[0]
            if self._entries.get(entry[2]) is entry:
                return entry[2]
            heapq.heappop(self._heap)
        return None
