"""All pods of the pool, scraped."""

import asyncio
import logging
from collections.abc import Mapping, Sequence

import aiohttp

from flowgate import Pod
from flowgate_epp.pods import PodStore
from flowgate_epp.scraping._settings import ScraperSettings
from flowgate_epp.scraping._watch import PodWatch, ScrapeStatus, Tally

__all__ = ["Scraper"]

_logger = logging.getLogger("flowgate_epp.scraping")

_SHORTEST_KEEPALIVE = 15.0
# A page compressed anew for each scrape would cost the model server more than the network saves.
_HEADERS = {"Accept": "text/plain;version=0.0.4", "Accept-Encoding": "identity", "User-Agent": "flowgate-epp"}


class Scraper:
    """Keeps the metrics of a store's pods new: a task for each pod, over a connection of its own that stays open.

    A pod has at most one scrape at a time, which ends by its timeout: pods that hang hold up neither each other nor
    the healthy ones, and never pile up.

    Args:
        settings: When and how.
        store: The pods, and where their metrics go.
    """

    def __init__(self, settings: ScraperSettings, store: PodStore) -> None:
        self._settings = settings
        self._store = store
        self._engines = settings.engines
        self._watches: dict[Pod, tuple[PodWatch, asyncio.Task[None]]] = {}
        self._changed = asyncio.Event()
        # Pods that may have come or gone since the last look; None: any may.
        self._moved: dict[Pod, None] | None = None
        self._tally = Tally()
        self._is_stretched = False

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {len(self._watches)} pods>"

    @property
    def successes(self) -> int:
        """Good scrapes of all pods, those that have gone included."""
        return self._tally.successes

    @property
    def failures(self) -> int:
        """Failed scrapes of all pods, those that have gone included."""
        return self._tally.failures

    @property
    def interval(self) -> float:
        """Time from one scrape of a pod to its next, in seconds, before jitter: longer when there are many pods."""
        return max(self._settings.interval, len(self._watches) / self._settings.max_rate)

    def status(self) -> Mapping[Pod, ScrapeStatus]:
        """Return how the scraping of each pod goes. O(pods)."""
        return {pod: watch.status for pod, (watch, _) in self._watches.items()}

    async def run(self) -> None:
        """Scrape until cancelled."""
        self._moved = None
        unsubscribe = self._store.subscribe_changes(self._hear)
        try:
            async with self._new_session() as session, asyncio.TaskGroup() as tasks:
                while True:
                    self._changed.clear()
                    self._follow(session, tasks)
                    await self._changed.wait()
        finally:
            unsubscribe()
            self._watches.clear()

    def _new_session(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=0, keepalive_timeout=max(_SHORTEST_KEEPALIVE, 3.0 * self._settings.interval)
            ),
            timeout=aiohttp.ClientTimeout(total=self._settings.timeout),
            headers=_HEADERS,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
        )

    def _hear(
        self, pods: Sequence[Pod] | None = None, *, removed: Sequence[Pod] = (), added: Sequence[Pod] = ()
    ) -> None:
        if pods is not None and not removed and not added:
            return
        self._changed.set()
        is_all = pods is None or self._moved is None
        self._moved = None if is_all else {**(self._moved or {}), **dict.fromkeys([*removed, *added])}

    def _follow(self, session: aiohttp.ClientSession, tasks: asyncio.TaskGroup) -> None:
        moved, self._moved = self._moved, {}
        for pod in [*self._watches, *self._store.pods] if moved is None else moved:
            is_there, is_watched = self._store.find(pod) is not None, pod in self._watches
            if is_watched and not is_there:
                _, task = self._watches.pop(pod)
                task.cancel()
            elif is_there and not is_watched:
                watch = PodWatch(
                    pod, self._store, session, self._settings, self._engines, lambda: self.interval, self._tally
                )
                self._watches[pod] = watch, tasks.create_task(watch.run(), name=f"scrape {pod.endpoint}")
        self._tell_stretched()

    def _tell_stretched(self) -> None:
        is_stretched = self.interval > self._settings.interval
        if is_stretched and not self._is_stretched:
            _logger.warning(
                "%d pods every %g s would be more than %g scrapes a second: each is scraped every %g s",
                len(self._watches),
                self._settings.interval,
                self._settings.max_rate,
                self.interval,
            )
        self._is_stretched = is_stretched
