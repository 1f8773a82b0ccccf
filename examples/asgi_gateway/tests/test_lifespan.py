"""The server's lifespan enters the controller and drains it, around the application's own."""

import anyio
import pytest

from flowgate import Request, RequestEvicted
from flowgate.testing import Callers, assert_idle, until_blocked
from flowgate_asgi import FlowControlMiddleware

pytestmark = pytest.mark.usefixtures("virtual_clock")


class Server:
    """Sends an application its lifespan events, one at a time."""

    def __init__(self, middleware):
        self.middleware = middleware
        self.answers = []
        self.error = None
        self.may_start, self.may_stop = anyio.Event(), anyio.Event()
        self._events = [(self.may_start, "lifespan.startup"), (self.may_stop, "lifespan.shutdown")]

    async def receive(self):
        told, event = self._events.pop(0)
        await told.wait()
        return {"type": event}

    async def send(self, message):
        self.answers.append(message["type"].removeprefix("lifespan."))

    async def run(self):
        try:
            await self.middleware({"type": "lifespan"}, self.receive, self.send)
        except Exception as error:
            self.error = error


def well_behaved(heard):
    async def app(scope, receive, send):
        for _ in range(2):
            event = (await receive())["type"]
            heard.append(event)
            await send({"type": f"{event}.complete"})

    return app


async def knows_none(scope, receive, send):
    assert scope["type"] == "http"


async def gives_up_late(scope, receive, send):
    await receive()
    raise RuntimeError("no lifespan here")


async def ignores(scope, receive, send):
    return


@pytest.mark.parametrize("app", [well_behaved([]), knows_none, gives_up_late, ignores])
async def test_every_application_starts_and_stops(flow_controller, app):
    """One that knows no lifespan is spoken for: the controller's has to be."""
    server = Server(FlowControlMiddleware(app, flow_controller))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(server.run)
        server.may_start.set()
        await until_blocked()
        assert server.answers == ["startup.complete"]
        async with Callers(flow_controller) as callers:  # it is entered
            assert (await callers.start(Request("a"))).is_waiting
        server.may_stop.set()
    assert (server.answers, server.error) == (["startup.complete", "shutdown.complete"], None)


async def test_what_waits_goes_before_the_application_stops(flow_controller, pods):
    heard = []
    server = Server(FlowControlMiddleware(well_behaved(heard), flow_controller, drain=10.0))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(server.run)
        server.may_start.set()
        await until_blocked()
        async with Callers(flow_controller) as callers:
            waiting = await callers.start(Request("a"))
            server.may_stop.set()
            await anyio.sleep(3)
            assert (waiting.is_waiting, heard) == (True, ["lifespan.startup"])
            pods.add()
            await until_blocked()
            assert (waiting.is_waiting, heard) == (False, ["lifespan.startup", "lifespan.shutdown"])
            waiting.release()
            assert_idle(flow_controller)


async def test_draining_ends(flow_controller):
    server = Server(FlowControlMiddleware(well_behaved([]), flow_controller, drain=2.5))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(server.run)
        server.may_start.set()
        await until_blocked()
        async with Callers(flow_controller) as callers:
            waiting = await callers.start(Request("a"))
            server.may_stop.set()
            with pytest.raises(RequestEvicted, match="EVICTED_SHUTDOWN"):
                await waiting.admitted()
            assert waiting.ended_at == 2.5


async def test_a_failed_start_is_the_server_s_to_see(flow_controller):
    async def fails(scope, receive, send):
        await receive()
        await send({"type": "lifespan.startup.failed"})
        raise RuntimeError("no database")

    server = Server(FlowControlMiddleware(fails, flow_controller))
    server.may_start.set()
    await server.run()
    assert server.answers == ["startup.failed"]
    assert isinstance(server.error, RuntimeError)
