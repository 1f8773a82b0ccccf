"""The middleware keeps its promises, in virtual time, on asyncio and trio."""

import anyio
import httpx
import pytest

from flowgate import FlowControlConfig, QueueOutcome
from flowgate.contracts import Dispatched, Released
from flowgate.testing import assert_idle, until_blocked
from flowgate_asgi import FlowControlMiddleware, Route

REASON = "x-flowgate-dropped-reason"
pytestmark = pytest.mark.usefixtures("virtual_clock")


def released(flow_events):
    return [event.result for event in flow_events.of(Released)]


async def test_a_request_waits_until_a_pod_appears(flow_controller, pods, connect, application):
    app, connection = application(), connect("/v1/chat", {"x-tenant": "acme"})
    app.may_answer.set()
    middleware = FlowControlMiddleware(app, flow_controller)
    async with flow_controller, anyio.create_task_group() as tasks:
        tasks.start_soon(connection.run, middleware)
        await until_blocked()
        assert (app.paths, flow_controller.stats().queued_requests) == ([], 1)
        pod = pods.add()
        await until_blocked()
        assert (connection.status, connection.body) == (200, b"done")
        assert (app.paths, app.tickets[0].candidates) == (["/v1/chat"], (pod,))
        assert_idle(flow_controller)


async def test_headers_say_whose_request_it_is_and_how_urgent(flow_controller, flow_events, pods, connect, application):
    app = application()
    app.may_answer.set()
    middleware = FlowControlMiddleware(app, flow_controller, routes=[Route("/v1", flow="x-team"), Route("/")])
    headers = {"x-team": "red", "x-tenant": "acme", "x-class": "interactive", "content-length": "5", "x-max-wait": "2"}
    async with flow_controller, anyio.create_task_group() as tasks:
        pods.add()
        for path in ("/v1/chat", "/v2/chat"):
            tasks.start_soon(connect(path, headers).run, middleware)
        tasks.start_soon(connect("/v1", {"x-class": "made up", "X-Max-Wait": "inf"}).run, middleware)
    seen = {
        (event.flow_key.id, event.flow_key.priority, event.byte_size, event.request.initial_effective_ttl())
        for event in flow_events.of(Dispatched)
    }
    assert seen == {("red", 10, 5, 2.0), ("acme", 10, 5, 2.0), ("anonymous", 0, 0, 30.0)}
    (metadata,) = [e.request.get_metadata() for e in flow_events.of(Dispatched) if e.flow_key.id == "red"]
    assert (metadata["path"], metadata["method"], metadata["headers"]["x-team"]) == ("/v1/chat", "POST", "red")


async def test_a_client_cannot_ask_to_wait_for_ever(flow_controller, connect, application):
    connection = connect(headers={"x-max-wait": "86400"})
    async with flow_controller:
        await connection.run(FlowControlMiddleware(application(), flow_controller, routes=[Route(max_ttl=5.0)]))
        assert anyio.current_time() == 5.0
    assert (connection.status, connection.headers[REASON]) == (503, "no-pods")
    assert b"EVICTED_NO_PODS" in connection.body


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("content-length", "-1"),
        ("content-length", "²"),
        ("x-max-wait", "soon"),
        ("x-max-wait", "0"),
        ("x-max-wait", "nan"),
    ],
)
async def test_a_bad_header_is_the_client_s_fault(flow_controller, connect, application, header, value):
    app = application()
    connection = connect(headers={header: value})
    async with flow_controller:
        await connection.run(FlowControlMiddleware(app, flow_controller))
    assert (connection.status, app.paths) == (400, [])
    assert header.encode() in connection.body


class TestFull:
    """With room for one, and one that waits."""

    @pytest.fixture
    def flow_control_config(self):
        return FlowControlConfig(max_requests=1)

    async def test_who_finds_no_room_is_refused_at_once(self, flow_controller, pods, connect, application):
        app = application()
        middleware = FlowControlMiddleware(app, flow_controller)
        connections = [connect() for _ in range(3)]
        async with flow_controller, anyio.create_task_group() as tasks:
            pods.add()
            for connection in connections:
                tasks.start_soon(connection.run, middleware)
            await until_blocked()
            refused = [connection for connection in connections if connection.is_over]
            assert [(connection.status, connection.headers[REASON]) for connection in refused] == [(429, "saturated")]
            app.may_answer.set()


async def test_after_shutdown_requests_are_refused(flow_controller, connect, application):
    connection = connect()
    async with flow_controller:
        await flow_controller.aclose()
        await connection.run(FlowControlMiddleware(application(), flow_controller))
    assert (connection.status, connection.headers[REASON]) == (503, "shutting-down")


async def test_the_slot_is_held_until_the_response_has_ended(flow_controller, flow_events, pods, connect):
    chunk_sent, may_end, may_return = anyio.Event(), anyio.Event(), anyio.Event()

    async def streams(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"one", "more_body": True})
        chunk_sent.set()
        await may_end.wait()
        await send({"type": "http.response.body", "body": b"two"})
        await may_return.wait()  # work after the response is the application's own

    async with flow_controller, anyio.create_task_group() as tasks:
        pods.add()
        tasks.start_soon(connect().run, FlowControlMiddleware(streams, flow_controller))
        await chunk_sent.wait()
        assert flow_controller.stats().in_flight == 1
        may_end.set()
        await until_blocked()
        assert_idle(flow_controller)
        may_return.set()
    assert released(flow_events) == ["ok"]


