"""A detector inside another one, and which optional parts it has."""

import math
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import Any, Self, cast

from flowgate.contracts import ChangeCallback, Pod, PodLoad, ReleaseResult, SaturationDetector

__all__ = ["Bind", "InnerDetector", "NextChange", "Released", "Subscribe", "unless_nan"]

Subscribe = Callable[[ChangeCallback], Callable[[], None]]
Bind = Callable[[Callable[[], float]], None]
NextChange = Callable[[], float | None]
Released = Callable[[Pod, PodLoad, float, ReleaseResult], None]


class InnerDetector:
    """A wrapped detector; each optional part that it does not have is None.

    A wrapper offers a part only as far as the inner one has it. None stands for absent everywhere: an engine asks with
    ``getattr(detector, part, None)``. As an async context manager this enters and leaves the detector, if that is one.

    Raises:
        TypeError: The detector has no `saturation`.
    """

    subscribe: Subscribe | None
    bind: Bind | None
    next_change: NextChange | None
    released: Released | None

    def __init__(self, detector: SaturationDetector) -> None:
        if isinstance(detector, type) or not callable(getattr(detector, "saturation", None)):
            raise TypeError(f"detector must have a saturation method; {detector!r} has none")
        self.detector = detector
        self.saturation = detector.saturation
        self.subscribe = getattr(detector, "subscribe", None)
        self.bind = getattr(detector, "bind", None)
        self.next_change = getattr(detector, "next_change", None)
        self.released = getattr(detector, "released", None)

    @property
    def is_silent(self) -> bool:
        """Whether it can tell of no change, so that it must be polled; a wrapper must then be silent too."""
        return self.subscribe is None and self.next_change is None

    async def __aenter__(self) -> Self:
        if self._is_context:
            await cast("Any", self.detector).__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        if self._is_context:
            return cast("bool | None", await cast("Any", self.detector).__aexit__(kind, error, traceback))
        return None

    @property
    def _is_context(self) -> bool:
        return hasattr(self.detector, "__aenter__") and hasattr(self.detector, "__aexit__")


def unless_nan(choose: Callable[[Iterable[float]], float], values: Sequence[float]) -> float:
    """Return the chosen value; NaN if any is, for that is a failure which the engine has to see.

    Whether `min` and `max` let it through depends on the order.
    """
    return math.nan if any(math.isnan(value) for value in values) else choose(values)
