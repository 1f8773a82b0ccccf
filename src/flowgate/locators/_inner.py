"""The locator inside another one, and which optional parts it has."""

from collections.abc import Callable, Hashable, Mapping
from types import TracebackType
from typing import Any, cast

from flowgate.contracts import ChangeCallback, PodLocator

__all__ = ["Bind", "InnerLocator", "NextChange", "SelectionKey", "Subscribe"]

SelectionKey = Callable[[Mapping[str, object]], Hashable]
Subscribe = Callable[[ChangeCallback], Callable[[], None]]
Bind = Callable[[Callable[[], float]], None]
NextChange = Callable[[], float | None]


class InnerLocator:
    """A wrapped locator; each optional part that it does not have is None.

    A wrapper offers a part only when the inner one has it. None stands for absent everywhere: an engine asks with
    ``getattr(locator, part, None)``, and ``isinstance`` against a Protocol says no.

    Raises:
        TypeError: The locator has no `locate`.
    """

    selection_key: SelectionKey | None
    subscribe: Subscribe | None
    bind: Bind | None
    next_change: NextChange | None

    def __init__(self, locator: PodLocator) -> None:
        if not callable(getattr(locator, "locate", None)):
            raise TypeError(f"locator must have a locate method; {locator!r} has none")
        self.locator = locator
        self.locate = locator.locate
        self.selection_key = getattr(locator, "selection_key", None)
        self.subscribe = getattr(locator, "subscribe", None)
        self.bind = getattr(locator, "bind", None)
        self.next_change = getattr(locator, "next_change", None)

    async def enter(self) -> None:
        """Enter the locator, if it is an async context manager."""
        if _is_context(self.locator):
            await cast("Any", self.locator).__aenter__()

    async def leave(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        """Leave it, if it is one, and return what it says."""
        if _is_context(self.locator):
            return cast("bool | None", await cast("Any", self.locator).__aexit__(kind, error, traceback))
        return None


def _is_context(locator: PodLocator) -> bool:
    return hasattr(locator, "__aenter__") and hasattr(locator, "__aexit__")
