"""One picture for everybody who watches: drawn once a tick, and only while somebody does.

A watcher that is slow gets the newest picture when it asks for the next one, and misses those in between. So it costs
no memory, and holds nobody up.
"""

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Self

__all__ = ["Feed", "Watch"]


class Feed:
    """Draws frames for its watchers.

    Args:
        draw: Draws one frame.
        interval: Seconds between two of them.

    Attributes:
        watchers: How many watch.
        drawn: How many frames were drawn.
        frame: The newest one.
        is_closed: Whether there will be no more.
    """

    def __init__(self, draw: Callable[[], bytes], interval: float) -> None:
        self._draw = draw
        self._interval = interval
        self._timer: asyncio.TimerHandle | None = None
        self.changed: asyncio.Event = asyncio.Event()
        """Set when there is a newer frame, and replaced by a new one then."""
        self.watchers: int = 0
        self.drawn: int = 0
        self.frame: bytes = b""
        self.is_closed: bool = False

    @property
    def is_ticking(self) -> bool:
        """Whether another frame will be drawn."""
        return self._timer is not None

    def watch(self) -> "Watch":
        """Return one watcher's view, a context manager."""
        return Watch(self)

    def close(self) -> None:
        """Draw no more, and let every watcher know."""
        self.is_closed = True
        self._rest()
        self.changed.set()

    def join(self) -> None:
        """Count a watcher; the first one sets the feed going."""
        self.watchers += 1
        if self.watchers > 1 or self.is_closed:
            return
        try:
            self._tick()
        except BaseException:  # who cannot be shown the first frame does not watch, and never leaves
            self.leave()
            raise

    def leave(self) -> None:
        """Count a watcher no longer; after the last one nothing is drawn."""
        self.watchers -= 1
        if not self.watchers:
            self._rest()

    def _tick(self) -> None:
        # Set first: a frame that cannot be drawn must not be the last.
        self._timer = asyncio.get_running_loop().call_later(self._interval, self._tick)
        self.frame = self._draw()
        self.drawn += 1
        self.changed.set()
        self.changed = asyncio.Event()

    def _rest(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class Watch:
    """One watcher's view of a feed; made by `Feed.watch`."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self._seen = -1

    def __enter__(self) -> Self:
        self._feed.join()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._feed.leave()

    async def next(self) -> bytes | None:
        """Wait for a frame that this watcher has not had, and return the newest; None when the feed is closed."""
        feed = self._feed
        while self._seen == feed.drawn and not feed.is_closed:
            await feed.changed.wait()
        if feed.is_closed:
            return None
        self._seen = feed.drawn
        return feed.frame
