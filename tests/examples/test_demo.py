"""The demo keeps its promises: its gateway over real HTTP, its books, and the whole story as a process."""

import io
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import attrs
import httpx
import psutil
import pytest
from rich.console import Console
from starlette.types import ASGIApp, Receive, Scope, Send

from examples.demo.checks import PodReport, RunReport, problems
from examples.demo.clients import HUNG_UP, LOST, Answer, burst, encore
from examples.demo.gateway import Gateway
from examples.demo.journal import Journal
from examples.demo.ledger import Ledger
from examples.demo.model_server import ModelServer
from examples.demo.serving import serving
from examples.demo.settings import FLOW_CONTROL, TENANTS
from examples.demo.story import conclude
from examples.demo.summary import percentile
from flowgate import FlowController, Pod, PriorityBandConfig, QueueOutcome
from flowgate.contracts import Dispatched, Dropped, Enqueued, Observer, Released
from flowgate.locators import StaticPodLocator
from flowgate.saturation import ConcurrencyDetector

ROOT = Path(__file__).parents[2]
ACME = {"x-tenant": "acme", "x-request-id": "r-1"}
REASON = "x-flowgate-dropped-reason"


@pytest.fixture
def anyio_backend() -> str:
    """Real time and real sockets: uvicorn runs on asyncio alone."""
    return "asyncio"


class Watch(Observer):
    """Remembers events, and lets a test wait for them."""

    def __init__(self) -> None:
        self.events: list[Any] = []
        self.at_dispatch: Callable[[], None] | None = None
        self._news = anyio.Event()

    def _remember(self, event: object) -> None:
        self.events.append(event)
        self._news.set()

    on_enqueued = on_dropped = on_released = _remember

    def on_dispatched(self, event: Dispatched) -> None:
        self._remember(event)
        if self.at_dispatch is not None:
            self.at_dispatch()

    async def saw(self, kind: type, count: int = 1) -> Any:
        """Return the last of this many events of a kind, once they happened."""
        with anyio.fail_after(10):
            while len(found := [event for event in self.events if isinstance(event, kind)]) < count:
                self._news = anyio.Event()
                await self._news.wait()
        return found[count - 1]


@attrs.frozen
class Bench:
    """A gateway under test, and what a test needs around it."""

    http: httpx.AsyncClient
    controller: FlowController
    gateway: Gateway
    locator: StaticPodLocator
    watch: Watch

    async def post(self, answers: list[httpx.Response], **headers: str) -> None:
        """Send a request and keep its answer."""
        answers.append(await self.http.post("/v1/completions", headers=ACME | headers))


@asynccontextmanager
async def bench(*pods: Pod, slots: int = 1, config: Any = FLOW_CONTROL) -> AsyncIterator[Bench]:
    locator, watch = StaticPodLocator(pods), Watch()
    detector = ConcurrencyDetector(slots)
    async with (
        FlowController(config, locator=locator, detector=detector, observers=[watch]) as controller,
        httpx.AsyncClient(trust_env=False) as to_pods,
    ):
        gateway = Gateway(controller, locator, to_pods)
        async with serving(gateway) as url, httpx.AsyncClient(base_url=url, timeout=20, trust_env=False) as http:
            yield Bench(http, controller, gateway, locator, watch)
        stats = controller.stats()
        assert (stats.queued_requests, stats.in_flight, stats.plugin_failures) == (0, 0, {})
        assert sum(stats.outcomes.values()) == gateway.submitted


@asynccontextmanager
async def pod(app: ASGIApp, name: str = "pod-1") -> AsyncIterator[Pod]:
    async with serving(app) as url:
        yield Pod(name, "127.0.0.1", httpx.URL(url).port or 0)


class SlowPod:
    """Begins its answer at once, and ends it when the test says so."""

    def __init__(self) -> None:
        self.may_end = anyio.Event()
        self.finished = 0

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"x-pod", b"slow")]})
        await send({"type": "http.response.body", "body": b"first ", "more_body": True})
        await self.may_end.wait()
        self.finished += 1
        await send({"type": "http.response.body", "body": b"last"})


