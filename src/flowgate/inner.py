"""A plug-in inside another one: which optional parts it has, and how it is entered."""

from collections.abc import Callable
from types import TracebackType
from typing import Any, Generic, Self, TypeVar, cast

from flowgate.contracts import ChangeCallback

__all__ = ["Bind", "Inner", "NextChange", "Subscribe", "Wrapper"]

Subscribe = Callable[[ChangeCallback], Callable[[], None]]
Bind = Callable[[Callable[[], float]], None]
NextChange = Callable[[], float | None]


class Inner:
    """A wrapped plug-in; each optional part that it does not have is None.

    A wrapper offers a part only as far as the inner one has it. None stands for absent everywhere: an engine asks with
    ``getattr(plugin, part, None)``, and ``isinstance`` against a Protocol says no. As an async context manager this
    enters and leaves the plug-in, if that is one.
    """

    def __init__(self, plugin: object) -> None:
        self._plugin = plugin
        self.subscribe: Subscribe | None = getattr(plugin, "subscribe", None)
        self.bind: Bind | None = getattr(plugin, "bind", None)
        self.next_change: NextChange | None = getattr(plugin, "next_change", None)

    @property
    def is_silent(self) -> bool:
        """Whether it can tell of no change, so that it must be polled; a wrapper must then be silent too."""
        return self.subscribe is None and self.next_change is None

    async def __aenter__(self) -> Self:
        if self._is_context:
            await cast("Any", self._plugin).__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        if self._is_context:
            return cast("bool | None", await cast("Any", self._plugin).__aexit__(kind, error, traceback))
        return None

    @property
    def _is_context(self) -> bool:
        return hasattr(self._plugin, "__aenter__") and hasattr(self._plugin, "__aexit__")


_Inner = TypeVar("_Inner", bound=Inner)


class Wrapper(Generic[_Inner]):
    """A plug-in around another one, which is entered and left with it."""

    _inner: _Inner

    async def __aenter__(self) -> Self:
        await self._inner.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        return await self._inner.__aexit__(kind, error, traceback)
