"""One pod, scraped again and again."""

import asyncio
import logging
import os
import random
from collections.abc import Callable, Mapping
from typing import Final

import aiohttp
import attrs

from flowgate import Pod, PodMetrics
from flowgate_epp.pods import Backoff, Outage, PodStore, jittered
from flowgate_epp.scraping._names import MetricNames
from flowgate_epp.scraping._page import PageError, PageReader
from flowgate_epp.scraping._reading import metrics_of, names_in
from flowgate_epp.scraping._settings import ScraperSettings

__all__ = ["PodWatch", "ScrapeStatus", "Tally"]

_logger = logging.getLogger("flowgate_epp.scraping")

_OK: Final = 200
# Good scrapes in a row that end an outage: a pod that fails now and then has one, not hundreds.
_CALM: Final = 10


@attrs.define(slots=True)  # unfrozen: counted up with each scrape
class Tally:
    """How many scrapes were good, and how many failed."""

    successes: int = 0
    failures: int = 0


@attrs.frozen
class ScrapeStatus:
    """How the scraping of one pod goes.

    Args:
        successes: Scrapes that were good, since the pod was first seen.
        failures: Those that failed.
        last_success: When the last good one began, in seconds of the loop's clock; None when there was none.
        seconds: How long the last one took; 0.0 before the first has ended.
        error: Why the last one failed; None when it was good.
    """

    successes: int = 0
    failures: int = 0
    last_success: float | None = None
    seconds: float = 0.0
    error: str | None = None


class PodWatch:
    """Scrapes one pod until cancelled, one scrape after the other, and keeps its record in the store new.

    The first scrape is made at once, the second at a random time within the interval, so that pods that came together
    are not asked together for ever. A pod that fails is asked after growing pauses; its last metrics stay, and age.

    Args:
        pod: The pod.
        store: Where its metrics go, and its newest labels are.
        session: Asks over HTTP.
        settings: How.
        engines: The names of each engine.
        interval: Tells the present interval between scrapes, in seconds.
        tally: Counts the scrapes of all pods.
    """

    def __init__(
        self,
        pod: Pod,
        store: PodStore,
        session: aiohttp.ClientSession,
        settings: ScraperSettings,
        engines: Mapping[str, MetricNames],
        interval: Callable[[], float],
        tally: Tally,
    ) -> None:
        self._pod = pod
        self._store = store
        self._session = session
        self._settings = settings
        self._engines = engines
        self._interval = interval
        self._tally = tally
        self._url = settings.url_of(pod)
        self._backoff = Backoff(settings.interval, max(settings.max_pause, settings.interval))
        self._outage = Outage(
            _logger,
            f'the metrics of pod "{pod.name}" at {pod.endpoint}',
            "its last ones stay until they are stale",
            calm=_CALM,
        )
        self.status: ScrapeStatus = ScrapeStatus()

    async def run(self) -> None:
        """Scrape until cancelled."""
        clock = asyncio.get_running_loop().time
        share = random.random()
        while True:
            started = clock()
            await self._scrape(clock)
            await asyncio.sleep(share * self._pause(clock() - started))
            share = 1.0

    def _pause(self, elapsed: float) -> float:
        interval = self._interval()
        if self.status.error is not None:
            return max(interval, self._backoff.pause())
        # From beginning to beginning; but a pod that answers slowly is not asked without a rest.
        return max(jittered(interval, self._settings.jitter) - elapsed, 0.5 * interval)

    async def _scrape(self, clock: Callable[[], float]) -> None:
        asked_at = clock()
        try:
            metrics = await self._ask(asked_at)
        except Exception as error:  # whatever ails a pod, it is that pod's failure
            self._fail(self._reason(error), clock() - asked_at)
            return
        self._tally.successes += 1
        self._outage.recover()
        self._backoff.reset()
        self.status = attrs.evolve(
            self.status,
            successes=self.status.successes + 1,
            last_success=asked_at,
            seconds=clock() - asked_at,
            error=None,
        )
        self._store.set_metrics(self._pod, metrics)

    async def _ask(self, asked_at: float) -> PodMetrics:
        names = self._names()
        async with self._session.get(self._url, allow_redirects=False) as response:
            if response.status != _OK:
                raise PageError(f"it answered with status {response.status}")
            if encoding := response.headers.get("Content-Encoding"):
                raise PageError(f"its metrics page comes as {encoding}, which was not asked for")
            reader = PageReader(names_in(names), self._settings.max_bytes)
            async for piece in response.content.iter_any():
                reader.feed(piece)
        return metrics_of(reader.finish(), names, asked_at)

    def _names(self) -> MetricNames:
        # The store's record: labels may have changed.
        engine = self._settings.engine_of(self._store.find(self._pod) or self._pod)
        if engine not in self._engines:
            raise PageError(f"there are no metric names for its engine {engine!r}, only for {', '.join(self._engines)}")
        return self._engines[engine]

    def _reason(self, error: Exception) -> str:
        if isinstance(error, TimeoutError):
            return f"no answer within {self._settings.timeout:g} s"
        if isinstance(error, aiohttp.ClientConnectorError) and error.errno:
            return f"no connection: {os.strerror(error.errno)}"
        return str(error) if isinstance(error, PageError) else f"{type(error).__name__}: {error}"

    def _fail(self, reason: str, seconds: float) -> None:
        self._tally.failures += 1
        self._outage.fail(reason)
        self.status = attrs.evolve(self.status, failures=self.status.failures + 1, seconds=seconds, error=reason)
