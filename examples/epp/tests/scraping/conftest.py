import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from typing import Self

import pytest
from aiohttp import web

from flowgate import Pod
from flowgate_epp.pods import PodStore
from flowgate_epp.scraping import Scraper, ScraperSettings

DEADLINE = 10.0


def vllm_page(waiting=0, running=0, usage=0.0):
    labels = '{engine="0",model_name="tiny"}'
    return (
        "# HELP vllm:num_requests_waiting Requests in the queue.\n# TYPE vllm:num_requests_waiting gauge\n"
        f"vllm:num_requests_waiting{labels} {waiting}\n"
        f"vllm:num_requests_running{labels} {running}\nvllm:kv_cache_usage_perc{labels} {usage}\n"
    )


class ModelServer:
    """A pod's metrics page on a real socket, with faults on demand.

    Attributes:
        page: What it answers.
        status: With which status.
        is_hanging: Whether it never answers.
        delay: How long it takes to answer, in seconds.
        headers: Of its answers.
        asked_at: When it was asked, in seconds of the loop's clock.
        requests: What it was asked.
        connections: How many connections were made.
        most_at_once: Most questions that it had to answer at the same time.
    """

    def __init__(self, name="a", host="127.0.0.1") -> None:
        self.name = name
        self.host = host
        self.page = vllm_page()
        self.status = 200
        self.is_hanging = False
        self.delay = 0.0
        self.headers: dict[str, str] = {}
        self.asked_at: list[float] = []
        self.requests: list[web.Request] = []
        self.connections: set[object] = set()
        self.most_at_once = 0
        self._at_once = 0
        self._asked = asyncio.Event()
        self._idle = asyncio.Event()
        self._runner: web.AppRunner | None = None
        self.port = 0

    async def start(self) -> Self:
        app = web.Application()
        app.router.add_get("/{path:.*}", self._answer)
        # No waiting for those who hang when the test ends.
        self._runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.01)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self.host, self.port, reuse_address=True)
        await site.start()
        self.port = self._runner.addresses[0][1]
        return self

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    @property
    def pod(self) -> Pod:
        return Pod(self.name, self.host, self.port)

    async def until_asked(self, times=1) -> None:
        """Wait until it was asked so many times more."""
        goal = len(self.asked_at) + times
        async with asyncio.timeout(DEADLINE):
            while len(self.asked_at) < goal:
                self._asked.clear()
                await self._asked.wait()

    async def until_left(self) -> None:
        """Wait until nobody waits for an answer any more."""
        async with asyncio.timeout(DEADLINE):
            while self._at_once:
                self._idle.clear()
                await self._idle.wait()

    async def _answer(self, request: web.Request) -> web.Response:
        self.asked_at.append(asyncio.get_running_loop().time())
        self.requests.append(request)
        self.connections.add(request.transport)
        self._asked.set()
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            if self.is_hanging:
                await asyncio.Event().wait()
            await asyncio.sleep(self.delay)
            return web.Response(text=self.page, status=self.status, headers=self.headers)
        finally:
            self._at_once -= 1
            if not self._at_once:
                self._idle.set()


class Scraped:
    """A store that a scraper keeps new, and the servers of its pods."""

    def __init__(self, settings: ScraperSettings) -> None:
        self.store = PodStore()
        self.scraper = Scraper(settings, self.store)
        self.servers: list[ModelServer] = []
        self.stack = AsyncExitStack()
        self._changed = asyncio.Event()
        self.store.subscribe(lambda pods=None: self._changed.set())

    async def add(self, *names: str, host="127.0.0.1", is_hanging=False) -> list[ModelServer]:
        """Start pods, and tell the store of them."""
        added = [ModelServer(name, host) for name in names]
        for server in added:
            server.is_hanging = is_hanging
            await server.start()
            self.stack.push_async_callback(server.stop)
        self.servers += added
        self.store.set_pods([*self.store.pods, *(server.pod for server in added)])
        return added

    def metrics(self, server: ModelServer):
        pod = self.store.find(server.pod)
        return None if pod is None else pod.metrics

    def status(self, server: ModelServer):
        return self.scraper.status()[server.pod]

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait until a change of the store has made a condition true."""
        async with asyncio.timeout(DEADLINE):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def until_failed(self, server: ModelServer, times=1) -> None:
        """Wait for further failures, of which the store hears nothing."""
        goal = self.scraper.failures + times
        async with asyncio.timeout(DEADLINE):
            # The scraper tells nobody of failures.
            while self.scraper.failures < goal or self.status(server).error is None:
                await asyncio.sleep(0.002)


@asynccontextmanager
async def _scraping(**settings: object) -> AsyncIterator[Scraped]:
    scraped = Scraped(ScraperSettings(**{"interval": 0.02, "max_pause": 0.02, "timeout": 0.5, **settings}))
    task = asyncio.create_task(scraped.scraper.run())
    async with scraped.stack:
        try:
            yield scraped
            assert not task.done()
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


@pytest.fixture
def scraping() -> Callable[..., AbstractAsyncContextManager[Scraped]]:
    return _scraping


@pytest.fixture
def page_of():
    return vllm_page
