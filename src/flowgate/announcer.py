"""Who wants to hear of a plug-in's changes."""

from collections.abc import Callable, Sequence

from flowgate.contracts import ChangeCallback, Pod, PoolCallback

__all__ = ["Announcer"]


class Announcer:
    """Calls each subscriber, in the order in which they subscribed."""

    def __init__(self) -> None:
        # By a token of its own, not by itself: one callback may subscribe twice, and need not be hashable.
        self._callbacks: dict[object, PoolCallback] = {}

    def subscribe(self, callback: ChangeCallback) -> Callable[[], None]:
        """Register the callback; returns a function that takes it back, and may be called again."""

        def simplified(
            pods: Sequence[Pod] | None = None, *, removed: Sequence[Pod] = (), added: Sequence[Pod] = ()
        ) -> None:
            callback(None if removed or added else pods)

        return self.subscribe_changes(simplified)

    def subscribe_changes(self, callback: PoolCallback) -> Callable[[], None]:
        """Do the same for one who wants to hear which pods came and went."""
        token = object()
        self._callbacks[token] = callback

        def unsubscribe() -> None:
            self._callbacks.pop(token, None)

        return unsubscribe

    def announce(
        self, pods: Sequence[Pod] | None = None, *, removed: Sequence[Pod] = (), added: Sequence[Pod] = ()
    ) -> None:
        """Tell all who subscribed before this call; the arguments are those of a `PoolCallback`."""
        for callback in tuple(self._callbacks.values()):
            callback(pods, removed=removed, added=added)
