"""The program in one process: started, asked, and stopped."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import attrs
import grpc
import pytest
from envoy.config.core.v3 import base_pb2
from envoy.service.ext_proc.v3 import external_processor_pb2 as ext_proc
from envoy.service.ext_proc.v3 import external_processor_pb2_grpc as ext_proc_grpc
from prometheus_client.parser import text_string_to_metric_families

from flowgate import QueueOutcome
from flowgate_epp.config import load
from flowgate_epp.contracts import Decision
from flowgate_epp.program import EndpointPicker
from flowgate_epp.scheduling import SchedulerSettings

POD = {"name": "a", "address": "10.0.0.1", "port": 8000}
SERVERS = {"host": "127.0.0.1", "port": 0}
ONE_SLOT = {"detector": {"name": "concurrency", "max_concurrency": 1}}


def config(**tables: Any) -> dict[str, Any]:
    return {
        "pods": {"name": "static-pods", "pods": [POD]},
        "scraper": "none",
        "flow_control": ONE_SLOT,
        "server": SERVERS,
        "admin": SERVERS,
        **tables,
    }


@asynccontextmanager
async def running(
    source: dict[str, Any], *listeners: Callable[[Decision], None]
) -> AsyncIterator[tuple[EndpointPicker, asyncio.Event, "asyncio.Task[None]"]]:
    picker, stop = EndpointPicker(load(source), listeners), asyncio.Event()
    task = asyncio.create_task(picker.serve(stop))
    try:
        while picker.server.port == 0 and not task.done():
            await asyncio.sleep(0)
        yield picker, stop, task
    finally:
        stop.set()
        await asyncio.sleep(0)
        stop.set()
        await task


async def until(is_so: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not is_so():
            await asyncio.sleep(0)


async def get(picker: EndpointPicker, path: str) -> tuple[int, str]:
    url = f"http://127.0.0.1:{picker.admin.port}{path}"
    async with aiohttp.ClientSession() as http, http.get(url) as response:
        return response.status, await response.text()


def headers(**named: str) -> ext_proc.ProcessingRequest:
    pairs = {":method": "POST", ":path": "/v1/completions", **{k.replace("_", "-"): v for k, v in named.items()}}
    values = [base_pb2.HeaderValue(key=key, raw_value=value.encode()) for key, value in pairs.items()]
    message = ext_proc.HttpHeaders(headers=base_pb2.HeaderMap(headers=values), end_of_stream=True)
    return ext_proc.ProcessingRequest(request_headers=message)


@asynccontextmanager
async def streams(picker: EndpointPicker) -> AsyncIterator[Callable[[], Any]]:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{picker.server.port}") as channel:
        yield ext_proc_grpc.ExternalProcessorStub(channel).Process


def destination(answer: ext_proc.ProcessingResponse) -> str:
    return str(answer.dynamic_metadata["envoy.lb"]["x-gateway-destination-endpoint"])


def test_it_is_ready_once_the_pods_are_known() -> None:
    """Alive at once; ready, and healthy to Envoy, with the first word of the source, be there any pods or none."""

    async def check() -> None:
        source = config(pods={"name": "file-pods", "path": "/nowhere/pods.json"})
        async with running(source) as (picker, _, _):
            assert await get(picker, "/healthz") == (200, "ok\n")
            status, text = await get(picker, "/readyz")
            assert status == 503
            assert json.loads(text) == {"ready": False, "reasons": ["the pods are not known yet"]}
            picker.store.set_pods([])
            await until(lambda: not picker.not_ready())
            assert await get(picker, "/readyz") == (200, '{"ready": true, "reasons": []}')

    asyncio.run(check())


def test_a_request_is_picked_counted_and_released() -> None:
    """One way through all parts: Envoy's message, the decision, the metrics, the state, and the end of the stream."""
    decisions: list[Decision] = []

    async def check() -> None:
        async with running(config(), decisions.append) as (picker, _, _), streams(picker) as process:
            await picker.store.synced()
            stream = process()
            await stream.write(headers(x_request_id="one", x_gateway_inference_fairness_id="tenant"))
            assert destination(await stream.read()) == "10.0.0.1:8000"
            state = json.loads((await get(picker, "/state"))[1])
            assert (state["in_flight"], state["pods"][0]["in_flight"], state["saturation"]) == (1, 1, 1.0)
            stream.cancel()
            await until(lambda: picker.controller.stats().in_flight == 0)
            _, text = await get(picker, "/metrics")
        families = {family.name: family for family in text_string_to_metric_families(text)}
        went = [
            sample.value
            for sample in families["flowgate_requests"].samples
            if sample.labels["outcome"] == "dispatched" and sample.labels["priority"] == "0"
        ]
        assert went == [1.0]

    asyncio.run(check())
    (decision,) = decisions
    assert (decision.request_id, decision.flow_id, decision.outcome) == ("one", "tenant", QueueOutcome.DISPATCHED)
    assert decision.pod is not None


