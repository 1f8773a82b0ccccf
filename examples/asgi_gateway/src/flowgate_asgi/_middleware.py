"""The middleware: it stands between an ASGI server and an application, and decides when each request goes on."""

from collections.abc import Iterable
from contextlib import closing

import anyio

from flowgate import FlowControlError, FlowController, Ticket
from flowgate_asgi._client import Client
from flowgate_asgi._lifespan import run_lifespan
from flowgate_asgi._response import Response, refuse
from flowgate_asgi._routes import Route
from flowgate_asgi._types import Application, Receive, Scope, Send

__all__ = ["FlowControlMiddleware"]


class FlowControlMiddleware:
    """Holds each HTTP request until a pod has room for it, and calls the application then.

    The application finds the ticket in ``scope["flowgate.ticket"]``, with the pods that may serve the request. The slot
    is held until the response has ended. A client that hangs up leaves the queue; if the application is at work for it
    already, that is cancelled. Who is not admitted is answered here: the status of its outcome, the reason, and
    Retry-After where that is known.

    Paths that no route covers, and WebSockets, go on untouched: a connection that may last for days is no request to
    hold a slot for. The server's lifespan events enter and drain the controller, around the application's own.

    Args:
        app: The application.
        controller: Not entered yet.
        routes: The first that covers a path decides.
        drain: Longest time, in seconds, that requests may go on waiting at shutdown.
    """

    def __init__(
        self,
        app: Application,
        controller: FlowController,
        *,
        routes: Iterable[Route] = (Route(),),
        drain: float = 10.0,
    ) -> None:
        self._app = app
        self._controller = controller
        self._routes = tuple(routes)
        self._drain = drain

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection, as ASGI has it."""
        if scope["type"] == "lifespan":
            await run_lifespan(self._app, self._controller, self._drain, scope, receive, send)
            return
        route = self._route(scope) if scope["type"] == "http" else None
        if route is None:
            await self._app(scope, receive, send)
        else:
            await self._hold(route, scope, receive, send)

    def _route(self, scope: Scope) -> Route | None:
        return next((route for route in self._routes if route.covers(scope["path"])), None)

    async def _hold(self, route: Route, scope: Scope, receive: Receive, send: Send) -> None:
        response = Response(send)
        failure: Exception | None = None
        with closing(Client(receive)) as client:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(client.listen)
                try:
                    await self._admit(route, scope, client, response)
                except Exception as error:  # raised below, not in a group: it is for the server
                    failure = error
                tasks.cancel_scope.cancel()
        if failure is not None:
            raise failure

    async def _admit(self, route: Route, scope: Scope, client: Client, response: Response) -> None:
        try:
            request = route.read(scope)
        except ValueError as error:
            await refuse(response, 400, str(error))
            return
        ticket: Ticket | None = None
        with anyio.CancelScope() as waiting:
            client.call_when_gone(waiting.cancel)
            try:
                ticket = await self._controller.enqueue_and_wait(request)
            except FlowControlError as error:
                await refuse(response, error)
        if ticket is not None:  # else it was refused, or nobody is left to be answered
            await self._serve(ticket, scope, client, response)

    async def _serve(self, ticket: Ticket, scope: Scope, client: Client, response: Response) -> None:
        response.call_at_end(ticket.release)
        with anyio.CancelScope() as working, ticket:
            client.call_when_gone(lambda: None if response.has_ended else working.cancel())
            await self._app({**scope, "flowgate.ticket": ticket}, client.receive, response.send)
