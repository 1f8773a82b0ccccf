"""A lane's pods, in the order in which requests want them."""

import heapq
from collections.abc import Mapping

from flowgate.pods import PodState, PodTable

__all__ = ["Candidates", "Open"]

_RUN = 32

Open = tuple[tuple[PodState, ...], ...]
"""Open pods in runs, which tickets share: a run is made anew only where a pod of it opened or closed."""

_Entry = tuple[float, int, int, PodState]


class Candidates:
    """A lane's pods, least saturated first, and those that are open, in the locator's order.

    Keeps itself up to date from the table's log of changes, or by looking at every pod where that is less work. So a
    change costs nothing until somebody asks, and then O(log n) for each changed pod, whatever their number. So does one
    that comes or goes.
    """

    __slots__ = ("_cursor", "_entries", "_epoch", "_fresh", "_heap", "_open", "_pods", "_runs", "_table")

    def __init__(self, pods: tuple[PodState, ...], table: PodTable) -> None:
        self._pods: tuple[PodState, ...] | None = pods
        self._table = table
        # The entry of each open pod; others in the heap are void, and go when they surface or outnumber these.
        self._entries: dict[PodState, _Entry | None] = dict.fromkeys(pods)
        self._heap: list[_Entry] = []
        self._fresh: list[PodState] = []
        self._open: Open | None = ()
        self._runs: _Runs | None = None  # made when there are many
        self._cursor = 0
        self._epoch = -1

    def __contains__(self, state: PodState) -> bool:
        return state in self._entries

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def pods(self) -> tuple[PodState, ...]:
        """All pods, in the locator's order."""
        if self._pods is None:
            self._pods = tuple(self._entries)
        return self._pods

    def add(self, state: PodState) -> None:
        """Take a pod that has come, after all others. O(1)."""
        self._entries[state] = None
        self._fresh.append(state)
        self._pods = None
        if self._runs is not None:
            self._runs.add(state)

    def discard(self, state: PodState) -> None:
        """Let a pod go that is there. O(1)."""
        if self._entries.pop(state) is not None:
            self._open = None
        self._pods = None
        if self._runs is not None:
            self._runs.discard(state)

    def best(self, ceiling: float) -> PodState | None:
        """Return the least saturated pod that is below the ceiling; ties go to the one that fewest lanes name."""
        table = self._table
        if self._cursor != table.changes_end or self._epoch != table.watch.epoch or self._fresh:
            self._catch_up()
        heap, entries = self._heap, self._entries
        while heap:
            entry = heap[0]
            state = entry[3]
            if entries.get(state) is entry:
                return state if entry[0] < ceiling else None
            heapq.heappop(heap)
        return None

    def open(self, ceiling: float) -> Open:
        """Return the pods below the ceiling, in the locator's order, in one run or more.

        Below 1.0 each open pod is looked at; else it costs no more than the runs in which pods opened or closed since.
        """
        table = self._table
        if self._cursor != table.changes_end or self._epoch != table.watch.epoch or self._fresh:
            self._catch_up()
        if self._open is None:
            self._open = self._list_open()
        if ceiling < 1.0:
            return (tuple([state for run in self._open for state in run if state.saturation < ceiling]),)
        return self._open

    def _list_open(self) -> Open:
        entries = self._entries
        if len(entries) <= _RUN:
            self._runs = None
            return (tuple([state for state, entry in entries.items() if entry is not None]),)
        if self._runs is None or self._runs.is_sparse:
            self._runs = _Runs(entries)
        return self._runs.listed()

    def _catch_up(self) -> None:
        table, entries = self._table, self._entries
        end, epoch = table.changes_end, table.watch.epoch
        if self._cursor == end - 1 and self._epoch == epoch and not self._fresh and table.changes:
            state = table.changes[-1]  # one change since the last look: what each request brings
            if state in entries:
                self._look_at(state)
            self._cursor = end
            return
        base = end - len(table.changes)
        if self._epoch != epoch or end - self._cursor > len(entries) or self._cursor < base:
            for state in entries:
                self._look_at(state)
        else:
            for state in [*table.changes[self._cursor - base :], *self._fresh]:
                if state in entries:
                    self._look_at(state)
        self._fresh.clear()
        self._cursor = end
        self._epoch = epoch

    def _look_at(self, state: PodState) -> None:
        table = self._table
        saturation = state.saturation if state.read_epoch == table.watch.epoch else table.read(state)
        old = self._entries[state]
        lanes = len(state.lanes)
        if old is None:
            if saturation >= 1.0:
                return
        elif saturation == old[0] and lanes == old[1]:
            return  # on an idle pool the usual case
        entry = (saturation, lanes, state.serial, state) if saturation < 1.0 else None
        if entry is None or old is None:
            self._open = None
            if self._runs is not None:
                self._runs.changed(state)
        self._entries[state] = entry
        if entry is not None:
            heapq.heappush(self._heap, entry)
            if len(self._heap) > 2 * len(self._entries) + 8:
                self._heap = [entry for entry in self._entries.values() if entry is not None]
                heapq.heapify(self._heap)


class _Runs:
    """Many pods in runs of a few: when one opens or closes, only its own run is listed again.

    With a thousand pods of a slot each, every dispatch closes a pod and every release opens one; to list all of them
    each time took as long as all the rest of a queued request.

    Args:
        entries: The pods in order, None for those that are not open; it is read whenever runs are listed.
    """

    __slots__ = ("_entries", "_members", "_number", "_open", "_stale")

    def __init__(self, entries: Mapping[PodState, _Entry | None]) -> None:
        self._entries = entries
        states = list(entries)
        self._members = [states[start : start + _RUN] for start in range(0, len(states), _RUN)]
        self._number = {state: place // _RUN for place, state in enumerate(states)}
        self._open: list[tuple[PodState, ...]] = [()] * len(self._members)
        self._stale = set(range(len(self._members)))

    @property
    def is_sparse(self) -> bool:
        """Whether so many pods went that fewer runs would do."""
        return len(self._members) > 4 * (len(self._number) // _RUN + 1)

    def add(self, state: PodState) -> None:
        """Take a pod, after all others."""
        if len(self._members[-1]) == _RUN:
            self._members.append([])
            self._open.append(())
        self._members[-1].append(state)
        self._number[state] = len(self._members) - 1

    def discard(self, state: PodState) -> None:
        """Let a pod go."""
        number = self._number.pop(state)
        self._members[number].remove(state)
        self._stale.add(number)

    def changed(self, state: PodState) -> None:
        """Note that a pod opened or closed."""
        self._stale.add(self._number[state])

    def listed(self) -> Open:
        """Return the open pods. O(runs + pods of the runs that changed)."""
        entries = self._entries
        for number in self._stale:
            self._open[number] = tuple([state for state in self._members[number] if entries[state] is not None])
        self._stale.clear()
        return tuple(self._open)
