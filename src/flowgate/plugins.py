"""Plug-ins, as the engine sees them: they may fail, and some must be asked again."""

import math
from collections.abc import Callable
from typing import Any

__all__ = ["FailureSink", "Watched", "plugin_name"]

FailureSink = Callable[[str, object, BaseException], None]


def plugin_name(plugin: object) -> str:
    """Return a plug-in's own name, else its type's; a class's is its own."""
    if isinstance(plugin, type):
        return plugin.__name__
    name = getattr(plugin, "name", None)
    return name if isinstance(name, str) and name else type(plugin).__name__


class Watched:
    """A locator or detector, and the answer to: may what it said last be out of date?

    An *epoch* names a time in which its answers stay the same. It ends with an announcement, at the time that
    `next_change` gave, and, for a plug-in that can announce nothing or that failed, when it is polled.

    Args:
        kind: What it is, for errors.
        plugin: The plug-in.
        clock: What it is bound to.
        on_failure: Called with each failure.
        poll_interval: Seconds between two looks, where only looking helps.
    """

    __slots__ = (
        "_clock",
        "_next_change",
        "_on_failure",
        "_poll_at",
        "changes_by_time",
        "due",
        "epoch",
        "is_silent",
        "kind",
        "plugin",
        "poll_interval",
        "unsubscribe",
    )

    def __init__(
        self,
        kind: str,
        plugin: object,
        clock: Callable[[], float],
        on_failure: FailureSink,
        poll_interval: float,
    ) -> None:
        self.kind: str = kind
        self.plugin: object = plugin
        self.poll_interval: float = poll_interval
        self.epoch: int = 0
        self.due: float = math.inf
        self._poll_at = math.inf
        self.unsubscribe: Callable[[], object] | None = None
        self._clock = clock
        self._on_failure = on_failure
        self._next_change: Callable[[], float | None] | None = getattr(plugin, "next_change", None)
        self.is_silent: bool = self._next_change is None and getattr(plugin, "subscribe", None) is None
        self.changes_by_time: bool = self._next_change is not None or self.is_silent

    def bind(self) -> None:
        """Bind the plug-in to the clock, if it wants one."""
        bind = getattr(self.plugin, "bind", None)
        if bind is not None:
            bind(self._clock)

    def connect(
        self, on_change: Callable[..., None], subscribe: Callable[[Any], Callable[[], object]] | None = None
    ) -> None:
        """Bind the plug-in to the clock, and hear what it announces: by this way, or by its own `subscribe`."""
        self.bind()
        subscribe = subscribe or getattr(self.plugin, "subscribe", None)
        if subscribe is not None:
            self.unsubscribe = subscribe(on_change)

    def disconnect(self) -> None:
        """Hear no more."""
        if self.unsubscribe is not None:
            self.unsubscribe()
            self.unsubscribe = None

    def fail(self, error: BaseException) -> None:
        """Note that it raised or answered nonsense; it is polled until it answers."""
        self.poll()
        self._on_failure(self.kind, self.plugin, error)

    def look_again(self) -> None:
        """End the epoch of a plug-in that can announce nothing, for an arrival; the poll stays as it is planned."""
        if self.is_silent:
            self.epoch += 1

    def expire(self) -> None:
        """End the epoch: whatever it said may be out of date. It may also have recovered."""
        self.epoch += 1
        self.due = self._poll_at = math.inf

    def plan(self) -> None:
        """Find out when it must be asked again; called after it was asked for anything."""
        if self.is_silent:
            self.poll()
        if self._next_change is None:
            return
        try:
            at = self._next_change()
            if at is not None and not at > -math.inf:
                raise ValueError(f"next_change() answered {at!r}, which is no time")  # noqa: TRY301 - one way to fail
        except Exception as error:  # a plug-in may raise anything
            self.fail(error)
        else:
            self.due = self._poll_at if at is None else min(self._poll_at, self._no_busy_loop(at))

    def _no_busy_loop(self, at: float) -> float:
        # Asked just now, it names a time that is not to come: asking at once again would never end.
        now = self._clock()
        return float(at) if at > now else now + self.poll_interval

    def poll(self) -> None:
        """See to it that it is asked again after `poll_interval`."""
        if self._poll_at == math.inf:  # asking others in the meantime does not put it off
            self._poll_at = self._clock() + self.poll_interval
            self.due = min(self.due, self._poll_at)