async def test_a_client_that_hangs_up_leaves_the_queue(flow_controller, pods, flow_events, connect, application):
    app, connection = application(), connect()
    async with flow_controller, anyio.create_task_group() as tasks:
        tasks.start_soon(connection.run, FlowControlMiddleware(app, flow_controller))
        await until_blocked()
        connection.say(b"a body that nobody reads")
        connection.hang_up()
        await until_blocked()
        assert (connection.is_over, connection.sent, connection.error) == (True, [], None)
        assert_idle(flow_controller)
        pods.add()
    assert (app.paths, flow_events.outcomes()) == ([], [QueueOutcome.EVICTED_CANCELLED])


async def test_work_for_a_client_that_hung_up_is_cancelled(flow_controller, pods, flow_events, connect, application):
    app, connection = application(), connect()
    async with flow_controller, anyio.create_task_group() as tasks:
        pods.add()
        tasks.start_soon(connection.run, FlowControlMiddleware(app, flow_controller))
        await until_blocked()
        connection.hang_up()
        await until_blocked()
        assert (app.was_cancelled, connection.is_over, connection.error) == (1, True, None)
        assert_idle(flow_controller)
    assert released(flow_events) == ["ignored"]


async def test_a_hang_up_after_the_response_cancels_nothing(flow_controller, pods, connect):
    finished = anyio.Event()

    async def works_on(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})
        assert (await receive())["type"] == "http.disconnect"
        await anyio.sleep(5)
        finished.set()

    connection = connect()
    async with flow_controller, anyio.create_task_group() as tasks:
        pods.add()
        tasks.start_soon(connection.run, FlowControlMiddleware(works_on, flow_controller))
        await until_blocked()
        connection.hang_up()
    assert finished.is_set()


async def test_a_server_that_cancels_takes_the_slot_back(flow_controller, pods, flow_events, connect, application):
    async with flow_controller:
        pods.add()
        with anyio.move_on_after(1):
            await connect().run(FlowControlMiddleware(application(), flow_controller))
        assert_idle(flow_controller)
    assert released(flow_events) == ["ignored"]


async def test_the_application_reads_the_whole_body(flow_controller, pods, connect):
    """Whatever was read ahead while it waited, and what comes later; then the hang-up."""
    got = []

    async def reads(scope, receive, send):
        while (message := await receive())["type"] == "http.request":
            got.append(message["body"])

    connection = connect()
    pieces = [b"%d" % number for number in range(50)]
    async with flow_controller, anyio.create_task_group() as tasks:
        for piece in pieces[:40]:
            connection.say(piece, more=True)
        tasks.start_soon(connection.run, FlowControlMiddleware(reads, flow_controller))
        await until_blocked()
        pods.add()
        for piece in pieces[40:]:
            connection.say(piece, more=True)
        connection.hang_up()
    # It is cancelled by the hang-up, but not before it had what came earlier.
    assert got == pieces[: len(got)]
    assert len(got) >= 50 - 16


@pytest.mark.parametrize(
    ("status", "result"), [(200, "ok"), (404, "ok"), (500, "ok"), (502, "dropped"), (503, "dropped")]
)
async def test_a_bad_gateway_counts_against_the_pod(
    flow_controller, pods, flow_events, connect, application, status, result
):
    app = application()
    app.status = status
    app.may_answer.set()
    async with flow_controller:
        pods.add()
        await connect().run(FlowControlMiddleware(app, flow_controller))
    assert released(flow_events) == [result]


async def test_what_the_application_raises_goes_to_the_server_as_it_is(flow_controller, pods, flow_events, connect):
    async def fails(scope, receive, send):
        raise LookupError("a bug")

    connection = connect()
    async with flow_controller:
        pods.add()
        await connection.run(FlowControlMiddleware(fails, flow_controller))
        assert_idle(flow_controller)
    assert isinstance(connection.error, LookupError)
    assert released(flow_events) == ["dropped"]


async def test_a_send_that_fails_says_nothing_of_the_pod(flow_controller, pods, flow_events, connect, application):
    async def send(message):
        raise OSError("the client is gone")

    app, connection = application(), connect()
    app.may_answer.set()
    connection.send = send
    async with flow_controller:
        pods.add()
        await connection.run(FlowControlMiddleware(app, flow_controller))
    assert isinstance(connection.error, OSError)
    assert released(flow_events) == ["ignored"]


async def test_other_paths_and_websockets_go_on_untouched(flow_controller, connect, application):
    app = application()
    app.may_answer.set()
    middleware = FlowControlMiddleware(app, flow_controller, routes=[Route("/v1")])
    async with flow_controller:
        for connection in (connect("/healthz"), connect("/v10"), connect("/v1/live", type="websocket")):
            await connection.run(middleware)
    assert (app.paths, app.tickets) == (["/healthz", "/v10", "/v1/live"], [None, None, None])


async def test_a_client_library_sees_plain_http(flow_controller, pods):
    async def echoes(scope, receive, send):
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message["body"], message["more_body"]
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})

    transport = httpx.ASGITransport(FlowControlMiddleware(echoes, flow_controller))
    async with flow_controller, httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        refused = await client.post("/", content=b"hello", headers={"x-max-wait": "1"})
        assert (refused.status_code, refused.headers[REASON]) == (503, "no-pods")
        assert refused.text.endswith("(EVICTED_NO_PODS)\n")
        pods.add()
        assert (await client.post("/", content=b"hello")).text == "hello"
        assert_idle(flow_controller)
