"""Who wants to hear of a plug-in's changes."""

from collections.abc import Callable, Sequence

from flowgate.contracts import ChangeCallback, Pod

__all__ = ["Announcer"]


class Announcer:
    """Calls each subscriber, in the order in which they subscribed."""

    def __init__(self) -> None:
        # By a token of its own, not by itself: one callback may subscribe twice, and need not be hashable.
        self._callbacks: dict[object, ChangeCallback] = {}

    def subscribe(self, callback: ChangeCallback) -> Callable[[], None]:
        """Register the callback; returns a function that takes it back, and may be called again."""
        token = object()
        self._callbacks[token] = callback

        def unsubscribe() -> None:
            self._callbacks.pop(token, None)

        return unsubscribe

    def announce(self, pods: Sequence[Pod] | None = None) -> None:
        """Tell all who subscribed before this call."""
        for callback in tuple(self._callbacks.values()):
            callback(pods)
