"""A reverse proxy behind the middleware: it streams each request to the pod of its ticket, and the answer back.

Run it with ``PODS="10.0.0.1:8000 10.0.0.2:8000" uvicorn --factory flowgate_asgi.proxy:from_environment``.
"""

import os
from collections.abc import AsyncGenerator

import httpx

from flowgate import FlowController, Pod, Ticket
from flowgate.contracts import PodLocator
from flowgate.locators import StaticPodLocator
from flowgate.saturation import ConcurrencyDetector
from flowgate_asgi._middleware import FlowControlMiddleware
from flowgate_asgi._types import Receive, Scope, Send

__all__ = ["Proxy", "from_environment"]

_OF_ONE_HOP = frozenset({b"connection", b"host", b"keep-alive", b"te", b"trailer", b"transfer-encoding", b"upgrade"})


class Proxy:
    """An ASGI application that sends each HTTP request on.

    Args:
        locator: The controller's own, asked once more before a request is sent: a pod may have gone meanwhile.
        client: For requests to pods.
    """

    def __init__(self, locator: PodLocator, client: httpx.AsyncClient) -> None:
        self._locator = locator
        self._client = client

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        if scope["type"] != "http":
            raise RuntimeError(f"the proxy knows nothing of {scope['type']}")
        ticket: Ticket = scope["flowgate.ticket"]
        still_there = self._locator.locate(ticket.request.get_metadata())
        pod = next((pod for pod in ticket.candidates if pod in still_there), None)
        if pod is None:
            await _answer(send, 503, "the pod is gone")
            return
        if pod != ticket.pod:
            ticket.assign(pod)
        await self._forward(pod, scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        async with self._client:
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
        await send({"type": "lifespan.shutdown.complete"})

    async def _forward(self, pod: Pod, scope: Scope, receive: Receive, send: Send) -> None:
        url = httpx.URL(f"http://{pod.endpoint}", raw_path=_target(scope))
        headers = [(name, value) for name, value in scope["headers"] if name.lower() not in _OF_ONE_HOP]
        body = _body(receive) if _has_body(scope) else None
        is_started = False
        try:
            async with self._client.stream(scope["method"], url, headers=headers, content=body) as answer:
                raw = [(name, value) for name, value in answer.headers.raw if name.lower() not in _OF_ONE_HOP]
                await send({"type": "http.response.start", "status": answer.status_code, "headers": raw})
                is_started = True
                async for piece in answer.aiter_raw():
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        except httpx.HTTPError as error:
            if is_started:
                raise  # too late to say so: the server cuts the connection
            await _answer(send, 502, f"{pod.name} failed: {error}")


def from_environment() -> FlowControlMiddleware:
    """Make a gateway to the pods that the variable PODS lists, with SLOTS_PER_POD requests each at a time."""
    endpoints = [endpoint.rpartition(":") for endpoint in os.environ["PODS"].split()]
    locator = StaticPodLocator(Pod(f"{host}:{port}", host, int(port)) for host, _, port in endpoints)
    slots = int(os.environ.get("SLOTS_PER_POD", "8"))
    controller = FlowController(locator=locator, detector=ConcurrencyDetector(slots))
    client = httpx.AsyncClient(timeout=httpx.Timeout(5.0, read=None), limits=httpx.Limits(max_connections=None))
    return FlowControlMiddleware(Proxy(locator, client), controller)


def _target(scope: Scope) -> bytes:
    path: bytes = scope.get("raw_path") or scope["path"].encode()
    query: bytes = scope["query_string"]
    return path + b"?" + query if query else path


def _has_body(scope: Scope) -> bool:
    return any(name.lower() in {b"content-length", b"transfer-encoding"} for name, _ in scope["headers"])


async def _body(receive: Receive) -> AsyncGenerator[bytes]:
    while (message := await receive())["type"] == "http.request":
        yield message.get("body", b"")
        if not message.get("more_body", False):
            return


async def _answer(send: Send, status: int, text: str) -> None:
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": text.encode() + b"\n"})