async def failing_pod(_scope: Scope, _receive: Receive, send: Send) -> None:
    """Break off in the middle of an answer."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"first ", "more_body": True})


@pytest.fixture
def refusing_pod() -> Iterator[Pod]:
    """A pod at a port that is taken, and where nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield Pod("refusing", "127.0.0.1", taken.getsockname()[1])


@pytest.mark.anyio
class TestGateway:
    async def test_holds_a_request_until_a_pod_appears(self) -> None:
        answers: list[httpx.Response] = []
        async with bench() as here, pod(ModelServer("pod-1", 1, 0)) as first, anyio.create_task_group() as tasks:
            tasks.start_soon(here.post, answers)
            assert not (await here.watch.saw(Enqueued)).has_pods
            here.locator.set_pods([first])
            assert (await here.watch.saw(Released)).result == "ok"
        assert (answers[0].status_code, answers[0].text) == (200, "from zero and back\n")
        assert answers[0].headers["x-pod"] == "pod-1"
        assert answers[0].headers["x-request-id"] == "r-1"

    async def test_streams_and_keeps_the_ticket_until_the_response_has_ended(self) -> None:
        slow = SlowPod()
        async with pod(slow) as only, bench(only) as here:
            async with here.http.stream("POST", "/v1/completions", headers=ACME) as answer:
                pieces = answer.aiter_raw()
                assert await anext(pieces) == b"first "
                assert here.controller.stats().in_flight == 1
                slow.may_end.set()
                assert [piece async for piece in pieces] == [b"last"]
            await here.watch.saw(Released)

    @pytest.mark.parametrize(
        "headers",
        [
            {"x-tenant": ""},
            {"x-priority": "high"},
            {"x-ttl": "soon"},
            {"x-ttl": "-1"},
            {"x-ttl": "nan"},
        ],
    )
    async def test_answers_bad_headers_with_400_and_submits_nothing(self, headers: dict[str, str]) -> None:
        answers: list[httpx.Response] = []
        async with bench() as here:
            await here.post(answers, **headers)
            assert (answers[0].status_code, here.gateway.submitted) == (400, 0)

    async def test_answers_an_unknown_priority_with_400_invalid(self) -> None:
        answers: list[httpx.Response] = []
        async with bench() as here:
            await here.post(answers, **{"x-priority": "7"})
        assert (answers[0].status_code, answers[0].headers[REASON]) == (400, "invalid")

    async def test_answers_an_impatient_request_without_pods_with_503_no_pods(self) -> None:
        answers: list[httpx.Response] = []
        async with bench() as here:
            await here.post(answers, **{"x-ttl": "0.05"})
            assert (await here.watch.saw(Dropped)).outcome is QueueOutcome.EVICTED_NO_PODS
        assert (answers[0].status_code, answers[0].headers[REASON]) == (503, "no-pods")

    async def test_answers_an_impatient_request_at_a_full_pod_with_429_ttl_expired(self) -> None:
        answers: list[httpx.Response] = []
        slow = SlowPod()
        async with pod(slow) as only, bench(only) as here, anyio.create_task_group() as tasks:
            tasks.start_soon(here.post, answers)
            await here.watch.saw(Dispatched)
            await here.post(answers, **{"x-ttl": "0.05"})
            slow.may_end.set()
        assert [answer.status_code for answer in answers] == [429, 200]
        assert answers[0].headers[REASON] == "ttl-expired"

    async def test_answers_at_once_when_nothing_may_wait(self) -> None:
        answers: list[httpx.Response] = []
        config = attrs.evolve(FLOW_CONTROL, bands=[PriorityBandConfig(0, max_requests=0)])
        async with bench(config=config) as here:
            await here.post(answers)
            assert (await here.watch.saw(Dropped)).outcome is QueueOutcome.REJECTED_NO_PODS
        assert (answers[0].status_code, answers[0].headers[REASON]) == (503, "no-pods")

    async def test_lets_a_client_that_hangs_up_leave_and_gives_its_place_back(self) -> None:
        answers: list[httpx.Response] = []
        config = attrs.evolve(FLOW_CONTROL, max_requests=1)
        async with bench(config=config) as here, pod(ModelServer("pod-1", 1, 0)) as first:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(here.post, answers)
                await here.watch.saw(Enqueued)
                tasks.cancel_scope.cancel()
            dropped = await here.watch.saw(Dropped)
            assert dropped.outcome is QueueOutcome.EVICTED_CANCELLED
            assert here.controller.stats().queued_requests == 0
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(here.post, answers)
                await here.watch.saw(Enqueued, 2)
                here.locator.set_pods([first])
        assert [answer.status_code for answer in answers] == [200]

    async def test_keeps_the_slot_of_a_client_that_hangs_up_too_late_until_the_pod_is_done(self) -> None:
        slow = SlowPod()
        async with pod(slow) as only, bench(only) as here:
            async with here.http.stream("POST", "/v1/completions", headers=ACME) as answer:
                assert await anext(answer.aiter_raw()) == b"first "
            assert here.controller.stats().in_flight == 1
            slow.may_end.set()
            assert (await here.watch.saw(Released)).result == "ok"
            assert slow.finished == 1

    async def test_answers_502_when_the_pod_refuses_and_releases_the_slot(self, refusing_pod: Pod) -> None:
        answers: list[httpx.Response] = []
        async with bench(refusing_pod) as here:
            await here.post(answers)
            assert (await here.watch.saw(Released)).result == "dropped"
            assert (here.controller.stats().in_flight, here.gateway.unserved) == (0, 1)
        assert answers[0].status_code == 502

    async def test_breaks_off_when_the_pod_does_and_releases_the_slot(self) -> None:
        async with pod(failing_pod) as only, bench(only) as here:
            with pytest.raises(httpx.RemoteProtocolError):
                await here.http.post("/v1/completions", headers=ACME)
            assert (await here.watch.saw(Released)).result == "dropped"
            assert here.gateway.unserved == 1

    async def test_answers_503_when_the_pod_has_gone_since_the_dispatch(self, refusing_pod: Pod) -> None:
        answers: list[httpx.Response] = []
        async with bench(refusing_pod) as here:
            here.watch.at_dispatch = lambda: here.locator.set_pods([])
            await here.post(answers)
            await here.watch.saw(Released)
        assert (answers[0].status_code, answers[0].headers[REASON]) == (503, "no-pods")


