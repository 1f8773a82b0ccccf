"""The proxy sends each request to the pod of its ticket, and streams the answer back."""

import anyio
import httpx
import pytest

from flowgate.contracts import Released
from flowgate.testing import assert_idle
from flowgate_asgi import FlowControlMiddleware
from flowgate_asgi.proxy import Proxy, from_environment

pytestmark = pytest.mark.usefixtures("virtual_clock")


async def echo(request: httpx.Request) -> httpx.Response:
    """Stand for every pod."""
    await request.aread()
    await anyio.sleep(1)
    if request.url.path == "/broken":
        raise httpx.ConnectError("nobody there")
    text = f"{request.url.host} {request.method} {request.url.raw_path.decode()} {request.content.decode()}"
    return httpx.Response(200, content=pieces(text), headers={"x-seen": request.headers.get("x-tenant", "")})


async def pieces(text: str):
    for word in text.split(" "):
        yield f"{word}|".encode()


@pytest.fixture
def gateway(flow_controller, pods):
    upstream = httpx.AsyncClient(transport=httpx.MockTransport(echo))
    app = FlowControlMiddleware(Proxy(pods, upstream), flow_controller)
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway")


async def test_a_request_goes_to_its_pod_and_back(flow_controller, pods, gateway):
    async with flow_controller, gateway:
        pods.add()
        answer = await gateway.post("/v1/chat?stream=1", content=b"hello", headers={"x-tenant": "acme"})
        assert answer.text == "10.0.0.1|POST|/v1/chat?stream=1|hello|"
        assert answer.headers["x-seen"] == "acme"
        assert (await gateway.get("/plain")).text == "10.0.0.1|GET|/plain||"
        assert_idle(flow_controller)


async def test_the_urgent_go_first(flow_controller, pods, gateway):
    order = []

    async def ask(kind):
        await gateway.get(f"/{kind}", headers={"x-class": kind})
        order.append(kind)

    async with flow_controller, gateway, anyio.create_task_group() as tasks:
        for kind in ("batch", "standard", "interactive"):
            tasks.start_soon(ask, kind)
            await anyio.sleep(0.1)
        pods.add()
    assert order == ["interactive", "standard", "batch"]


async def test_a_pod_that_fails_is_a_bad_gateway(flow_controller, flow_events, pods, gateway):
    async with flow_controller, gateway:
        pods.add()
        answer = await gateway.get("/broken")
    assert (answer.status_code, answer.text) == (502, "pod-1 failed: nobody there\n")
    assert [event.result for event in flow_events.of(Released)] == ["dropped"]


class GoneInBetween:
    """It found the pod for the controller, and finds it no more for the proxy."""

    def locate(self, metadata):
        return ()


async def test_a_pod_that_went_in_between_is_not_asked(flow_controller, pods, connect):
    upstream = httpx.AsyncClient(transport=httpx.MockTransport(echo))
    connection = connect()
    async with flow_controller:
        pods.add()
        await connection.run(FlowControlMiddleware(Proxy(GoneInBetween(), upstream), flow_controller))
    assert (connection.status, connection.body) == (503, b"the pod is gone\n")


async def test_another_pod_is_charged_where_the_first_is_gone(flow_controller, flow_events, pods, connect):
    upstream = httpx.AsyncClient(transport=httpx.MockTransport(echo))
    pods.scale(2)

    class FirstIsGone:
        def locate(self, metadata):
            return [pods["pod-2"]]

    connection = connect()
    async with flow_controller:
        await connection.run(FlowControlMiddleware(Proxy(FirstIsGone(), upstream), flow_controller))
    assert connection.body.startswith(b"10.0.0.2")
    assert [event.ticket.pod for event in flow_events.of(Released)] == [pods["pod-2"]]


def test_a_gateway_is_made_from_the_environment(monkeypatch):
    monkeypatch.setenv("PODS", "127.0.0.1:9001 127.0.0.1:9002")
    assert isinstance(from_environment(), FlowControlMiddleware)
