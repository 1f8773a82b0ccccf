"""A gateway in Starlette: the middleware holds each request, and the handler sends it on.

Run it with ``PODS="10.0.0.1:8000 10.0.0.2:8000" uvicorn --factory in_starlette:from_environment``.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

import flowgate_asgi
from flowgate import FlowController, Pod, Ticket
from flowgate.locators import StaticPodLocator
from flowgate.saturation import ConcurrencyDetector


async def complete(request: Request) -> Response:
    """Send a prompt to the pod of its ticket, and stream the answer back."""
    ticket: Ticket = request.scope["flowgate.ticket"]
    pod = ticket.candidates[0]
    client: httpx.AsyncClient = request.app.state.client
    prompt = client.build_request(
        "POST",
        f"http://{pod.endpoint}/v1/completions",
        content=await request.body(),
        headers={"content-type": request.headers.get("content-type", "application/json")},
    )
    try:
        answer = await client.send(prompt, stream=True)
    except httpx.HTTPError as error:
        return PlainTextResponse(f"{pod.name} failed: {error}\n", status_code=502)
    return StreamingResponse(
        answer.aiter_bytes(),
        status_code=answer.status_code,
        media_type=answer.headers.get("content-type"),
        background=BackgroundTask(answer.aclose),
    )


async def figures(request: Request) -> Response:
    """Tell how it stands. No route of flowgate covers this path, so it never waits."""
    stats = request.app.state.controller.stats()
    return JSONResponse({"waiting": stats.queued_requests, "at pods": stats.in_flight})


def make_app(controller: FlowController, client: httpx.AsyncClient) -> Starlette:
    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        async with client:
            yield

    held = flowgate_asgi.Route("/v1", priorities={"gold": 10, "batch": -10}, max_ttl=30.0)
    app = Starlette(
        routes=[Route("/v1/completions", complete, methods=["POST"]), Route("/figures", figures)],
        middleware=[Middleware(flowgate_asgi.FlowControlMiddleware, controller=controller, routes=[held])],
        lifespan=lifespan,
    )
    app.state.controller = controller
    app.state.client = client
    return app


def from_environment() -> Starlette:
    endpoints = [endpoint.rpartition(":") for endpoint in os.environ["PODS"].split()]
    locator = StaticPodLocator(Pod(f"{host}:{port}", host, int(port)) for host, _, port in endpoints)
    controller = FlowController(locator=locator, detector=ConcurrencyDetector(8))
    limits = httpx.Limits(max_connections=None)  # flowgate is what limits them
    return make_app(controller, httpx.AsyncClient(timeout=httpx.Timeout(5.0, read=None), limits=limits))
