"""All pods, scraped over real sockets."""

import asyncio
import gc
import itertools
import weakref

import attrs
import pytest

from flowgate import Pod


def messages(caplog, level="WARNING"):
    return [record.getMessage() for record in caplog.records if record.levelname == level]


def test_it_keeps_the_metrics_of_every_pod_new(scraping, page_of):
    """From the first scrape, made at once, and with every one after it."""

    async def scenario():
        async with scraping() as scraped:
            a, b = await scraped.add("a", "b")
            a.page, b.page = page_of(waiting=3, running=8, usage=0.25), page_of(waiting=1)
            await scraped.until(lambda: scraped.metrics(a) and scraped.metrics(b))
            await scraped.until(lambda: scraped.metrics(a).waiting == 3 and scraped.metrics(b).waiting == 1)
            assert (scraped.metrics(a).running, scraped.metrics(a).kv_cache_usage) == (8, 0.25)
            a.page = page_of(waiting=4)
            await scraped.until(lambda: scraped.metrics(a).waiting == 4)

    asyncio.run(scenario())


def test_a_new_pod_is_scraped_at_once(scraping):
    """However long the interval."""

    async def scenario():
        async with scraping(interval=3600.0) as scraped:
            for name in "abc":
                (server,) = await scraped.add(name)
                await scraped.until(lambda server=server: scraped.metrics(server))
            assert [len(server.asked_at) for server in scraped.servers] == [1, 1, 1]

    asyncio.run(scenario())


def test_metrics_are_as_old_as_the_question(scraping):
    """Tickets charged while it was under way came after what the pod says of itself."""

    async def scenario():
        async with scraping() as scraped:
            before = asyncio.get_running_loop().time()
            (server,) = await scraped.add("a")
            await scraped.until(lambda: scraped.metrics(server))
            assert before <= scraped.metrics(server).updated_at <= server.asked_at[0]

    asyncio.run(scenario())


def test_each_pod_has_one_connection_that_stays_open(scraping):
    """And is asked for its page, as plain text, uncompressed."""

    async def scenario():
        async with scraping(path="/stats?kind=short") as scraped:
            servers = await scraped.add("a", "b")
            await asyncio.gather(*(server.until_asked(5) for server in servers))
            for server in servers:
                assert len(server.connections) == 1
                assert server.requests[0].path_qs == "/stats?kind=short"
                assert server.requests[0].headers["Accept"] == "text/plain;version=0.0.4"
                assert server.requests[0].headers["Accept-Encoding"] == "identity"

    asyncio.run(scenario())


def test_pages_may_have_a_port_of_their_own(scraping, page_of):
    """Triton's do."""

    async def scenario():
        async with scraping() as other, other.stack:
            (server,) = await other.add("a")
            server.page = page_of(waiting=7)
            async with scraping(port=server.port) as scraped:
                pod = Pod("triton", "127.0.0.1", 1)
                scraped.store.set_pods([pod])
                await scraped.until(lambda: scraped.store.find(pod).metrics)
                assert scraped.store.find(pod).metrics.waiting == 7

    asyncio.run(scenario())


def test_pods_with_ipv6_addresses_are_scraped(scraping):
    """The URL has brackets."""

    async def scenario():
        async with scraping() as scraped:
            (server,) = await scraped.add("a", host="::1")
            await scraped.until(lambda: scraped.metrics(server))

    asyncio.run(scenario())


def test_scrapes_are_spread_and_keep_their_interval(scraping):
    """Pods that came together are not asked together for ever."""

    async def scenario():
        async with scraping(interval=0.2, jitter=0.1) as scraped:
            servers = await scraped.add(*map(str, range(12)))
            await asyncio.gather(*(server.until_asked(6) for server in servers))
            seconds = [server.asked_at[1] - server.asked_at[0] for server in servers]
            assert max(seconds) - min(seconds) > 0.05
            pauses = [b - a for server in servers for a, b in itertools.pairwise(server.asked_at[1:6])]
            assert 0.17 < sum(pauses) / len(pauses) < 0.4
            assert max(pauses) - min(pauses) > 0.01

    asyncio.run(scenario())


def test_a_pod_that_has_gone_is_scraped_no_longer(scraping):
    """Its scrape under way ends with it, and others go on."""

    async def scenario():
        async with scraping(timeout=60.0) as scraped:
            (gone,) = await scraped.add("gone", is_hanging=True)
            (stays,) = await scraped.add("stays")
            await scraped.until(lambda: scraped.metrics(stays))
            await gone.until_asked(0 if gone.asked_at else 1)
            scraped.store.set_pods([stays.pod])
            await gone.until_left()
            await stays.until_asked(3)
            assert list(scraped.scraper.status()) == [stays.pod]
            assert repr(scraped.scraper) == "<Scraper: 1 pods>"
            assert len(gone.asked_at) == 1
            assert scraped.scraper.failures == 0

    asyncio.run(scenario())


