"""Within a flow: short prompts go first, and nobody waits for ever."""

import attrs

from flowgate.contracts import ItemComparator, QueueCapability, QueueItem, SafeQueue


@attrs.frozen
class ShortFirst:
    """The shortest prompt goes first, as long as the others have not waited for long.

    A prompt stands in the queue as if it had come later: by a second for every `tokens_per_second` of its tokens. So
    it is overtaken only by those that come within that time after it. One of unknown length counts as empty.

    Args:
        tokens_per_second: What a second of waiting is worth, in tokens.
    """

    name = "short-first"
    required_queue_capabilities = frozenset({QueueCapability.PRIORITY})

    tokens_per_second: float = attrs.field(default=100.0, validator=attrs.validators.gt(0))

    @property
    def comparator(self) -> ItemComparator:
        return ItemComparator(float, self.key)

    def key(self, item: QueueItem) -> float:
        return item.enqueue_time + tokens_of(item) / self.tokens_per_second

    def select_item(self, queue: SafeQueue) -> QueueItem | None:
        return queue.peek_head()


def tokens_of(item: QueueItem) -> int:
    tokens = item.request.get_metadata().get("tokens")
    return tokens if isinstance(tokens, int) and tokens > 0 else 0
