"""How full pods are, as a test says."""

from collections.abc import Callable

from flowgate.announcer import Announcer
from flowgate.contracts import ChangeCallback, Pod, PodLoad

__all__ = ["ManualDetector"]


class ManualDetector:
    """Answers what a test has set for each pod, whatever its load, and announces each change.

    An open pod stays open however many requests it takes; where a slot should hold one request, use a
    `ConcurrencyDetector`.

    Args:
        default: The saturation of pods for which nothing was set. It is not checked: a test may want NaN.

    >>> pod = Pod("a", "10.0.0.1", 8000)
    >>> detector = ManualDetector(default=1.0)
    >>> detector.set(pod, 0.25)
    >>> detector.saturation(pod, PodLoad(in_flight=0, since_metrics=0))
    0.25
    """

    def __init__(self, default: float = 0.0) -> None:
        self._default = default
        self._set: dict[Pod, float] = {}
        self._announcer = Announcer()

    def __repr__(self) -> str:
        return f"{type(self).__name__}(default={self._default})"

    def set(self, pod: Pod, saturation: float) -> None:
        """Say how full a pod is from now on: 0.0 idle, 1.0 or more full."""
        self._set[pod] = saturation
        self._announcer.announce()

    def set_all(self, saturation: float) -> None:
        """Say how full every pod is from now on, whatever was set for one."""
        self._default = saturation
        self._set.clear()
        self._announcer.announce()

    def saturation(self, pod: Pod, load: PodLoad) -> float:  # noqa: ARG002 - the contract's
        """Return what was set."""
        return self._set.get(pod, self._default)

    def subscribe(self, callback: ChangeCallback) -> Callable[[], None]:
        """Register a callback for changes; returns a function that takes it back."""
        return self._announcer.subscribe(callback)
