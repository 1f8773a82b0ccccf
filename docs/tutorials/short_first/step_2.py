"""Within a flow: short prompts go first."""

from flowgate.contracts import ItemComparator, QueueCapability, QueueItem, SafeQueue


class ShortFirst:
    """The shortest prompt goes first; one of unknown length counts as empty."""

    name = "short-first"
    required_queue_capabilities = frozenset({QueueCapability.PRIORITY})

    @property
    def comparator(self) -> ItemComparator:
        return ItemComparator(float, self.key)

    def key(self, item: QueueItem) -> float:
        return float(tokens_of(item))

    def select_item(self, queue: SafeQueue) -> QueueItem | None:
        return queue.peek_head()


def tokens_of(item: QueueItem) -> int:
    tokens = item.request.get_metadata().get("tokens")
    return tokens if isinstance(tokens, int) and tokens > 0 else 0
