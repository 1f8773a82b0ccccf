"""Fullness by a limit that is learned."""

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from flowgate.announcer import Announcer
from flowgate.contracts import ChangeCallback, Pod, PodLoad, ReleaseResult
from flowgate.saturation._aimd import Aimd
from flowgate.saturation._gradient import Gradient2
from flowgate.saturation._limits import Bounds, PodLimit
from flowgate.validators import check_at_least

__all__ = ["AdaptiveDetector"]

_INITIAL: Final = 20


class AdaptiveDetector:
    """A pod is full with as many tickets as it was found to serve well; nobody has to know the number.

    Answers in_flight / limit, where each pod's limit is learned from the tickets that are released: how long they were
    held, and whether they ended well. ``"dropped"`` means that the pod failed or refused: the limit is cut, and however
    fast that was, it teaches no latency. ``"ignored"`` teaches nothing. A limit grows only while at least half of it is
    in use. Only releases move it: with no pods, or without traffic, it stays as it is, however long.

    What is learned is this process's share of the pod. It assumes that a ticket is released when the response has
    ended, and that the pod's latency rises, or requests drop, when it has too much to do. A pod that refuses everything
    falls to `min_limit`, and is not shut out.

    Every call is O(1). It announces no changes but those of forgotten pods, for the engine looks at a pod after each of
    its releases. Until a clock is bound, `time.monotonic` is used.

    Args:
        limit: The algorithm: `Aimd` or `Gradient2`; None for `Gradient2` with its defaults.
        initial: A new pod's limit, in tickets, between the two bounds; None for 20, or the bound next to it.
        min_limit: Fewest tickets, 1 or more.
        max_limit: Most tickets.
        max_pods: Most pods remembered, those last released from; a forgotten one begins anew.

    Raises:
        ValueError: A number is out of range.
        TypeError: It is no int, or `limit` no algorithm.

    >>> detector = AdaptiveDetector(Aimd(latency_threshold=2.0), initial=8)
    >>> pod = Pod("a", "10.0.0.1", 8000)
    >>> detector.saturation(pod, PodLoad(in_flight=6, since_metrics=6))
    0.75
    """

    def __init__(
        self,
        limit: Aimd | Gradient2 | None = None,
        *,
        initial: int | None = None,
        min_limit: int = 1,
        max_limit: int = 1_000,
        max_pods: int = 10_000,
    ) -> None:
        self._algorithm = Gradient2() if limit is None else _check_algorithm(limit)
        self._bounds = _check_bounds(initial, min_limit, max_limit)
        self._max_pods = check_at_least("max_pods", max_pods, 1)
        self._clock: Callable[[], float] = time.monotonic
        # Least recently released from first.
        self._limits: OrderedDict[Pod, PodLimit] = OrderedDict()
        self._announcer = Announcer()

    def __repr__(self) -> str:
        bounds = self._bounds
        return (
            f"{type(self).__name__}({self._algorithm!r}, initial={bounds.initial}, "
            f"min_limit={bounds.lowest}, max_limit={bounds.highest}, max_pods={self._max_pods})"
        )

    def saturation(self, pod: Pod, load: PodLoad) -> float:
        """Return in_flight / the pod's limit."""
        return load.in_flight / self.limit_of(pod)

    def limit_of(self, pod: Pod) -> int:
        """Tickets that a pod may hold now; `initial` for one that nothing is known of."""
        limit = self._limits.get(pod)
        return int(self._bounds.initial if limit is None else limit.value)

    def released(self, pod: Pod, load: PodLoad, held: float, result: ReleaseResult) -> None:
        """Learn from a ticket that was released, unless it was ``"ignored"``."""
        if result == "ignored":
            return
        limit = self._limits.get(pod)
        if limit is None:
            limit = self._limits[pod] = self._algorithm.new_limit(self._bounds)
            self._forget_surplus()
        self._limits.move_to_end(pod)
        limit.released(load.in_flight, held, result, self._clock())

    def subscribe(self, callback: ChangeCallback) -> Callable[[], None]:
        """Register a callback; it is called when a pod is forgotten, the one change that is not its own release's."""
        return self._announcer.subscribe(callback)

    def bind(self, clock: Callable[[], float]) -> None:
        """Take the clock (seconds) that tickets are timed by; what was learned by another clock is forgotten."""
        self._clock = clock
        self._limits.clear()

    def _forget_surplus(self) -> None:
        if len(self._limits) > self._max_pods:
            self._limits.popitem(last=False)
            self._announcer.announce()


def _check_algorithm(value: object) -> Aimd | Gradient2:
    if not isinstance(value, Aimd | Gradient2):
        raise TypeError(f"limit must be an Aimd or a Gradient2, not {value!r}")
    return value


def _check_bounds(initial: object, lowest: object, highest: object) -> Bounds:
    least, most = check_at_least("min_limit", lowest, 1), check_at_least("max_limit", highest, 1)
    if most < least:
        raise ValueError(f"max_limit must be no less than min_limit={least}, not {most}")
    first = min(most, max(least, _INITIAL)) if initial is None else check_at_least("initial", initial, 1)
    if not least <= first <= most:
        raise ValueError(
            f"initial must lie between min_limit and max_limit, not {initial!r} between {lowest!r} and {highest!r}"
        )
    return Bounds(first, least, most)
