"""Source, store, scraper and flow control together: what a new pod's first scrape sets free."""

import asyncio
from contextlib import suppress

import attrs

from flowgate import FlowControlConfig, FlowController, QueueOutcome, Request
from flowgate.locators import SubsetPodLocator
from flowgate.saturation import UtilizationDetector
from flowgate_epp.pods import PodEntry, StaticPods

# Nothing but events may wake it.
CONFIG = FlowControlConfig(poll_interval=3600.0)


def test_a_request_goes_to_a_new_pod_with_its_first_scrape(scraping):
    """Held while there is no pod, and while nothing is known of it; then by an event, in the same turn."""

    async def scenario():
        async with scraping(interval=3600.0) as scraped:
            detector = UtilizationDetector(staleness=60.0)
            locator = SubsetPodLocator(scraped.store)
            async with FlowController(CONFIG, locator=locator, detector=detector) as controller:
                waiting = asyncio.create_task(controller.enqueue_and_wait(Request("tenant")))
                (server,) = await scraped.add("a")
                assert controller.stats().queued_requests == 1
                await scraped.until(lambda: scraped.metrics(server))
                first_scrape = asyncio.get_running_loop().time()
                async with asyncio.timeout(5):
                    ticket = await waiting
                with ticket:
                    assert ticket.pod == server.pod
                assert asyncio.get_running_loop().time() - first_scrape < 1.0
                assert len(server.asked_at) == 1

    asyncio.run(scenario())


def test_a_static_source_fills_the_pool_of_a_controller(scraping):
    """The whole of it, from the configuration's pods on."""

    async def scenario():
        async with scraping(interval=3600.0) as scraped:
            (server,) = await scraped.add("a")
            scraped.store.set_pods([])
            source = StaticPods(pods=(PodEntry("a", "127.0.0.1", server.port),))
            filling = asyncio.create_task(source.run(scraped.store))
            detector = UtilizationDetector(staleness=60.0)
            async with (
                FlowController(CONFIG, locator=scraped.store, detector=detector) as controller,
                asyncio.timeout(5),
                controller.admitted(Request("tenant")) as ticket,
            ):
                assert ticket.pod == server.pod
            filling.cancel()
            with suppress(asyncio.CancelledError):
                await filling

    asyncio.run(scenario())


def test_a_pods_own_queue_closes_it_and_its_next_scrape_opens_it(scraping, page_of):
    """By what it says of itself."""

    async def scenario():
        async with scraping() as scraped:
            (server,) = await scraped.add("a")
            server.page = page_of(waiting=9)
            await scraped.until(lambda: scraped.metrics(server) and scraped.metrics(server).waiting == 9)
            detector = UtilizationDetector(queue_depth_threshold=5, staleness=60.0)
            async with FlowController(CONFIG, locator=scraped.store, detector=detector) as controller:
                waiting = asyncio.create_task(controller.enqueue_and_wait(Request("tenant")))
                await server.until_asked(3)
                assert controller.stats().queued_requests == 1
                server.page = page_of(waiting=0)
                async with asyncio.timeout(5):
                    ticket = await waiting
                ticket.release()

    asyncio.run(scenario())


def test_a_burst_between_two_scrapes_does_not_overshoot(scraping):
    """Tickets that the pod's metrics cannot show yet count as waiting, those of the scrape under way as well."""

    async def scenario():
        async with scraping(timeout=5.0) as scraped:
            (server,) = await scraped.add("a")
            await scraped.until(lambda: scraped.metrics(server))
            server.is_hanging = True
            await server.until_asked()
            detector = UtilizationDetector(queue_depth_threshold=3, staleness=60.0)
            async with FlowController(CONFIG, locator=scraped.store, detector=detector) as controller:
                calls = [asyncio.create_task(controller.enqueue_and_wait(Request("tenant"))) for _ in range(10)]
                done, _ = await asyncio.wait(calls, timeout=0.05)
                assert len(done) == 3
                assert controller.stats().queued_requests == 7
                for call in calls:
                    call.cancel()
                await asyncio.wait(calls)
                for call in done:
                    call.result().release()

    asyncio.run(scenario())


def test_a_pod_that_hangs_closes_when_its_metrics_are_stale(scraping):
    """And stays closed until it answers."""

    async def scenario():
        async with scraping(timeout=0.05) as scraped:
            (server,) = await scraped.add("a")
            await scraped.until(lambda: scraped.metrics(server))
            server.is_hanging = True
            await scraped.until_failed(server)
            # As old as it would be two seconds later.
            metrics = scraped.metrics(server)
            scraped.store.set_metrics(server.pod, attrs.evolve(metrics, updated_at=metrics.updated_at - 2.0))
            config = attrs.evolve(CONFIG, default_ttl=60.0)
            async with FlowController(config, locator=scraped.store, detector=UtilizationDetector()) as controller:
                waiting = asyncio.create_task(controller.enqueue_and_wait(Request("tenant")))
                await scraped.until_failed(server, times=2)
                assert controller.stats().queued_requests == 1
                server.is_hanging = False
                async with asyncio.timeout(5):
                    ticket = await waiting
                ticket.release()
                assert controller.stats().outcomes[QueueOutcome.DISPATCHED] == 1

    asyncio.run(scenario())
