"""A locator's answers, remembered for a short time."""

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping, Sequence

import attrs

from flowgate.announcer import Announcer
from flowgate.contracts import Pod, PodLocator
from flowgate.inner import NextChange, Subscribe, Wrapper
from flowgate.locators._checks import check_seconds
from flowgate.locators._inner import InnerLocator

__all__ = ["CachedPodLocator"]


@attrs.define(eq=False)
class _Entry:
    pods: tuple[Pod, ...]
    expires: float


class CachedPodLocator(Wrapper[InnerLocator]):
    """Remembers the answers of a locator that is expensive to ask, by their selection key.

    An answer is a tuple: nobody can change what the next one gets. All are forgotten at once when the inner locator
    announces a change or its own `next_change` has come. At most `max_entries` are kept, those used last. An inner
    locator that raises is asked again at the next call. `locate` is O(1) for what is remembered.

    Where the inner locator announces changes, so does this one, and `next_change` is the inner one's, or None. Else
    nothing but time tells, and `next_change` is the time at which the first answer expires. An inner locator that is
    an async context manager is entered and left with this one. Until a clock is bound, `time.monotonic` is used.

    Args:
        locator: The locator to ask; it must have a `selection_key`.
        ttl: Longest time for which an answer is used, in seconds.
        max_entries: Most answers kept.

    Raises:
        ValueError: `ttl` is not finite or not more than 0, or `max_entries` less than 1.
        TypeError: The locator has no `locate` or no `selection_key`, or a number is none.

    >>> from flowgate.locators import StaticPodLocator
    >>> pool = StaticPodLocator()
    >>> locator = CachedPodLocator(pool)
    >>> locator.locate({})
    ()
    >>> pool.set_pods([Pod("a", "10.0.0.1", 8000)])
    >>> len(locator.locate({}))
    1
    """

    def __init__(self, locator: PodLocator, ttl: float = 0.05, max_entries: int = 1_024) -> None:
        self._inner = InnerLocator(locator)
        if self._inner.selection_key is None:
            raise TypeError(f"a cached locator needs an inner one with a selection_key; {locator!r} has none")
        self._key_of = self._inner.selection_key
        self._ttl = check_seconds("ttl", ttl)
        self._max_entries = _check_max_entries(max_entries)
        self._clock: Callable[[], float] = time.monotonic
        # The same entries twice: least recently used first, and first to expire first.
        self._entries: OrderedDict[Hashable, _Entry] = OrderedDict()
        self._expiry: OrderedDict[Hashable, _Entry] = OrderedDict()
        self._inner_change = math.inf
        self._announcer = Announcer()
        self.subscribe: Subscribe | None = None
        self.next_change: NextChange | None = self._next_expiry
        if self._inner.subscribe:
            self._inner.subscribe(self._changed)
            self.subscribe = self._announcer.subscribe
            self.next_change = self._inner.next_change

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._inner.locator!r}, ttl={self._ttl}, max_entries={self._max_entries})"

    def bind(self, clock: Callable[[], float]) -> None:
        """Take the clock (seconds), for the inner locator too; answers remembered by another clock are forgotten."""
        self._forget()
        self._clock = clock
        if self._inner.bind:
            self._inner.bind(clock)

    def selection_key(self, metadata: Mapping[str, object]) -> Hashable:
        """Return the inner locator's key."""
        return self._key_of(metadata)

    def locate(self, metadata: Mapping[str, object]) -> Sequence[Pod]:
        """Return what the inner locator answered, at most `ttl` seconds ago."""
        key = self._key_of(metadata)
        self._drop_expired()
        entry = self._entries.get(key)
        if entry is None:
            pods = tuple(self._inner.locate(metadata))
            self._remember(key, pods)
            return pods
        self._entries.move_to_end(key)
        return entry.pods

    def _remember(self, key: Hashable, pods: tuple[Pod, ...]) -> None:
        entry = _Entry(pods, self._clock() + self._ttl)
        self._entries[key] = self._expiry[key] = entry
        if len(self._entries) > self._max_entries:
            oldest, _entry = self._entries.popitem(last=False)
            del self._expiry[oldest]
        change = self._inner.next_change() if self._inner.next_change else None
        self._inner_change = min(self._inner_change, math.inf if change is None else change)

    def _next_expiry(self) -> float | None:
        self._drop_expired()
        first = next(iter(self._expiry.values()), None)
        return None if first is None else min(first.expires, self._inner_change)

    def _drop_expired(self) -> None:
        now = self._clock()
        if now >= self._inner_change:
            self._forget()
        while (first := next(iter(self._expiry), None)) is not None and now >= self._expiry[first].expires:
            del self._expiry[first], self._entries[first]

    def _changed(self, pods: Sequence[Pod] | None = None) -> None:
        # Before anybody hears of it: whoever asks from inside the announcement must get the new answer.
        self._forget()
        self._announcer.announce(pods)

    def _forget(self) -> None:
        self._entries.clear()
        self._expiry.clear()
        self._inner_change = math.inf


def _check_max_entries(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"max_entries must be an int, not {value!r}")
    if value < 1:
        raise ValueError(f"max_entries must be 1 or more, not {value!r}")
    return value
