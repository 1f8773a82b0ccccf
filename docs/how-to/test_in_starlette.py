"""Tests of the gateways in Starlette: pods are played by httpx, and time is virtual."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import httpx
import in_a_handler
import in_starlette
import pytest
from starlette.applications import Starlette

from flowgate import FlowController, Request, RequestRejected
from flowgate.contracts import Released
from flowgate.testing import PodPool, Recorder, VirtualClock, assert_idle


async def model(request: httpx.Request) -> httpx.Response:
    """Stand for the pods: each answer takes a second."""
    prompt = (await request.aread()).decode()
    await anyio.sleep(1)
    if prompt == "crash":
        raise httpx.ConnectError("nobody there")
    return httpx.Response(200, text=f"{request.url.host} says {prompt.upper()}")


@pytest.fixture
def to_pods() -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.MockTransport(model))


@pytest.fixture
def gateway(flow_controller: FlowController, to_pods: httpx.AsyncClient) -> httpx.AsyncClient:
    """Reach the application without a server; the test enters the controller, as the lifespan would."""
    app = in_starlette.make_app(flow_controller, to_pods)
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway")


async def test_prompts_wait_for_a_pod_and_gold_goes_first(
    flow_controller: FlowController, gateway: httpx.AsyncClient, pods: PodPool, virtual_clock: VirtualClock
) -> None:
    answers = []

    async def ask(prompt: str, kind: str) -> None:
        answer = await gateway.post("/v1/completions", content=prompt, headers={"x-class": kind})
        answers.append(answer.text)

    async with flow_controller, gateway, anyio.create_task_group() as tasks:
        tasks.start_soon(ask, "hello", "batch")
        await virtual_clock.advance(1)
        tasks.start_soon(ask, "hurry", "gold")
        await virtual_clock.advance(1)
        assert (await gateway.get("/figures")).json() == {"waiting": 2, "at pods": 0}
        pods.add()
    assert answers == ["10.0.0.1 says HURRY", "10.0.0.1 says HELLO"]


async def test_who_waits_in_vain_is_told_so(
    flow_controller: FlowController, gateway: httpx.AsyncClient, virtual_clock: VirtualClock
) -> None:
    async with flow_controller, gateway:
        answer = await gateway.post("/v1/completions", content="hello", headers={"x-max-wait": "5"})
        assert (answer.status_code, answer.headers["x-flowgate-dropped-reason"]) == (503, "no-pods")
        assert virtual_clock.time() == 5.0


@pytest.mark.usefixtures("virtual_clock")
async def test_a_pod_that_fails_gives_its_slot_back(
    flow_controller: FlowController, gateway: httpx.AsyncClient, pods: PodPool, flow_events: Recorder
) -> None:
    pods.add()
    async with flow_controller, gateway:
        assert (await gateway.post("/v1/completions", content="crash")).status_code == 502
        assert_idle(flow_controller)
    assert [event.result for event in flow_events.of(Released)] == ["dropped"]


@asynccontextmanager
async def serving(app: Starlette) -> AsyncIterator[None]:
    """Send the lifespan's events, as a server does."""
    say, events = anyio.create_memory_object_stream[dict[str, str]](1)
    answer, answers = anyio.create_memory_object_stream[dict[str, str]](1)
    with say, events, answer, answers:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(app, {"type": "lifespan", "state": {}}, events.receive, answer.send)
            await say.send({"type": "lifespan.startup"})
            assert (await answers.receive())["type"] == "lifespan.startup.complete"
            yield
            await say.send({"type": "lifespan.shutdown"})
            assert (await answers.receive())["type"] == "lifespan.shutdown.complete"


@pytest.mark.usefixtures("virtual_clock")
@pytest.mark.parametrize(("program", "path"), [(in_starlette, "/v1/completions"), (in_a_handler, "/embed")])
async def test_the_lifespan_enters_the_controller_and_drains_it(
    program, path: str, flow_controller: FlowController, to_pods: httpx.AsyncClient, pods: PodPool
) -> None:
    app = program.make_app(flow_controller, to_pods)
    pods.add()
    gateway = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway")
    async with gateway, serving(app):
        assert (await gateway.post(path, content="hello")).text == "10.0.0.1 says HELLO"
    with pytest.raises(RequestRejected, match="REJECTED_SHUTDOWN"):
        await flow_controller.enqueue_and_wait(Request("late"))


async def test_by_hand_the_answer_is_the_same(
    flow_controller: FlowController, to_pods: httpx.AsyncClient, virtual_clock: VirtualClock
) -> None:
    app = in_a_handler.make_app(flow_controller, to_pods)
    async with flow_controller, httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://x") as gateway:
        answer = await gateway.post("/embed", content="hello")
        assert (answer.status_code, answer.headers["x-flowgate-dropped-reason"]) == (503, "no-pods")
        assert virtual_clock.time() == 10.0
