"""The same over real sockets: a uvicorn server on the loopback interface, in real time."""

import contextlib
import socket

import anyio
import httpx
import pytest
import uvicorn

from flowgate import QueueOutcome
from flowgate_asgi import FlowControlMiddleware
from flowgate_asgi.proxy import Proxy

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend():
    """uvicorn runs on asyncio alone."""
    return "asyncio"


class Server(uvicorn.Server):
    """Leaves signals to pytest."""

    @contextlib.contextmanager
    def capture_signals(self):
        yield


@contextlib.asynccontextmanager
async def serving(app, lifespan="on"):
    config = uvicorn.Config(app, http="h11", ws="none", lifespan=lifespan, log_level="critical")
    server = Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener, anyio.fail_after(30):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(server.serve, [listener])
            yield listener.getsockname()[1]
            server.should_exit = True


async def eventually(condition):
    with anyio.fail_after(10):
        while not condition():
            await anyio.sleep(0.005)


@pytest.fixture
def pod():
    """A model server that streams as a test says."""

    class ModelServer:
        def __init__(self):
            self.may_end, self.was_left = anyio.Event(), anyio.Event()

        async def __call__(self, scope, receive, send):
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"from ", "more_body": True})
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self.watch, receive, tasks.cancel_scope)
                await self.may_end.wait()
                tasks.cancel_scope.cancel()
            await send({"type": "http.response.body", "body": b"zero"})

        async def watch(self, receive, scope):
            while (await receive())["type"] != "http.disconnect":
                pass
            self.was_left.set()
            scope.cancel()

    return ModelServer


async def test_a_request_is_held_streamed_and_let_go(flow_controller, pods, pod):
    model = pod()
    gateway = FlowControlMiddleware(Proxy(pods, httpx.AsyncClient()), flow_controller)
    async with serving(model, "off") as port, serving(gateway) as front, httpx.AsyncClient() as client:
        async with anyio.create_task_group() as tasks:

            async def ask():
                async with client.stream("POST", f"http://127.0.0.1:{front}/", content=b"hi") as answer:
                    pieces = answer.aiter_text()
                    assert await anext(pieces) == "from "
                    assert flow_controller.stats().in_flight == 1
                    model.may_end.set()
                    assert [piece async for piece in pieces] == ["zero"]

            tasks.start_soon(ask)
            await eventually(lambda: flow_controller.stats().queued_requests == 1)
            pods.add("model", address="127.0.0.1", port=port)
        await eventually(lambda: flow_controller.stats().in_flight == 0)


async def test_a_hang_up_ends_the_wait_and_the_work(flow_controller, flow_events, pods, pod):
    model = pod()
    gateway = FlowControlMiddleware(Proxy(pods, httpx.AsyncClient()), flow_controller)
    async with serving(model, "off") as port, serving(gateway) as front:
        with socket.create_connection(("127.0.0.1", front)) as impatient:
            impatient.sendall(b"GET / HTTP/1.1\r\nhost: g\r\n\r\n")
            await eventually(lambda: flow_controller.stats().queued_requests == 1)
        await eventually(lambda: flow_events.outcomes() == [QueueOutcome.EVICTED_CANCELLED])

        pods.add("model", address="127.0.0.1", port=port)
        async with httpx.AsyncClient() as client, client.stream("GET", f"http://127.0.0.1:{front}/") as answer:
            assert await anext(answer.aiter_text()) == "from "
            assert flow_controller.stats().in_flight == 1
        with anyio.fail_after(10):
            await model.was_left.wait()
        await eventually(lambda: flow_controller.stats().in_flight == 0)
