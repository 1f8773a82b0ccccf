"""The page, in a real browser."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import attrs
import pytest

from flowgate import PodMetrics, QueueOutcome, Request
from flowgate_epp.admin import AdminServer, AdminSettings, Board

Scenes = Callable[..., AbstractAsyncContextManager]
Browser = AbstractAsyncContextManager
LOCAL = AdminSettings(host="127.0.0.1", port=0, interval=0.05)
HOSTILE = "<img src=x onerror=alert(1)>"
pytestmark = pytest.mark.anyio


def shown(text: str) -> str:
    return f"document.body.innerText.includes({text!r})"


async def test_it_shows_what_the_metrics_say_and_goes_on(scene: Scenes, browser: Browser) -> None:
    async with scene(LOCAL, pods=2) as here, browser as page:
        for flow, priority in [("alice", 10), ("alice", 10), ("bob", 0), ("bob", 0)] + [("carol", -5)] * 7:
            await here.callers.start(Request(flow, priority, byte_size=1_000))
        first, _ = here.pool
        here.pool.report(first, PodMetrics(3, 4, 0.5, updated_at=0.0))
        here.decide(1, pod=first)
        here.decide(2, outcome=QueueOutcome.EVICTED_TTL, status=429, reason="ttl-expired")
        await page.open(here.url)
        assert float(await page.text("#queued")) == await here.metric("flowgate_queue_size") == 7
        assert float(await page.text("#in-flight")) == await here.metric("flowgate_in_flight_requests") == 4
        assert float(await page.text("#pod-count")) == await here.metric("flowgate_pods") == 2
        assert await page.text("#saturation") == "100 %"
        admitted = await here.metric("flowgate_requests_total", outcome="dispatched")
        assert float(await page.text("#admitted")) == admitted == 4
        assert float(await page.text("#refused")) == await here.metric("flowgate_drops_total") == 1
        assert await page.text("#refusals") == "ttl-expired 1"
        bands = "[...document.querySelectorAll('.band')].map(band => band.querySelector('h3').textContent)"
        assert await page.evaluate(bands) == ["premium (priority 10)", "Priority 0", "Priority -5"]
        flows = "[...document.querySelectorAll('.flow')].map(flow => [...flow.children].map(part => part.textContent))"
        assert await page.evaluate(flows) == [["carol", "", "7"]]
        pods = "[...document.querySelectorAll('.pod')].map(pod => pod.querySelectorAll('.slots i').length)"
        assert await page.evaluate(pods) == [2, 2]
        rows = "[...document.querySelectorAll('tbody tr')].map(row => [...row.cells].map(cell => cell.textContent))"
        (refused, went) = await page.evaluate(rows)
        assert refused[1:] == ["r-2", "alice", "10", "llama", "429 ttl-expired", "1.5 s", ""]
        assert went[1:] == ["r-1", "alice", "10", "llama", "went", "1.5 s", "pod-1"]
        await here.callers.finish()
        here.pool.scale(0)
        await here.callers.start(Request("dave", 0))
        await page.until("document.querySelector('#queued').textContent === '1'")
        await page.until(shown("No pods. Requests wait until one appears."))
        assert await page.evaluate(flows) == [["dave", "", "1"]]
        assert await page.evaluate("document.title") == "(1) flowgate"
        assert page.trouble == []


async def test_it_says_when_the_program_is_not_ready(scene: Scenes, browser: Browser) -> None:
    async with scene(LOCAL) as here, browser as page:
        here.reasons.append("the pods are not known yet")
        await page.open(here.url)
        assert await page.text("#ready") == "not ready: the pods are not known yet"
        here.reasons.clear()
        await page.until("document.querySelector('#ready').textContent === 'ready'")


async def test_what_clients_choose_is_shown_as_text(scene: Scenes, browser: Browser) -> None:
    async with scene(LOCAL) as here, browser as page:
        await here.callers.start(Request(HOSTILE))
        here.decide(1, flow_id=HOSTILE, request_id=HOSTILE, model=HOSTILE, reason=HOSTILE, status=429)
        await page.open(here.url)
        assert await page.text(".flow .name") == HOSTILE
        assert await page.text("tbody td.flow-id") == HOSTILE
        assert await page.evaluate("document.querySelectorAll('main img').length") == 0
        # Not even if the script were fooled would a handler run.
        await page.evaluate(f"document.querySelector('main').insertAdjacentHTML('beforeend', {HOSTILE!r})")
        await page.until("document.querySelector('main img').complete")
        assert [entry["method"] for entry in page.trouble] == ["Log.entryAdded"] * len(page.trouble)


async def test_it_survives_a_restart_and_forgets_what_was_before(scene: Scenes, browser: Browser) -> None:
    async with scene(LOCAL) as here, browser as page:
        await here.callers.start(Request("a"))
        here.decide(1)
        await page.open(here.url)
        assert await page.text("tbody .request") == "r-1"
        port = here.server.port
        await here.server.stop()
        await page.until("document.querySelector('#link').textContent === 'reconnecting'")
        assert await page.text("#queued") == "1"  # the last that is known, grey
        board = Board(here.metrics, pool="the-new-one")
        server = AdminServer(board, bytes, list, attrs.evolve(LOCAL, port=port))
        here.board = board
        here.decide(7)  # its first, as r-1 was the other's
        await server.start()
        try:
            await here.callers.start(Request("b"))
            await page.until("document.querySelector('#link').className === 'badge good'")
            assert await page.text("#pool") == "the-new-one"
            assert await page.text("#queued") == "2"
            assert await page.evaluate("document.querySelectorAll('tbody tr').length") == 1
            assert await page.text("tbody .request") == "r-7"
        finally:
            await server.stop()
        assert page.trouble == []


async def test_it_waits_for_a_place_where_too_many_watch(scene: Scenes, browser: Browser) -> None:
    async with scene(attrs.evolve(LOCAL, max_watchers=1)) as here, browser as page:
        other = await here.client.get(here.url + "/events")
        await other.content.readline()
        await page.call("Page.navigate", url=here.url)
        await page.until("document.querySelector('#link').textContent === 'reconnecting'")
        other.close()
        await page.until("document.querySelector('#link.good')")


@pytest.mark.parametrize("width", [320, 768, 1_280])
async def test_it_fits_every_width_and_names_its_parts(scene: Scenes, browser: Browser, width: int) -> None:
    async with scene(LOCAL, pods=3) as here, browser as page:
        for number in range(30):
            await here.callers.start(Request("x" * 200 + str(number)))
        here.decide(1, flow_id="x" * 128, request_id="y" * 128)
        await page.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=False
        )
        await page.open(here.url)
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        named = "document.documentElement.lang && [...document.querySelectorAll('th')].every(cell => cell.scope)"
        assert await page.evaluate(f"Boolean({named})")
        assert await page.evaluate("document.querySelector('#history').getAttribute('aria-label')")
        assert page.trouble == []


async def test_a_request_is_explained_as_text(scene: Scenes, browser: Browser) -> None:
    """By its id, or by a click on its decision; what it holds is never HTML."""
    async with scene(LOCAL) as here, browser as page:
        await here.callers.start(Request("alice", 10, request_id=HOSTILE))
        here.decide(1, request_id=HOSTILE)
        here.decide(2, request_id="gone")
        await page.open(here.url)
        await page.evaluate(f"document.querySelector('#why-id').value = {HOSTILE!r}")
        await page.evaluate("document.querySelector('#why button').click()")
        await page.until(shown(f"request {HOSTILE} has waited"))
        assert await page.evaluate("document.querySelectorAll('#explanation *').length") == 0
        await page.evaluate("document.querySelectorAll('.ask')[0].click()")
        await page.until(shown("no request 'gone' waits, and none is among those that left lately"))
        await page.evaluate("document.querySelectorAll('.ask')[1].click()")
        await page.until(shown(f"request {HOSTILE} has waited"))
        assert page.trouble == []
