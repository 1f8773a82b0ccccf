import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import attrs
import pytest
from prometheus_client.parser import text_string_to_metric_families

from flowgate import FlowControlConfig, FlowController, PriorityBandConfig, QueueOutcome, Request
from flowgate.saturation import ConcurrencyDetector
from flowgate.testing import Callers, PodPool
from flowgate_epp.admin import AdminServer, AdminSettings, Board
from flowgate_epp.contracts import Decision
from flowgate_epp.telemetry import Exposition, FlowMetrics, MetricsSettings, PodReading, Readings

DEADLINE = 20.0
LOCAL = AdminSettings(host="127.0.0.1", port=0, interval=0.02)
CONFIG = FlowControlConfig(
    bands=[PriorityBandConfig(10, "premium", max_requests=40), PriorityBandConfig(0), PriorityBandConfig(-5)],
    max_requests=1_000,
    explain_last=100,
)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@attrs.define
class Scene:
    """A controller with an admin server, and a client of that."""

    controller: FlowController
    pool: PodPool
    callers: Callers
    metrics: FlowMetrics
    board: Board
    server: AdminServer
    client: aiohttp.ClientSession
    reasons: list[str]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.port}"

    async def get(self, path: str) -> aiohttp.ClientResponse:
        response = await self.client.get(self.url + path)
        await response.read()
        return response

    async def metric(self, name: str, **labels: str) -> float:
        """Add up a metric's samples that have these labels."""
        text = await (await self.get("/metrics")).text()
        wanted = labels.items()
        return sum(
            sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == name and wanted <= sample.labels.items()
        )

    def decide(self, number: int, **changed: object) -> None:
        """Tell of a decision, as the director does."""
        decision = Decision(
            request_id=f"r-{number}",
            headers={},
            flow_id="alice",
            priority=10,
            model="llama",
            arrived_at=1_700_000_000.0 + number,
            queue_wait=1.5,
            pick_seconds=0.000_02,
            outcome=QueueOutcome.DISPATCHED,
            status=200,
            reason=None,
            message="",
            pod=None,
        )._replace(**changed)
        self.metrics.decided(decision)
        self.board.decided(decision)


@asynccontextmanager
async def _scene(settings: AdminSettings = LOCAL, *, pods: int = 0) -> AsyncIterator[Scene]:
    metrics_settings = MetricsSettings(process=False)
    metrics = FlowMetrics(metrics_settings, clock=asyncio.get_running_loop().time)
    pool, reasons = PodPool(pods), list[str]()
    board = Board(metrics, pool="llamas")
    exposition = Exposition(metrics, metrics_settings)
    controller = FlowController(CONFIG, locator=pool, detector=ConcurrencyDetector(2), observers=[metrics])
    server = AdminServer(board, exposition.render, lambda: reasons, settings, explain=controller.explain)
    async with (
        controller,
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=DEADLINE)) as client,
    ):

        def read() -> list[PodReading]:
            return [PodReading(each.pod, each.in_flight, each.saturation) for each in controller.pod_stats(pool)]

        metrics.connect(Readings(controller.stats, read))
        await server.start()
        try:
            async with Callers(controller) as callers:
                yield Scene(controller, pool, callers, metrics, board, server, client, reasons)
        finally:
            await server.stop()


@pytest.fixture
def scene() -> Callable[..., AbstractAsyncContextManager[Scene]]:
    return _scene


_POLL = """new Promise(done => {
  const look = () => {
    let is = false;
    try { is = (CONDITION); } catch { /* not there yet */ }
    if (is) done(true); else setTimeout(look, 10);
  };
  look();
})"""


@attrs.define
class Page:
    """One page in a browser, driven by the DevTools protocol."""

    socket: aiohttp.ClientWebSocketResponse
    calls: int = 0
    trouble: list[Any] = attrs.Factory(list[Any])
    """Exceptions, dialogs and errors that the browser told of."""

    async def call(self, method: str, **params: object) -> dict[str, Any]:
        self.calls += 1
        await self.socket.send_json({"id": self.calls, "method": method, "params": params})
        while True:
            message = await self.socket.receive_json()
            if message.get("id") == self.calls:
                assert "error" not in message, message
                return dict(message["result"])
            self._note(message)

    def _note(self, message: dict[str, Any]) -> None:
        method, entry = message.get("method"), message.get("params", {}).get("entry", {})
        is_error = method == "Log.entryAdded" and entry.get("level") == "error" and entry.get("source") != "network"
        if method in {"Runtime.exceptionThrown", "Page.javascriptDialogOpening"} or is_error:
            self.trouble.append(message)

    async def evaluate(self, expression: str) -> Any:
        result = await self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    async def text(self, selector: str) -> str:
        return str(await self.evaluate(f"document.querySelector({json.dumps(selector)}).textContent"))

    async def until(self, condition: str) -> None:
        """Wait until an expression is true in the page."""
        async with asyncio.timeout(DEADLINE):
            await self.evaluate(_POLL.replace("CONDITION", condition))

    async def open(self, url: str) -> None:
        for domain in ("Runtime", "Log", "Page"):
            await self.call(f"{domain}.enable")
        await self.call("Page.navigate", url=url)
        await self.until("document.querySelector('#link.good')")


@asynccontextmanager
async def _browse(folder: Path) -> AsyncIterator[Page]:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("needs Chromium")
    process = await asyncio.create_subprocess_exec(
        chromium,
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--remote-debugging-port=0",
        f"--user-data-dir={folder}",
        "about:blank",
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stderr is not None
        async with asyncio.timeout(DEADLINE):
            while b"DevTools listening on " not in (line := await process.stderr.readline()):
                assert line, "the browser ended"
        drain = asyncio.create_task(process.stderr.read())
        port = line.decode().split("/")[2].split(":")[1]
        async with aiohttp.ClientSession() as client:
            targets = await (await client.get(f"http://127.0.0.1:{port}/json")).json()
            address = next(target["webSocketDebuggerUrl"] for target in targets if target["type"] == "page")
            async with client.ws_connect(address, max_msg_size=0) as socket:
                yield Page(socket)
    finally:
        process.terminate()
        await process.wait()
    await drain


@pytest.fixture
def browser(tmp_path: Path) -> AbstractAsyncContextManager[Page]:
    return _browse(tmp_path / "browser")


@pytest.fixture
def requests_of() -> Callable[[str, int, int], list[Request]]:
    return lambda flow, priority, count: [Request(flow, priority, byte_size=1_000) for _ in range(count)]
