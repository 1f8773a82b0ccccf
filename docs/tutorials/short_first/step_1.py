"""Within a flow: short prompts go first."""

from flowgate.contracts import ItemComparator, QueueCapability, QueueItem, SafeQueue


class ShortFirst:
    """The shortest prompt goes first."""

    name = "short-first"
    required_queue_capabilities = frozenset({QueueCapability.PRIORITY})

    @property
    def comparator(self) -> ItemComparator:
        return ItemComparator(float, self.key)

    def key(self, item: QueueItem) -> float:
        return item.request.get_metadata()["tokens"]

    def select_item(self, queue: SafeQueue) -> QueueItem | None:
        return queue.peek_head()
