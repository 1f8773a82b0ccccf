"""What the demo reads of the Endpoint Picker: its pictures, its log, its metrics."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web
from aiohttp.test_utils import TestServer

from examples.demo.background import running
from examples.demo.calls import CALLS
from examples.demo.counts import read_counts
from examples.demo.decisions import Decision, DecisionLog
from examples.demo.feed import Feed, Picture, read_picture
from examples.demo.journal import Journal
from examples.demo.ledger import Ledger
from examples.demo.reporter import Reporter
from examples.stage import wait_until
from flowgate import QueueOutcome

Make = Callable[..., Decision]


def picture(**changes: Any) -> dict[str, Any]:
    """Make what the Endpoint Picker tells."""
    return {"queued": 0, "in_flight": 0, "bands": [], "pods": []} | changes


def band(priority: int, **tenants: int) -> dict[str, Any]:
    return {"priority": priority, "flows": [{"flow": name, "queued": count} for name, count in tenants.items()]}


def pod(name: str, in_flight: int, running: int | None = None) -> dict[str, Any]:
    return {"name": name, "in_flight": in_flight, "running": running}


class TestPictures:
    def test_are_read_by_band_tenant_and_pod(self) -> None:
        pods = [pod("pod-1", 3, 2), pod("pod-2", 0)]
        bands = [band(10, acme=2, globex=1), band(0)]
        seen = read_picture(picture(queued=3, in_flight=3, bands=bands, pods=pods))
        assert (seen.queued, seen.in_flight) == (3, 3)
        assert seen.waiting == {10: {"acme": 2, "globex": 1}, 0: {}}
        assert (seen.waiting_in(10), seen.waiting_in(0), seen.waiting_in(-10)) == (3, 0, 0)
        assert (seen.pods, seen.running) == ({"pod-1": 3, "pod-2": 0}, {"pod-1": 2})

    def test_add_up_a_tenant_who_asks_for_several_models(self) -> None:
        flows = [{"flow": "acme", "model": name, "queued": 2} for name in ("small", "large")]
        assert read_picture(picture(bands=[{"priority": 0, "flows": flows}])).waiting == {0: {"acme": 4}}

    def test_are_idle_when_nothing_waits_and_nothing_is_in_flight(self) -> None:
        assert Picture().is_idle
        assert not Picture(queued=1).is_idle
        assert not Picture(in_flight=1).is_idle

    def test_are_followed_over_a_broken_connection_and_the_most_in_flight_is_kept(self) -> None:
        async def follow() -> tuple[list[int], dict[str, int], int]:
            connections = 0

            async def events(request: web.Request) -> web.StreamResponse:
                nonlocal connections
                connections += 1
                response = web.StreamResponse()
                await response.prepare(request)
                await response.write(b"retry: 1000\n\n")
                for in_flight in (2 * connections, connections):
                    told = json.dumps(picture(queued=connections, pods=[pod("pod-1", in_flight)]))
                    await response.write(f"data: {told}\n\n".encode())
                if connections == 1:
                    assert request.transport is not None
                    request.transport.abort()
                else:
                    await asyncio.sleep(60)
                return response

            app = web.Application()
            app.add_routes([web.get("/events", events)])
            queued: list[int] = []
            async with TestServer(app) as server, aiohttp.ClientSession() as http, asyncio.timeout(10):
                feed = Feed(str(server.make_url("")), http, lambda seen: queued.append(seen.queued))
                async with running(feed.run()):
                    while (await feed.next()).pods != {"pod-1": 2} or connections < 2:
                        pass
            return queued, feed.most_in_flight, connections

        queued, most, connections = asyncio.run(follow())
        assert (queued[-2:], most, connections) == ([2, 2], {"pod-1": 4}, 2)


LINE = {
    "logger": "flowgate_epp.decisions",
    "request_id": "burst-1",
    "flow": "acme",
    "priority": 10,
    "arrived_at": 100.0,
    "queue_wait": 0.5,
    "outcome": "evicted_no_pods",
    "status": 503,
    "reason": "no-pods",
    "pod": None,
}
WENT = LINE | {"request_id": "burst-2", "outcome": "dispatched", "status": 200, "reason": None, "pod": "pod-1"}


class TestLog:
    def test_gives_each_decision_once_and_a_half_line_not_before_its_end(self, tmp_path: Path) -> None:
        path = tmp_path / "epp.log"
        first, second = (json.dumps(line) + "\n" for line in (LINE, WENT))
        path.write_text(first + second[:40])
        log = DecisionLog(path)
        assert list(log.news()) == [
            Decision("burst-1", "acme", 10, 100.0, 0.5, QueueOutcome.EVICTED_NO_PODS, 503, "no-pods")
        ]
        assert list(log.news()) == []
        with path.open("a") as file:
            file.write(second[40:])
        [went] = log.news()
        assert (went.request_id, went.pod, went.reason, went.went_on) == ("burst-2", "pod-1", "", True)
        assert list(log.news()) == []

    def test_keeps_what_the_program_calls_an_error_and_passes_over_the_rest(self, tmp_path: Path) -> None:
        path = tmp_path / "epp.log"
        others = [{"level": "info", "event": "ready"}, {"level": "error", "event": "a plug-in failed"}]
        path.write_text("I0000 gRPC says hello\n" + "".join(f"{json.dumps(line)}\n" for line in others))
        log = DecisionLog(path)
        assert (list(log.news()), log.errors) == ([], ["a plug-in failed"])

    def test_fills_the_books_while_it_is_written(self, tmp_path: Path) -> None:
        path = tmp_path / "epp.log"
        path.write_text(json.dumps(LINE) + "\n" + json.dumps(WENT) + "\n")
        heard: list[Decision] = []
        ledger = Ledger(DecisionLog(path), heard.append)

        async def read() -> None:
            async with running(ledger.run()):
                await wait_until(lambda: len(heard) > 1, 10, "both decisions are heard of")

        asyncio.run(read())
        assert ledger.decisions == heard
        assert ledger.gone == {"went on": 1, "no-pods": 1}
        assert ledger.errors == []


METRICS = """\
# TYPE flowgate_requests_total counter
flowgate_requests_total{outcome="dispatched",priority="10"} 3.0
flowgate_requests_total{outcome="dispatched",priority="0"} 4.0
flowgate_requests_total{outcome="evicted_ttl",priority="0"} 1.0
flowgate_requests_total{outcome="evicted_shutdown",priority="0"} 0.0
# TYPE flowgate_queue_size gauge
flowgate_queue_size{flow="acme",priority="10"} 2.0
flowgate_queue_size{flow="globex",priority="10"} 1.0
# TYPE flowgate_in_flight_requests gauge
flowgate_in_flight_requests{priority="10"} 5.0
# TYPE flowgate_plugin_failures_total counter
flowgate_plugin_failures_total{kind="detector",name="c"} 2.0
# TYPE flowgate_pool_saturation gauge
flowgate_pool_saturation NaN
"""


def test_metrics_are_added_up_over_bands_and_flows() -> None:
    counts = read_counts(METRICS)
    assert counts.outcomes == {QueueOutcome.DISPATCHED: 7, QueueOutcome.EVICTED_TTL: 1}
    assert (counts.waiting, counts.in_flight) == (3, 5)
    assert counts.faults == ["detector c failed 2 times"]


class TestReports:
    def test_tell_once_that_requests_are_held_and_when_a_band_is_served(self) -> None:
        journal = Journal(float)
        reporter = Reporter(journal)
        waiting = Picture(queued=2, waiting={10: {"acme": 2}})
        for seen in (Picture(), waiting, waiting, Picture(pods={"pod-1": 2}), Picture(pods={"pod-1": 0})):
            reporter.saw(seen)
        assert [note.text for note in journal.news()] == [
            "the first requests arrive, and there are no pods: they are held",
            "no interactive request waits any more",
        ]
        assert journal.news() == []
        assert len(journal.notes) == 2

    def test_tell_what_a_new_pod_gets_first(self, decision: Make) -> None:
        journal = Journal(float)
        reporter = Reporter(journal)
        for number, priority in enumerate((10, 10, 0, -10, 0)):
            reporter.heard(decision(str(number), priority=priority, queue_wait=number / 1_000))
        [note] = journal.news()
        assert note.text == "pod-1 gets its first 4 requests within 3 ms: 2 interactive, 1 standard, 1 batch"

    def test_tell_the_first_of_those_who_leave_in_each_way(self, decision: Make) -> None:
        journal = Journal(float)
        reporter = Reporter(journal)
        impatient = next(request_id for request_id, call in CALLS.items() if call.ttl == 0.9)
        dropped = {"status": 503, "reason": "no-pods", "outcome": QueueOutcome.EVICTED_NO_PODS, "pod": ""}
        cancelled = dropped | {"status": 499, "reason": "cancelled", "outcome": QueueOutcome.EVICTED_CANCELLED}
        shed = dropped | {"status": 429, "reason": "shed", "outcome": QueueOutcome.REJECTED_SHED}
        for each in (dropped, dropped, cancelled, cancelled, shed):
            reporter.heard(decision(impatient, queue_wait=1.0, **each))
        reporter.heard(decision("a-guest", queue_wait=1.0, **dropped | {"outcome": QueueOutcome.REJECTED_NO_PODS}))
        assert [note.text for note in journal.news()] == [
            "a request leaves with 503 no-pods after 1.00 s of the 0.90 s that it gave us",
            "a client hangs up after 1.00 s: its place is free at once",
            "a request leaves with 429 shed after 1.00 s of the 0.90 s that it gave us",
            "a request leaves with 503 no-pods after 1.00 s",
        ]
