"""A gateway: each HTTP request waits for a pod, and is sent on to it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
from starlette.applications import Starlette
from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.routing import Route

from flowgate import FlowControlError, FlowController, Request
from flowgate.admission import http_response
from flowgate.contracts import PodLocator
from flowgate.saturation import ConcurrencyDetector

PRIORITIES = {"interactive": 10, "standard": 0, "batch": -10}


def make_app(locator: PodLocator, client: httpx.AsyncClient, slots_per_pod: int) -> Starlette:
    controller = FlowController(locator=locator, detector=ConcurrencyDetector(slots_per_pod))

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        async with controller:
            yield
            await controller.drain(timeout=10.0)

    async def answer(http: HttpRequest) -> Response:
        body = await http.body()
        request = Request(
            http.headers.get("x-tenant") or "anonymous",
            priority=PRIORITIES.get(http.headers.get("x-class", ""), 0),
            byte_size=len(body),
            ttl=30.0,
        )
        try:
            async with controller.admitted(request) as ticket:
                url = f"http://{ticket.candidates[0].endpoint}{http.url.path}"
                reply = await client.request(http.method, url, content=body)
        except FlowControlError as error:
            refusal = http_response(error)
            return Response(str(error), refusal.status, dict(refusal.headers))
        except httpx.HTTPError as error:
            return Response(str(error), 502)
        return Response(reply.content, reply.status_code)

    return Starlette(routes=[Route("/{path:path}", answer, methods=["GET", "POST"])], lifespan=lifespan)
