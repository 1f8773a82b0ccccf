"""Who hears of events: observers, and the log where a plug-in fails."""

import logging
from collections.abc import Callable, Iterable
from typing import Any, cast

from flowgate.contracts import (
    Dispatched,
    Dropped,
    Enqueued,
    Observer,
    PassEnded,
    PluginFailed,
    PodsChanged,
    Released,
)
from flowgate.plugins import plugin_name

__all__ = ["Audience", "FailureLog"]

_log = logging.getLogger("flowgate")
_LOG_PERIOD = 60.0
_METHODS: dict[type, str] = {
    Enqueued: "on_enqueued",
    Dispatched: "on_dispatched",
    Dropped: "on_dropped",
    Released: "on_released",
    PassEnded: "on_pass",
    PodsChanged: "on_pods_changed",
    PluginFailed: "on_plugin_error",
}


class FailureLog:
    """Logs failures of plug-ins, at most once a minute for each plug-in and kind."""

    def __init__(self) -> None:
        self._silent_until: dict[tuple[str, str], float] = {}

    def write(self, failure: PluginFailed) -> None:
        """Log a failure, unless the same plug-in failed in the last minute."""
        which = failure.kind, failure.name
        if failure.time >= self._silent_until.get(which, failure.time):
            self._silent_until[which] = failure.time + _LOG_PERIOD
            _log.error("%s %s failed: %r", failure.kind, failure.name, failure.error, exc_info=failure.error)


class Audience:
    """The observers of a controller.

    Args:
        observers: Objects with some of `Observer`'s methods.
        on_failure: Called with each observer that raised, and its error.

    Attributes:
        hears: The kinds of events that somebody wants to hear.

    Raises:
        TypeError: An observer has none of the methods.
    """

    def __init__(self, observers: Iterable[object], on_failure: Callable[[object, BaseException], None]) -> None:
        self._on_failure = on_failure
        self._failures = FailureLog()
        self._listeners: dict[type, list[tuple[object, Callable[[Any], object]]]] = {}
        for observer in observers:
            self._add(observer)
        self.hears: frozenset[type] = frozenset(self._listeners)

    def _add(self, observer: object) -> None:
        found = False
        for kind, name in _METHODS.items():
            method = getattr(observer, name, None)
            if method is None:
                continue
            found = True
            if getattr(type(observer), name, None) is not getattr(Observer, name):  # the base's own does nothing
                self._listeners.setdefault(kind, []).append((observer, method))
        if not found:
            raise TypeError(f"an observer must have one of {', '.join(_METHODS.values())}; {observer!r} has none")

    def publish(self, events: Iterable[object]) -> None:
        """Tell everybody who wants to hear of these events, in order."""
        for event in events:
            kind = type(event)
            if kind is PluginFailed:
                self._failures.write(cast("PluginFailed", event))
            for observer, method in self._listeners.get(kind, ()):
                try:
                    method(event)
                except Exception as error:  # an observer may raise anything
                    if isinstance(event, PluginFailed):  # telling the observers of this one would go round in circles
                        self._failures.write(PluginFailed(event.time, "observer", plugin_name(observer), error))
                    else:
                        self._on_failure(observer, error)