def test_new_metrics_start_no_new_scrapes(scraping):
    """Only pods that come and go do."""

    async def scenario():
        async with scraping(interval=3600.0) as scraped:
            (server,) = await scraped.add("a")
            await scraped.until(lambda: scraped.metrics(server))
            scraped.store.set_pods([attrs.evolve(server.pod, labels={"zone": "eu"})])
            (other,) = await scraped.add("b")
            await scraped.until(lambda: scraped.metrics(other))
            assert len(server.asked_at) == 1

    asyncio.run(scenario())


FAULTS = {
    "a status": ({"status": 500}, "it answered with status 500"),
    "a redirect": ({"status": 302, "headers": {"Location": "/elsewhere"}}, "it answered with status 302"),
    "another's page": ({"page": "up 1\n"}, "its metrics page has no vllm:num_requests_waiting"),
    "nonsense": ({"page": "<html>"}, "its metrics page has no vllm:num_requests_waiting"),
    "no number": ({"page": "vllm:num_requests_waiting many\n"}, "its metrics page cannot be read"),
    "too much": ({"page": "# x\n" * 1_000}, "its metrics page is longer than 2000 bytes"),
    "compressed": ({"headers": {"Content-Encoding": "br"}}, "comes as br, which was not asked for"),
    "silence": ({"is_hanging": True}, "no answer within 0.1 s"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_pod_in_trouble_keeps_its_last_metrics_and_is_logged_once(fault, scraping, page_of, caplog):
    """It is asked again and again, and the end of its trouble is logged, too."""
    caplog.set_level("INFO")
    behaviour, reason = FAULTS[fault]

    async def scenario():
        async with scraping(timeout=0.1, max_bytes=2_000) as scraped:
            (server,) = await scraped.add("a")
            server.page = page_of(waiting=3)
            await scraped.until(lambda: scraped.metrics(server) and scraped.metrics(server).waiting == 3)
            for name, value in behaviour.items():
                setattr(server, name, value)
            await scraped.until_failed(server, times=3)
            status = scraped.status(server)
            assert reason in status.error
            assert status.failures >= 3
            assert status.last_success == scraped.metrics(server).updated_at
            assert scraped.metrics(server).waiting == 3
            server.status, server.page, server.is_hanging, server.headers = 200, page_of(waiting=5), False, {}
            await scraped.until(lambda: scraped.metrics(server).waiting == 5)
            assert scraped.status(server).error is None
            assert scraped.status(server).seconds < 0.1
            good = scraped.status(server).successes
            await scraped.until(lambda: scraped.status(server).successes >= good + 12)
        (line,) = messages(caplog)
        assert line.startswith(f'the metrics of pod "a" at 127.0.0.1:{server.port}: ')
        assert line.endswith("; its last ones stay until they are stale")
        assert reason in line
        (end,) = messages(caplog, "INFO")
        assert "well again" in end

    asyncio.run(scenario())


def test_a_pod_that_is_not_there_yet_is_read_when_it_comes(scraping, caplog):
    """Model servers take minutes to start, and refuse connections meanwhile."""

    async def scenario():
        async with scraping() as scraped:
            (server,) = await scraped.add("a")
            await scraped.until(lambda: scraped.metrics(server))
            await server.stop()
            await scraped.until_failed(server, times=3)
            assert scraped.status(server).error == "no connection: Connection refused"
            await server.start()
            later = asyncio.get_running_loop().time()
            await scraped.until(lambda: scraped.metrics(server).updated_at > later)
        assert any("Connection refused" in line for line in messages(caplog))

    asyncio.run(scenario())


def test_pauses_after_failures_grow(scraping):
    """Up to the longest, and begin anew after a good one."""

    async def scenario():
        async with scraping(interval=0.01, max_pause=0.2) as scraped:
            (server,) = await scraped.add("a")
            server.status = 500
            await server.until_asked(8)
            pauses = [b - a for a, b in itertools.pairwise(server.asked_at)]
            assert max(pauses[:2]) < 0.1 <= min(pauses[5:7]) <= max(pauses) < 1.0
            server.status = 200
            await scraped.until(lambda: scraped.metrics(server))
            server.status = 500
            again = len(server.asked_at)
            await server.until_asked(3)
            assert server.asked_at[again + 1] - server.asked_at[again] < 0.1

    asyncio.run(scenario())


def test_a_slow_pod_has_a_rest_between_scrapes(scraping):
    """The interval is from beginning to beginning, but half of it at least is a rest."""

    async def scenario():
        async with scraping(interval=0.2, jitter=0.0, timeout=5.0) as scraped:
            (server,) = await scraped.add("a")
            server.delay = 0.2
            await server.until_asked(5)
            pauses = [b - a for a, b in itertools.pairwise(server.asked_at[1:])]
            assert 0.25 < min(pauses) < 0.37

    asyncio.run(scenario())


def test_a_pod_that_hangs_has_one_scrape_at_a_time(scraping):
    """However short the interval."""

    async def scenario():
        async with scraping(interval=0.02, timeout=0.1) as scraped:
            (server,) = await scraped.add("a", is_hanging=True)
            await server.until_asked(5)
            assert server.most_at_once == 1
            assert min(b - a for a, b in itertools.pairwise(server.asked_at)) > 0.08

    asyncio.run(scenario())


def test_pods_that_hang_do_not_hold_up_the_healthy(scraping):
    """Half of the pool hangs; the other half keeps its interval."""

    async def scenario():
        async with scraping(interval=0.2, timeout=2.0) as scraped:
            hung = await scraped.add(*(f"hung-{number}" for number in range(20)), is_hanging=True)
            well = await scraped.add(*(f"well-{number}" for number in range(20)))
            await asyncio.gather(*(server.until_asked(8) for server in well))
            pauses = [b - a for server in well for a, b in itertools.pairwise(server.asked_at[1:8])]
            assert 0.17 < sum(pauses) / len(pauses) < 0.4
            assert all(scraped.metrics(server) for server in well)
            assert {server.most_at_once for server in hung} == {1}
            assert not any(scraped.metrics(server) for server in hung)

    asyncio.run(scenario())


def test_many_pods_stretch_the_interval(scraping, caplog):
    """All of them cost no more than `max_rate` scrapes a second, which is logged once."""

    async def scenario():
        async with scraping(interval=0.02, max_rate=50.0) as scraped:
            assert scraped.scraper.interval == 0.02
            servers = await scraped.add(*map(str, range(10)))
            await asyncio.gather(*(server.until_asked(4) for server in servers))
            assert scraped.scraper.interval == 0.2
            pauses = [b - a for server in servers for a, b in itertools.pairwise(server.asked_at[1:4])]
            assert 0.15 < sum(pauses) / len(pauses) < 0.5
            (another,) = await scraped.add("another")
            await scraped.until(lambda: scraped.metrics(another))
            assert messages(caplog) == [
                "10 pods every 0.02 s would be more than 50 scrapes a second: each is scraped every 0.2 s"
            ]

    asyncio.run(scenario())


def test_a_label_may_name_another_engine(scraping, caplog):
    """And a label that changes is heeded at the next scrape."""

    async def scenario():
        async with scraping(engine_label="engine") as scraped:
            (server,) = await scraped.add("a")
            server.page = 'sglang:num_queue_reqs{x="y"} 6\n'
            await scraped.until_failed(server)
            scraped.store.set_pods([attrs.evolve(server.pod, labels={"engine": "sglang"})])
            await scraped.until(lambda: scraped.metrics(server))
            assert scraped.metrics(server).waiting == 6
            scraped.store.set_pods([attrs.evolve(server.pod, labels={"engine": "abacus"})])
            await scraped.until_failed(server)
            assert scraped.status(server).error == (
                "there are no metric names for its engine 'abacus', only for vllm, sglang, trtllm-serve, "
                "triton-tensorrt-llm"
            )

    asyncio.run(scenario())


def test_it_counts_the_scrapes_of_pods_that_have_gone(scraping):
    """A counter never goes down."""

    async def scenario():
        async with scraping() as scraped:
            (server,) = await scraped.add("a")
            await scraped.until(lambda: scraped.scraper.successes >= 2)
            server.status = 500
            await scraped.until_failed(server)
            scraped.store.set_pods([])
            assert scraped.scraper.successes >= 2
            assert scraped.scraper.failures >= 1

    asyncio.run(scenario())


def test_cancelled_it_leaves_nothing_behind(scraping):
    """No task, no connection, no subscription."""

    async def scenario():
        async with scraping() as scraped:
            (server,) = await scraped.add("a")
            await scraped.until(lambda: scraped.metrics(server))
        assert scraped.scraper.status() == {}
        assert len(asyncio.all_tasks()) == 1
        scraper = weakref.ref(scraped.scraper)
        scraped.scraper = None
        gc.collect()
        assert scraper() is None

    asyncio.run(scenario())
