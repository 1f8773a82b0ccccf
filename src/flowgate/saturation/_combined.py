"""Several detectors as one."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import AsyncExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Self

from flowgate.contracts import ChangeCallback, Pod, PodLoad, ReleaseResult, SaturationDetector
from flowgate.saturation._inner import InnerDetector, Released, unless_nan

if TYPE_CHECKING:
    from flowgate.inner import Bind, NextChange, Subscribe

__all__ = ["all_of", "any_of"]


def any_of(*detectors: SaturationDetector) -> SaturationDetector:
    """Combine detectors: a pod is as full as the fullest answer says, and so full if any says so.

    It learns, announces and keeps time as far as the detectors do. If one of them can tell of no change, nor can this
    one, and it is polled. One that fails makes the whole fail: the pod counts as full. Detectors that are async context
    managers are entered in order, and left in reverse. An answer is O(detectors).

    Raises:
        ValueError: There is no detector.
        TypeError: One has no `saturation`.

    >>> from flowgate.saturation import ConcurrencyDetector, UtilizationDetector, any_of
    >>> pod = Pod("a", "10.0.0.1", 8000)
    >>> detector = any_of(ConcurrencyDetector(4), UtilizationDetector(on_stale="ignore"))
    >>> detector.saturation(pod, PodLoad(in_flight=2, since_metrics=2))
    0.5
    """
    return _Combined("any_of", max, detectors)


def all_of(*detectors: SaturationDetector) -> SaturationDetector:
    """Combine detectors: a pod is as full as the emptiest answer says, and so full only if all say so.

    The rest is as for `any_of`.

    Raises:
        ValueError: There is no detector.
        TypeError: One has no `saturation`.

    >>> from flowgate.saturation import ConcurrencyDetector, all_of
    >>> all_of(ConcurrencyDetector(4), ConcurrencyDetector(8)).saturation(Pod("a", "10.0.0.1", 8000), PodLoad(4, 4))
    0.5
    """
    return _Combined("all_of", min, detectors)


class _Combined:
    """What `any_of` and `all_of` make; a part that it does not offer is None."""

    def __init__(
        self, name: str, choose: Callable[[Iterable[float]], float], detectors: Sequence[SaturationDetector]
    ) -> None:
        if not detectors:
            raise ValueError(f"{name} needs at least one detector, and got none")
        self.name: str = name
        """As logs show it."""
        self._choose = choose
        self._inner = [InnerDetector(detector) for detector in detectors]
        self._subscribes = [inner.subscribe for inner in self._inner if inner.subscribe]
        self._binds = [inner.bind for inner in self._inner if inner.bind]
        self._changes = [inner.next_change for inner in self._inner if inner.next_change]
        self._learners = [inner.released for inner in self._inner if inner.released]
        self._entered = AsyncExitStack()
        is_silent = any(inner.is_silent for inner in self._inner)
        self.subscribe: Subscribe | None = self._subscribe if self._subscribes and not is_silent else None
        self.next_change: NextChange | None = self._next_change if self._changes and not is_silent else None
        self.bind: Bind | None = self._bind if self._binds else None
        self.released: Released | None = self._released if self._learners else None

    def __repr__(self) -> str:
        return f"{self.name}({', '.join(repr(inner.detector) for inner in self._inner)})"

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as entered:
            for inner in self._inner:
                await entered.enter_async_context(inner)
            self._entered = entered.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        return await self._entered.__aexit__(kind, error, traceback)

    def saturation(self, pod: Pod, load: PodLoad) -> float:
        """Return the chosen one of all answers; NaN if any is."""
        answers = [inner.saturation(pod, load) for inner in self._inner]
        return unless_nan(self._choose, answers)

    def _subscribe(self, callback: ChangeCallback) -> Callable[[], None]:
        taken_back = [subscribe(callback) for subscribe in self._subscribes]

        def unsubscribe() -> None:
            for take_back in taken_back:
                take_back()

        return unsubscribe

    def _bind(self, clock: Callable[[], float]) -> None:
        for bind in self._binds:
            bind(clock)

    def _next_change(self) -> float | None:
        times = [at for next_change in self._changes if (at := next_change()) is not None]
        return unless_nan(min, times) if times else None

    def _released(self, pod: Pod, load: PodLoad, held: float, result: ReleaseResult) -> None:
        for released in self._learners:
            released(pod, load, held, result)
