"""The same by hand: a handler that asks flowgate itself."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

import flowgate
from flowgate.admission import http_response


async def embed(request: Request) -> Response:
    """Wait for a slot, and hold it while a pod works on the answer."""
    text = await request.body()
    asked = flowgate.Request(request.headers.get("x-tenant", "anonymous"), byte_size=len(text), ttl=10.0)
    async with request.app.state.controller.admitted(asked) as ticket:
        answer = await request.app.state.client.post(f"http://{ticket.candidates[0].endpoint}/embed", content=text)
    return Response(answer.content, status_code=answer.status_code)


async def refuse(_request: Request, error: Exception) -> Response:
    """Say with the status and the headers of its outcome why a request did not go."""
    assert isinstance(error, flowgate.FlowControlError)  # noqa: S101 - it is registered for nothing else
    answer = http_response(error)
    return PlainTextResponse(f"{error}\n", status_code=answer.status, headers=dict(answer.headers))


def make_app(controller: flowgate.FlowController, client: httpx.AsyncClient) -> Starlette:
    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        async with client, controller:
            yield
            await controller.drain(10)

    app = Starlette(
        routes=[Route("/embed", embed, methods=["POST"])],
        exception_handlers={flowgate.FlowControlError: refuse},
        lifespan=lifespan,
    )
    app.state.controller = controller
    app.state.client = client
    return app