GOOD_POD = PodReport("pod-1", limit=4, most_by_flowgate=4, most_by_pod=4, served=1, refused=0)
GOOD = RunReport(
    called=["a", "b", "c"],
    answers=[Answer("a", 200), Answer("b", 503, "no-pods"), Answer("c", 0, HUNG_UP)],
    submitted=3,
    outcomes={
        QueueOutcome.DISPATCHED: 1,
        QueueOutcome.EVICTED_NO_PODS: 1,
        QueueOutcome.EVICTED_CANCELLED: 1,
    },
    left_waiting=0,
    left_in_flight=0,
    inversions=0,
    plugin_failures=0,
    unserved=0,
    pods=[GOOD_POD],
)
BROKEN = {
    "request a was lost: gone": {"answers": [Answer("a", 0, LOST, "gone"), *GOOD.answers[1:]]},
    "request d never ended": {"called": [*GOOD.called, "d"]},
    "request c ended 2 times": {"answers": [*GOOD.answers, Answer("c", 0, HUNG_UP)]},
    "4 requests were submitted, and 3 outcomes counted": {"submitted": 4},
    "1 requests still wait, 0 tickets are held": {"left_waiting": 1},
    "0 requests still wait, 1 tickets are held": {"left_in_flight": 1},
    "clients got 1 times 503 no-pods, and flowgate counted 0": {
        "outcomes": {QueueOutcome.DISPATCHED: 1, QueueOutcome.EVICTED_CANCELLED: 2}
    },
    "1 requests were sent to pods, which served 2": {"pods": [attrs.evolve(GOOD_POD, served=2)]},
    "1 requests went on while a higher band waited": {"inversions": 1},
    "plug-ins failed 1 times": {"plugin_failures": 1},
    "pod-1 had 5 requests in flight by its own count, its limit is 4": {
        "pods": [attrs.evolve(GOOD_POD, most_by_pod=5)]
    },
    "pod-1 was charged 5 requests, its limit is 4": {"pods": [attrs.evolve(GOOD_POD, most_by_flowgate=5)]},
    "pod-1 left no last words": {"pods": [attrs.evolve(GOOD_POD, most_by_pod=None)]},
}


