"""The locator inside another one."""

from collections.abc import Callable, Hashable, Mapping

from flowgate.contracts import PodLocator
from flowgate.inner import Inner

__all__ = ["InnerLocator", "SelectionKey"]

SelectionKey = Callable[[Mapping[str, object]], Hashable]


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
