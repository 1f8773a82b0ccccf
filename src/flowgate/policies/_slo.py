"""Within a flow, by the latency that each request was promised."""

import math
from typing import Final

import attrs

from flowgate.contracts import ItemComparator, QueueCapability, QueueItem, SafeQueue
from flowgate.validators import positive

__all__ = ["SloDeadline"]

_NEEDS_PRIORITY: Final = frozenset({QueueCapability.PRIORITY})


def _check_key(_policy: object, _field: object, value: object) -> None:
    if not isinstance(value, str):
        raise TypeError(f"metadata_key must be a str, not {value!r}")
    if not value:
        raise ValueError("metadata_key must not be empty")


@attrs.frozen
class SloDeadline:
    """The item that is due first goes first: due at its arrival plus the latency target in its metadata.

    The target is a number, or a text that reads as one (headers are text), finite and 0 or more. Items without such a
    target go after all that have one, in the order of arrival. O(1) a choice, beside the queue's O(log n).

    Args:
        metadata_key: Where the request's metadata holds the target: the time to the first token, say.
        unit: Seconds in one unit of the target: 0.001 where it counts milliseconds.

    Raises:
        ValueError: The key is empty, or the unit not finite and more than 0.
        TypeError: The key is no text, or the unit no number.

    >>> from flowgate.policies import SloDeadline
    >>> SloDeadline(metadata_key="ttft-seconds", unit=1.0)
    SloDeadline(metadata_key='ttft-seconds', unit=1.0)
    """

    metadata_key: str = attrs.field(default="x-slo-ttft-ms", validator=_check_key)
    unit: float = attrs.field(default=0.001, validator=positive)

    @property
    def name(self) -> str:
        """``"slo-deadline"``."""
        return "slo-deadline"

    @property
    def comparator(self) -> ItemComparator:
        """Order by the time (seconds of the controller's clock) at which an item is due; infinite without a target."""
        return ItemComparator(float, self._due)

    @property
    def required_queue_capabilities(self) -> frozenset[QueueCapability]:
        """A queue whose head has the smallest key."""
        return _NEEDS_PRIORITY

    def select_item(self, queue: SafeQueue) -> QueueItem | None:
        """Return the queue's head."""
        return queue.peek_head()

    def _due(self, item: QueueItem) -> float:
        target = item.request.get_metadata().get(self.metadata_key)
        return item.enqueue_time + _parse(target) * self.unit


def _parse(target: object) -> float:
    """Read a target in its own unit; infinite when it is absent or malformed."""
    if not isinstance(target, int | float | str) or isinstance(target, bool):
        return math.inf
    try:
        value = float(target)
    except (ValueError, OverflowError):
        return math.inf
    return value if value >= 0 else math.inf  # a NaN is not
