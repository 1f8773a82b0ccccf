"""Which pods came and went, told once, and read by each lane when its turn comes."""

from collections.abc import Callable, Hashable, Sequence
from typing import cast

from flowgate.contracts import Pod, PodLocator, PoolCallback

__all__ = ["PoolLog"]

_LENGTH = 4_096

_Selects = Callable[[Hashable, Pod], bool]


class PoolLog:
    """What an `Incremental` locator has told lately; of any other one, nothing.

    Attributes:
        base: The number of the first entry that is still there.
        end: The number that the next entry gets.
        selects: Whether a pod is a candidate of a selection; None where the locator cannot say.
        subscribe: How to hear which pods come and go; None where it does not tell.
    """

    __slots__ = ("_entries", "base", "end", "selects", "subscribe")

    def __init__(self, locator: PodLocator) -> None:
        self._entries: list[tuple[Pod, bool]] = []
        self.base: int = 0
        self.end: int = 0
        parts = [getattr(locator, part, None) for part in ("selection_key", "subscribe_changes", "selects")]
        is_incremental = all(parts)
        self.selects: _Selects | None = cast("_Selects", parts[2]) if is_incremental else None
        self.subscribe: Callable[[PoolCallback], Callable[[], None]] | None = parts[1] if is_incremental else None

    def note(self, removed: Sequence[Pod], added: Sequence[Pod]) -> None:
        """Note that pods left, and then others came. O(change).

        Raises:
            TypeError: One is not a `Pod`.
        """
        for pod in [*removed, *added]:
            if not isinstance(pod, Pod):  # plug-ins may be untyped
                raise TypeError(f"a locator announces Pods, not {pod!r}")
        self._entries += [(pod, False) for pod in removed]
        self._entries += [(pod, True) for pod in added]
        self.end = self.base + len(self._entries)
        if len(self._entries) > _LENGTH:
            self.base = self.end
            self._entries.clear()

    def since(self, number: int, most: int) -> Sequence[tuple[Pod, bool]] | None:
        """Return the entries from a number on, oldest first: a pod, and whether it came; None for more than `most`."""
        if number < self.base or self.end - number > most:
            return None
        return self._entries[number - self.base :]
