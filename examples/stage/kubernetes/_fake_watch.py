"""A watch: what happened since a version, and then what happens."""

import asyncio
import json
from collections import deque
from collections.abc import Iterator

import attrs
from aiohttp import web

from examples.stage.kubernetes._fake_selectors import Selection
from examples.stage.kubernetes._fake_status import StatusError
from examples.stage.kubernetes._fake_store import Change, Shelf, Store, Stored

__all__ = ["Watch"]

_LAST_BOOKMARK = 2.0


@attrs.define(eq=False)
class Watch:
    """One client's watch of one kind.

    Attributes:
        store: Where the version is known.
        shelf: The kind.
        selection: What of it is watched.
        version: What happened after this version is told; None: first what there is.
        timeout: Seconds until it ends.
        bookmark_period: Seconds between bookmarks; None for none.
        marks_start: Whether a bookmark says that all there was has been told.
        running: Cleared while the server pauses.
        backlog: How many events a client may be behind before its watch ends.
    """

    store: Store
    shelf: Shelf
    selection: Selection
    version: int | None
    timeout: float
    bookmark_period: float | None
    marks_start: bool
    running: asyncio.Event
    backlog: int
    _pending: deque[str] = attrs.field(factory=deque, init=False)
    _is_behind: bool = attrs.field(default=False, init=False)
    _news: asyncio.Event = attrs.field(factory=asyncio.Event, init=False)

    async def tell(self, response: web.StreamResponse) -> None:
        """Tell until the time is over."""
        self.shelf.listeners.add(self._hear)
        try:
            if self._start():
                await self._follow(response)
            await self._flush(response)
        finally:
            self.shelf.listeners.discard(self._hear)

    def _start(self) -> bool:
        if self.version is not None:
            try:
                for change in self.shelf.since(self.version):
                    self._hear(change)
            except StatusError as error:
                self._say("ERROR", json.dumps(error.body, separators=(",", ":")))
                return False
            return True
        for stored in self.shelf.items.values():
            if self.selection.matches(stored):
                self._say("ADDED", stored.text)
        if self.marks_start:
            self._bookmark({"annotations": {"k8s.io/initial-events-end": "true"}})
        return True

    async def _follow(self, response: web.StreamResponse) -> None:
        loop = asyncio.get_running_loop()
        ends = loop.time() + self.timeout
        marks = self._bookmark_times(loop.time(), ends)
        mark = next(marks)
        while not self._is_behind:
            await self._flush(response)
            try:
                async with asyncio.timeout_at(mark):
                    await self._news.wait()
            except TimeoutError:
                if mark >= ends:
                    return
                # As a real server does it: only a version beyond the one that the client came with is worth a bookmark.
                if self.store.version > (self.version or 0):
                    self._bookmark({})
                mark = next(marks)

    def _bookmark_times(self, now: float, ends: float) -> Iterator[float]:
        last = ends - _LAST_BOOKMARK
        if self.bookmark_period is not None and last > now:
            while (now := now + self.bookmark_period) < last:
                yield now
            yield last
        while True:
            yield ends

    async def _flush(self, response: web.StreamResponse) -> None:
        await self.running.wait()
        self._news.clear()
        if self._pending:
            text = "".join(self._pending)
            self._pending.clear()
            await response.write(text.encode())

    def _hear(self, change: Change) -> None:
        if self.version is not None and change.version <= self.version:
            return  # a watch may start ahead of what has happened
        before, after = self.selection.matches(change.before), self.selection.matches(change.after)
        if after and change.after is not None:
            self._say("MODIFIED" if before else "ADDED", change.after.text)
        elif before and change.before is not None:
            self._say("DELETED", Stored.of(change.before.key, change.version, change.before.object).text)

    def _bookmark(self, metadata: dict[str, object]) -> None:
        kind = self.shelf.kind
        marked = {
            "kind": kind.kind,
            "apiVersion": kind.api_version,
            "metadata": {"resourceVersion": str(self.store.version), **metadata},
        }
        self._say("BOOKMARK", json.dumps(marked, separators=(",", ":")))

    def _say(self, type_: str, text: str) -> None:
        if len(self._pending) < self.backlog:
            self._pending.append(f'{{"type":"{type_}","object":{text}}}\n')
        else:
            self._is_behind = True
        self._news.set()
