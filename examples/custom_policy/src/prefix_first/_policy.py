"""Within a flow: by what is in a pod's prefix cache already, and by age."""

import math
from collections.abc import Mapping

import attrs

from flowgate.contracts import ItemComparator, QueueCapability, QueueItem, SafeQueue

__all__ = ["PrefixFirst"]


def _positive(_policy: object, field: "attrs.Attribute[float]", value: object) -> None:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise TypeError(f"{field.name} must be a number of seconds, not {value!r}")
    if not 0 < value < math.inf:  # NaN is not
        raise ValueError(f"{field.name} must be finite and more than 0 seconds, not {value!r}")


def _named(_policy: object, field: "attrs.Attribute[str]", value: object) -> None:
    if not isinstance(value, str):
        raise TypeError(f"{field.name} must be a str, not {value!r}")
    if not value:
        raise ValueError(f"{field.name} must not be empty")


@attrs.frozen
class PrefixFirst:
    """Requests whose prompt is cached go first, as if they had come a little earlier.

    A prompt that is cached as a whole gives a head start of `head_start` seconds, half of it half of that. So a request
    is overtaken only by those that come less than `head_start` seconds after it, however many they are: whoever
    waits grows older, and nobody starves. The key never changes, so a choice is O(1), and an arrival O(log n).

    The hint is a number from 0 to 1 in the request's metadata, or a text that reads as one. What is no such number is
    no hint: gateways fill it in for clients, and a bad hint must not cost a request its place.

    Args:
        metadata_key: Where the metadata has the hint.
        head_start: What a prompt that is cached as a whole is worth, in seconds.

    Raises:
        ValueError: `head_start` is not finite and more than 0, or the key is empty.
        TypeError: An argument is of another type.

    >>> PrefixFirst(head_start=2.0).worth({"cached-prefix": "0.5"})
    1.0
    """

    metadata_key: str = attrs.field(default="cached-prefix", validator=_named)
    head_start: float = attrs.field(default=5.0, validator=_positive)

    @property
    def name(self) -> str:
        """``"prefix-first"``."""
        return "prefix-first"

    @property
    def comparator(self) -> ItemComparator:
        """By arrival less head start, in seconds of the controller's clock; taken once, at enqueue."""
        return ItemComparator(float, self._starts_at)

    @property
    def required_queue_capabilities(self) -> frozenset[QueueCapability]:
        """A queue in the order of the key."""
        return frozenset({QueueCapability.PRIORITY})

    def select_item(self, queue: SafeQueue) -> QueueItem | None:
        """Return the head of the queue."""
        return queue.peek_head()

    def worth(self, metadata: Mapping[str, object]) -> float:
        """Return the head start that metadata gives a request, in seconds."""
        return self.head_start * _share(metadata.get(self.metadata_key))

    def _starts_at(self, item: QueueItem) -> float:
        return item.enqueue_time - self.worth(item.request.get_metadata())


def _share(hint: object) -> float:
    try:
        share = float(hint) if isinstance(hint, int | float | str) else 0.0
    except (ValueError, OverflowError):
        return 0.0
    return share if 0.0 <= share <= 1.0 else 0.0