@pytest.mark.parametrize(
    ("kept", "tables"),
    [
        (True, {}),
        (False, {"admin": {**SERVERS, "explain_last": 0}}),
        (True, {"admin": {**SERVERS, "explain_last": 0}, "flow_control": {**ONE_SLOT, "explain_last": 5}}),
    ],
)
def test_a_request_is_explained_after_it_went_unless_that_is_switched_off(kept: bool, tables: dict[str, Any]) -> None:
    """By the id that its headers name; either table may say how many are kept."""

    async def check() -> None:
        async with running(config(**tables)) as (picker, _, _), streams(picker) as process:
            await picker.store.synced()
            stream = process()
            await stream.write(headers(x_request_id="one"))
            await stream.read()
            status, text = await get(picker, "/explain?request_id=one")
            assert status == (200 if kept else 404)
            if kept:
                (told,) = json.loads(text)["explanations"]
                assert (told["state"], told["pod"]["name"]) == ("dispatched", "a")
            stream.cancel()
            await until(lambda: picker.controller.stats().in_flight == 0)

    asyncio.run(check())


def test_objectives_of_the_file_are_priorities() -> None:
    """A held request of a higher objective overtakes."""

    async def check() -> None:
        source = config(objectives={"priorities": {"chat": 10, "batch": -1}})
        async with running(source) as (picker, _, _), streams(picker) as process:
            await picker.store.synced()
            first, low, high = process(), process(), process()
            await first.write(headers())
            await first.read()
            await low.write(headers(x_gateway_inference_objective="batch"))
            await until(lambda: picker.controller.stats().queued_requests == 1)
            await high.write(headers(x_gateway_inference_objective="chat"))
            await until(lambda: picker.controller.stats().queued_requests == 2)
            first.cancel()
            assert destination(await high.read()) == "10.0.0.1:8000"
            assert {priority: band.queued_requests for priority, band in picker.controller.stats().bands.items()} == {
                10: 0,
                0: 0,
                -1: 1,
            }
            low.cancel()
            high.cancel()

    asyncio.run(check())


def test_a_stop_lets_what_waits_go_and_ends_when_all_have_their_answer() -> None:
    """Ready no more at once; the held request takes the slot that comes free, and nobody is cut."""

    async def check() -> None:
        async with running(config()) as (picker, stop, task), streams(picker) as process:
            await picker.store.synced()
            first, held = process(), process()
            await first.write(headers())
            await first.read()
            await held.write(headers())
            await until(lambda: picker.controller.stats().queued_requests == 1)
            stop.set()
            await until(picker.not_ready)
            assert picker.not_ready() == ["shutting down"]
            assert not task.done()
            await first.done_writing()
            assert destination(await held.read()) == "10.0.0.1:8000"
            await held.done_writing()
            assert await first.code() == await held.code() == grpc.StatusCode.OK
            async with asyncio.timeout(10):
                await task

    asyncio.run(check())


def test_told_twice_to_stop_it_stops_at_once() -> None:
    """What is held is told 503, whatever the drain's time; responses that run go on without us."""

    async def check() -> None:
        async with running(config()) as (picker, stop, task), streams(picker) as process:
            await picker.store.synced()
            running_, held = process(), process()
            await running_.write(headers())
            await running_.read()
            await held.write(headers())
            await until(lambda: picker.controller.stats().queued_requests == 1)
            stop.set()
            await until(picker.not_ready)
            stop.set()
            answer = await held.read()
            assert answer.immediate_response.status.code == 503
            async with asyncio.timeout(10):
                await task
            assert await running_.code() is grpc.StatusCode.OK

    asyncio.run(check())


def test_when_the_drains_time_is_over_what_waits_is_told_503() -> None:
    """With its reason, and the program ends."""

    async def check() -> None:
        source = config(server={**SERVERS, "drain_timeout": 0.1})
        async with running(source) as (picker, stop, task), streams(picker) as process:
            await picker.store.synced()
            first, held = process(), process()
            await first.write(headers())
            await first.read()
            await held.write(headers())
            await until(lambda: picker.controller.stats().queued_requests == 1)
            stop.set()
            immediate = (await held.read()).immediate_response
            told = {each.header.key: each.header.raw_value.decode() for each in immediate.headers.set_headers}
            assert immediate.status.code == 503
            assert told["x-flowgate-dropped-reason"] == "shutting-down"
            async with asyncio.timeout(10):
                await task

    asyncio.run(check())


