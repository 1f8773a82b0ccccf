"""A detector inside another one."""

import math
from collections.abc import Callable, Iterable, Sequence

from flowgate.contracts import Pod, PodLoad, ReleaseResult, SaturationDetector
from flowgate.inner import Inner

__all__ = ["InnerDetector", "Released", "unless_nan"]

Released = Callable[[Pod, PodLoad, float, ReleaseResult], None]


class InnerDetector(Inner):
    """A wrapped detector.

    Raises:
        TypeError: The detector has no `saturation`.
    """

    def __init__(self, detector: SaturationDetector) -> None:
        if isinstance(detector, type) or not callable(getattr(detector, "saturation", None)):
            raise TypeError(f"detector must have a saturation method; {detector!r} has none")
        super().__init__(detector)
        self.detector = detector
        self.saturation = detector.saturation
        self.released: Released | None = getattr(detector, "released", None)


def unless_nan(choose: Callable[[Iterable[float]], float], values: Sequence[float]) -> float:
    """Return the chosen value; NaN if any is, for that is a failure which the engine has to see.

    Whether `min` and `max` let it through depends on the order.
    """
    return math.nan if any(math.isnan(value) for value in values) else choose(values)