class TestBooks:
    def test_find_no_problem_in_a_good_run(self) -> None:
        assert problems(GOOD) == []

    @pytest.mark.parametrize("problem", BROKEN)
    def test_find_each_broken_promise(self, problem: str) -> None:
        assert problem in problems(attrs.evolve(GOOD, **BROKEN[problem]))

    def test_allow_a_hang_up_that_came_after_the_dispatch(self) -> None:
        outcomes = {QueueOutcome.DISPATCHED: 2, QueueOutcome.EVICTED_NO_PODS: 1}
        assert problems(attrs.evolve(GOOD, outcomes=outcomes, pods=[attrs.evolve(GOOD_POD, served=2)])) == []

    @pytest.mark.parametrize(("report", "status"), [(GOOD, 0), (attrs.evolve(GOOD, submitted=4), 1)])
    def test_decide_the_exit_status(self, report: RunReport, status: int) -> None:
        output = io.StringIO()
        assert conclude(Console(file=output, width=100), report, Ledger(Journal(float))) == status
        assert ("PROBLEM: 4 requests were submitted" in output.getvalue()) == bool(status)

    def test_take_the_nearest_rank_for_percentiles(self) -> None:
        assert percentile([4.0, 1.0, 3.0, 2.0], 0.5) == 2.0
        assert percentile([1.0, 2.0, 3.0], 0.99) == 3.0


def test_clients_are_of_three_tenants_and_three_priorities_some_impatient_some_hanging_up() -> None:
    calls = [*burst(), *encore()]
    assert len(calls) == 200
    assert {(call.tenant, call.priority) for call in calls} == {(t, p) for t in TENANTS for p in (10, 0, -10)}
    assert sum(call.ttl is not None for call in calls) == 21
    assert sum(call.hang_up_after is not None for call in calls) == 12


DEMO = (sys.executable, "-m", "examples.demo")


def test_the_demo_runs_from_zero_and_back_and_loses_nothing() -> None:
    run = subprocess.run(DEMO, cwd=ROOT, capture_output=True, text=True, timeout=90, check=False)  # noqa: S603 - our own
    assert (run.returncode, run.stderr) == (0, ""), run.stdout + run.stderr
    assert "\x1b" not in run.stdout
    assert "there are no pods: it is held" in run.stdout
    assert "pod-1 is ready after" in run.stdout
    assert run.stdout.count("no pods are left: back to zero") == 2
    assert "0 requests went on while a higher priority waited" in run.stdout
    assert "OK: 200 requests, each with exactly one end; no limit broken" in run.stdout


def test_ctrl_c_leaves_no_process_behind() -> None:
    with subprocess.Popen(DEMO, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as demo:  # noqa: S603
        assert demo.stdout is not None
        assert any("pod-2 is starting" in line for line in demo.stdout)
        children = psutil.Process(demo.pid).children(recursive=True)
        assert len(children) >= 2
        demo.send_signal(signal.SIGINT)
        _, said = demo.communicate(timeout=30)
    assert (demo.returncode, said) == (130, "stopped: no process is left behind\n")
    _, alive = psutil.wait_procs(children, timeout=10)
    assert alive == []
