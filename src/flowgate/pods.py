"""What flowgate itself knows of pods: their load, and the saturation last read.

`PodTable` owns every `PodState`. A state whose load or metrics changed is *unread*: its saturation is asked for again
before it is used. The table keeps a log of such changes, so that an index over many pods looks only at those.
"""

import math
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import TYPE_CHECKING, cast

import attrs

from flowgate.contracts import Pod, PodLoad, ReleaseResult, SaturationDetector
from flowgate.meters import Pace
from flowgate.plugins import Watched

if TYPE_CHECKING:
    from flowgate.lanes import Lane
    from flowgate.ticket import Ticket

__all__ = ["PodState", "PodStats", "PodTable"]

_Hear = Callable[[Pod, PodLoad, float, ReleaseResult], None]

_FULL = 1.0
_LOG_LENGTH = 4_096
_UNREAD = -1
_NO_SERIAL = -1
# Most loads were seen lately; a hit costs a third of a new record.
_load = lru_cache(maxsize=4_096)(PodLoad)


@attrs.frozen
class PodStats:
    """One pod, at one moment.

    Attributes:
        pod: The pod, by the newest record of it.
        in_flight: Unreleased tickets charged to it.
        saturation: How full it is, by the detector; 1.0 and more is full. 1.0 where the detector fails.
    """

    pod: Pod
    in_flight: int
    saturation: float


@attrs.define(eq=False, repr=False)
class PodState:
    """One pod, as the engine keeps it.

    Attributes:
        pod: The newest `Pod` seen of this identity.
        serial: Order of first sight; the last tie-breaker.
        in_flight: Unreleased tickets charged to it.
        recent: When those were charged that its metrics do not show yet, by charge number.
        saturation: As last read.
        read_epoch: The detector's epoch in which it was read.
        references: How many lanes name it.
        lanes: Those of them in which requests wait, or waited lately.
    """

    pod: Pod
    serial: int
    in_flight: int = 0
    recent: dict[int, float] = attrs.Factory(dict[int, float])
    saturation: float = _FULL
    read_epoch: int = _UNREAD
    references: int = 0
    lanes: "dict[Lane, None]" = attrs.Factory(dict["Lane", None])

    def __repr__(self) -> str:
        return f"<PodState {self.pod.name} at {self.pod.endpoint}: {self.in_flight} in flight>"

    @property
    def has_waiting(self) -> bool:
        """Whether a request waits for this pod."""
        for lane in self.lanes:  # noqa: SIM110 - a generator would double the price of every change
            if lane.waiting:
                return True
        return False