def test_legacy_admission_holds_nobody_and_sheds() -> None:
    """A request of negative priority is told 429 while the pod is full; others pass."""

    async def check() -> None:
        source = config(admission="legacy", objectives={"priorities": {"batch": -1}})
        async with running(source) as (picker, _, _), streams(picker) as process:
            await picker.store.synced()
            first, second, shed = process(), process(), process()
            for stream in (first, second):
                await stream.write(headers())
                assert destination(await stream.read()) == "10.0.0.1:8000"
            await shed.write(headers(x_gateway_inference_objective="batch"))
            assert (await shed.read()).immediate_response.status.code == 429
            for stream in (first, second):
                stream.cancel()

    asyncio.run(check())


def test_a_source_that_breaks_ends_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bug must not leave a program that looks alive and never sees a pod again."""

    async def check() -> None:
        picker, stop = EndpointPicker(load(config())), asyncio.Event()
        monkeypatch.setattr(picker.store, "set_pods", _break)
        async with asyncio.timeout(10):
            await picker.serve(stop)

    with pytest.raises(ExceptionGroup) as caught:
        asyncio.run(check())
    assert "out of order" in str(caught.value.exceptions[0])


def _break(_pods: object) -> None:
    raise RuntimeError("out of order")


def test_the_pods_metrics_and_their_failures_are_told(tmp_path: Path) -> None:
    """A pod that cannot be scraped is full to the default detector, and its failures are counted."""

    async def check() -> None:
        path = tmp_path / "pods.json"
        path.write_text(json.dumps({"pods": [{"name": "dead", "address": "127.0.0.1", "port": 9}]}), "utf-8")
        source = {
            "pods": {"name": "file-pods", "path": str(path)}, "server": SERVERS, "admin": SERVERS,
        }  # fmt: skip
        async with running(source) as (picker, _, _):
            async with asyncio.timeout(10):
                while 'flowgate_scrape_failures_total{pod="dead"' not in (await get(picker, "/metrics"))[1]:
                    await asyncio.sleep(0.01)
            state = json.loads((await get(picker, "/state"))[1])
            assert state["pods"][0]["saturation"] == 1.0

    asyncio.run(check())


def test_failures_of_the_schedulers_plug_ins_are_counted() -> None:
    """Beside the controller's own, under the plug-in's kind and name."""

    class Broken:
        name = "broken"

        def filter(self, request: object, pods: object) -> Any:
            raise RuntimeError("out of order")

    async def check() -> None:
        settings = attrs.evolve(load(config()), scheduler=SchedulerSettings(filters=(Broken(),)))
        picker, stop = EndpointPicker(settings), asyncio.Event()
        task = asyncio.create_task(picker.serve(stop))
        await until(lambda: picker.server.port)
        async with streams(picker) as process:
            await picker.store.synced()
            stream = process()
            await stream.write(headers())
            assert destination(await stream.read()) == "10.0.0.1:8000"
            stream.cancel()
            _, text = await get(picker, "/metrics")
        assert 'flowgate_plugin_failures_total{kind="filter",name="broken"} 1' in text
        stop.set()
        await task

    asyncio.run(check())


async def flowgate(picker: EndpointPicker, command: str, *arguments: str) -> tuple[int | None, str, str]:
    """Run a command in a process of its own against the picker; return its exit code, and what it says."""
    url = f"http://127.0.0.1:{picker.admin.port}"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", "-m", "flowgate", command, "--url", url, *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={"COLUMNS": "110", "LANG": "C.UTF-8"},
    )
    out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


def test_the_commands_tell_what_the_program_knows() -> None:
    async def check() -> None:
        async with running(config()) as (picker, _, _), streams(picker) as process:
            await picker.store.synced()
            first, second = process(), process()
            await first.write(headers(x_request_id="first", x_gateway_inference_fairness_id="tenant"))
            await first.read()
            await second.write(headers(x_request_id="second", x_gateway_inference_fairness_id="tenant"))
            await until(lambda: picker.controller.stats().queued_requests == 1)
            code, frame, _ = await flowgate(picker, "top", "--once")
            assert code == 0
            assert "waiting 1 " in frame
            assert "10.0.0.1:8000" in frame
            code, text, _ = await flowgate(picker, "explain", "second")
            assert code == 0
            assert "second" in text
            assert "tenant" in text
            code, text, _ = await flowgate(picker, "explain", "--json", "first")
            assert code == 0
            (told,) = json.loads(text)["explanations"]
            assert told["outcome"] == "dispatched"
            code, _, error = await flowgate(picker, "explain", "third")
            assert code == 1
            assert len(error.splitlines()) == 1
            first.cancel()
            second.cancel()
            await until(lambda: picker.controller.stats().in_flight == 0)

    asyncio.run(check())
