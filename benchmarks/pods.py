"""A thousand pods in one lane, whose metrics a scraper renews 20 times a second, beside one such pod."""

import asyncio
import time
from collections.abc import Sequence
from functools import partial
from itertools import count

import attrs

from benchmarks.floor import bare_queue
from benchmarks.load import Load
from benchmarks.rounds import Case, Stopwatch
from benchmarks.sizes import Sizes
from flowgate import FlowControlConfig, FlowController, Pod, PriorityBandConfig
from flowgate.contracts import PodMetrics
from flowgate.locators import StaticPodLocator
from flowgate.saturation import UtilizationDetector

__all__ = ["pods"]

_A_SECOND = 20
_TARGET = 1.5
_CACHE_LEVELS = 70


def pods(sizes: Sizes) -> list[list[Case]]:
    """Return the queued path with many pods of one slot, and with one pod of as many slots."""
    load = Load(sizes.callers, sizes.most, flows=sizes.callers, pods=sizes.most)
    floor, one = "bare futures, beside scraped pods", "queued, 1 scraped pod"
    return [
        [
            Case(floor, partial(bare_queue, load.callers, load.slots, sizes.each)),
            Case(one, partial(_scraped, attrs.evolve(load, pods=1), sizes.each), {floor: None}),
            Case(
                f"queued, {load.pods:,} scraped pods",
                partial(_scraped, load, sizes.each),
                {floor: None, one: _TARGET},
            ),
        ]
    ]


class _Scraper:
    """Renews the metrics of all pods, in proportion to the CPU time that the work under test takes.

    To make the records is not that work: a scraper does it in any case, so its time is taken out.
    """

    def __init__(self, load: Load) -> None:
        self._pods = load.make_pods()
        self._scrapes = count()
        self._due = 0.0
        self.locator = StaticPodLocator()
        self.own_seconds = 0.0
        self._began = time.process_time()

    def look(self) -> None:
        """Scrape, where it is time to."""
        began = time.process_time()
        if began - self._began - self.own_seconds < self._due:
            return
        self._due += 1 / _A_SECOND
        made = self._make(next(self._scrapes), time.monotonic())
        self.own_seconds += time.process_time() - began
        self.locator.set_pods(made)

    def _make(self, scrape: int, now: float) -> Sequence[Pod]:
        return [
            attrs.evolve(pod, metrics=PodMetrics(0, 1, (7 * scrape + number) % _CACHE_LEVELS / 100, now))
            for number, pod in enumerate(self._pods)
        ]

    async def run(self) -> None:
        """Look in every turn of the loop."""
        while True:
            self.look()
            await asyncio.sleep(0)


async def _scraped(load: Load, each: int) -> float:
    assert load.slots is not None
    numbers = count()

    async def call() -> None:
        for _ in range(each):
            with await controller.enqueue_and_wait(load.request(next(numbers))):
                await asyncio.sleep(0)

    scraper = _Scraper(load)
    scraper.look()
    detector = UtilizationDetector(queue_depth_threshold=load.slots // load.pods, staleness=60.0)
    config = FlowControlConfig([PriorityBandConfig(0, max_requests=None, max_bytes=None)])
    async with FlowController(config, locator=scraper.locator, detector=detector) as controller:
        scraper.own_seconds = 0.0
        with Stopwatch() as watch:
            scraping = asyncio.create_task(scraper.run())
            await asyncio.gather(*[call() for _ in range(load.callers)])
            scraping.cancel()
    return (watch.seconds - scraper.own_seconds) / (load.callers * each)