class PodTable:
    """All pods that lanes name or tickets are charged to.

    Attributes:
        dirty: Pods that changed while somebody waits for them, oldest change first: the work of the next pass.
        changes: States that became unread, in order: the last of them.
        changes_end: How many there were in all.
        watch: The detector, and the epoch of its answers.
        pace: How often tickets come back, and after how long.
        overcommitted: Unreleased tickets that were assigned to a full pod, or to one that is no candidate.
    """

    __slots__ = (
        "_charges",
        "_detector",
        "_hear_release",
        "_serial",
        "_states",
        "changes",
        "changes_end",
        "dirty",
        "in_flight",
        "overcommitted",
        "pace",
        "reads",
        "watch",
    )

    def __init__(self, detector: SaturationDetector, watch: Watched) -> None:
        self._detector = detector
        hear = getattr(detector, "released", None)
        self._hear_release = cast("_Hear", hear) if callable(hear) else None
        self.watch: Watched = watch
        self._states: dict[Pod, PodState] = {}
        self._charges = 0
        self._serial = 0
        self.dirty: dict[PodState, None] = {}
        self.changes: list[PodState] = []
        self.changes_end: int = 0
        self.in_flight: int = 0
        self.pace: Pace = Pace()
        self.overcommitted: int = 0
        self.reads: int = 0

    def __len__(self) -> int:
        return len(self._states)

    def see(self, pod: Pod) -> PodState:
        """Return the state of a pod, and keep the newer of two `Pod` records of one identity.

        Raises:
            TypeError: It is not a `Pod`.
        """
        if not isinstance(pod, Pod):  # plug-ins may be untyped
            raise TypeError(f"a locator answers with Pods, not with {pod!r}")
        state = self._states.get(pod)
        if state is None:
            state = self._states[pod] = PodState(pod, self._serial)
            self._serial += 1
        elif state.pod is not pod:
            self._renew(state, pod)
        return state

    def renew(self, pod: Pod) -> None:
        """Take over what a plug-in announces of a pod, if anybody knows the pod; its saturation is read again.

        Raises:
            TypeError: It is not a `Pod`.
        """
        if not isinstance(pod, Pod) or pod in self._states:
            self.touch(self.see(pod))

    def find(self, pod: Pod) -> PodState | None:
        """Return the state of a pod; None where nobody names or uses it."""
        return self._states.get(pod)

    def strip(self, pod: Pod) -> None:
        """Forget what a pod that is gone has said of itself: it may come back as another one."""
        state = self._states.get(pod)
        if state is not None and state.pod.metrics is not None:
            state.pod = attrs.evolve(state.pod, metrics=None)
            self.touch(state)

    def _renew(self, state: PodState, pod: Pod) -> None:
        old, new = state.pod.metrics, pod.metrics
        if new is None and old is not None:
            return  # a record without metrics is the older one
        if new is not None and old is not None and new.updated_at < old.updated_at:
            return
        state.pod = pod
        if new is not None and new != old:
            since = new.updated_at
            state.recent = {number: at for number, at in state.recent.items() if at >= since}
        self.touch(state)

    def name(self, states: Iterable[PodState]) -> None:
        """Note that a lane names these pods."""
        for state in states:
            state.references += 1

    def unname(self, states: Iterable[PodState]) -> None:
        """Note that a lane names them no longer; a pod that nobody names or uses is forgotten."""
        for state in states:
            state.references -= 1
            self._forget_unused(state)

    def _forget_unused(self, state: PodState) -> None:
        if not state.references and not state.in_flight:
            self._states.pop(state.pod, None)
            self.dirty.pop(state, None)

    def touch(self, state: PodState) -> None:
        """Mark a pod as changed: to be read again, and a matter for the next pass where somebody waits for it."""
        if state.read_epoch != _UNREAD:
            state.read_epoch = _UNREAD
            self.changes_end += 1
            self.changes.append(state)
            if len(self.changes) > _LOG_LENGTH:
                self.changes.clear()
        if state.lanes and state not in self.dirty and state.has_waiting:
            self.dirty[state] = None

    def read(self, state: PodState) -> float:
        """Return a pod's saturation, asking the detector where the last answer may be out of date."""
        if state.read_epoch == self.watch.epoch:
            return state.saturation
        self.reads += 1
        try:
            # As `_ask`, which would add a tenth to the price of a request that need not wait.
            value = self._detector.saturation(state.pod, _load(state.in_flight, len(state.recent)))
            if type(value) is not float or not value >= 0.0:
                _check_saturation(value)
        except Exception as error:  # a plug-in may raise anything
            self.watch.fail(error)
            value = _FULL
        was, state.saturation = state.saturation, value
        state.read_epoch = self.watch.epoch
        if value != was and state.lanes and state.has_waiting:
            self.dirty[state] = None
        return value

    def stats(self, pod: Pod) -> PodStats:
        """Look at a pod, known or not, and change nothing."""
        state = self._states.get(pod) or PodState(pod, _NO_SERIAL)
        return PodStats(state.pod, state.in_flight, self.look(state))

    def look(self, state: PodState) -> float:
        """Return a pod's saturation now, and change nothing; a pod of which the detector says no sense is full."""
        try:
            return self._ask(state)
        except Exception:  # a plug-in may raise anything; the next step will note it
            return _FULL

    def _ask(self, state: PodState) -> float:
        value = self._detector.saturation(state.pod, _load(state.in_flight, len(state.recent)))
        if type(value) is not float or not value >= 0.0:
            _check_saturation(value)
        return value

    def is_below(self, state: PodState, ceiling: float) -> bool:
        """Return whether a pod is less full than a ceiling, and change nothing. What was read last is asked no more."""
        saturation = state.saturation if state.read_epoch == self.watch.epoch else self.look(state)
        return saturation < ceiling

    def charge(self, ticket: "Ticket", state: PodState | None, now: float) -> None:
        """Charge a new ticket to a pod, or to none."""
        self.in_flight += 1
        ticket.first = state
        if state is not None:
            self._add(ticket, state, now)

    def _add(self, ticket: "Ticket", state: PodState, now: float) -> None:
        self._charges = ticket.number = number = self._charges + 1
        ticket.state = state
        state.in_flight += 1
        state.recent[number] = now
        self.touch(state)

    def _remove(self, ticket: "Ticket") -> None:
        if ticket.is_overcommitted:
            ticket.is_overcommitted = False
            self.overcommitted -= 1
        state = ticket.state
        if state is not None:
            state.in_flight -= 1
            state.recent.pop(ticket.number, None)
            if state.read_epoch != _UNREAD or state.lanes:  # else there is nothing to mark
                self.touch(state)
            if not state.references:
                self._forget_unused(state)

    def release(self, ticket: "Ticket", result: ReleaseResult, now: float) -> None:
        """Take a ticket's charge back, and tell a detector that learns from it."""
        self.in_flight -= 1
        held = now - ticket.dispatched_at
        self.pace.note(held)
        state = ticket.state
        if self._hear_release is not None and state is not None:
            load = _load(state.in_flight, len(state.recent))
            try:
                self._hear_release(state.pod, load, held, result)
            except Exception as error:  # a plug-in may raise anything
                self.watch.fail(error)
        self._remove(ticket)

    def move(self, ticket: "Ticket", pod: Pod, now: float) -> None:
        """Charge a ticket to another pod; a full one or a stranger counts as overcommitted."""
        target = self.see(pod)
        if target is ticket.state:
            return
        is_candidate = pod in ticket.candidates
        is_open = self.read(target) < _FULL
        self._remove(ticket)
        self._add(ticket, target, now)
        if not (is_candidate and is_open):
            ticket.is_overcommitted = True
            self.overcommitted += 1


def _check_saturation(value: object) -> None:
    if not isinstance(value, int | float) or math.isnan(value) or value < 0:
        raise ValueError(f"saturation must be a number of 0.0 or more, not {value!r}")
