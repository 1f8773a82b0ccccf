"""The locator inside another one."""

from collections.abc import Callable, Hashable, Mapping

from flowgate.contracts import Pod, PodLocator, PoolCallback
from flowgate.inner import Inner

__all__ = ["InnerLocator", "SelectionKey", "Selects", "SubscribeChanges"]

SelectionKey = Callable[[Mapping[str, object]], Hashable]
Selects = Callable[[Hashable, Pod], bool]
SubscribeChanges = Callable[[PoolCallback], Callable[[], None]]


class InnerLocator(Inner):
    """A wrapped locator.

    Raises:
        TypeError: The locator has no `locate`.
    """

    def __init__(self, locator: PodLocator) -> None:
        if not callable(getattr(locator, "locate", None)):
            raise TypeError(f"locator must have a locate method; {locator!r} has none")
        super().__init__(locator)
        self.locator = locator
        self.locate = locator.locate
        self.selection_key: SelectionKey | None = getattr(locator, "selection_key", None)
        self.subscribe_changes: SubscribeChanges | None = getattr(locator, "subscribe_changes", None)
        self.selects: Selects | None = getattr(locator, "selects", None)

    @property
    def is_incremental(self) -> bool:
        """Whether it tells which pods come and go and what selections they belong to, and nothing else moves it."""
        return None not in (self.selection_key, self.subscribe_changes, self.selects) and self.next_change is None
