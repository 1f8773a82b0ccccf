"""The gateway: an ASGI app that holds each request until a pod has room for it.

This is the whole of embedding flowgate. Headers say whose request it is (``x-tenant``), how urgent (``x-priority``, an
integer), and, if the client likes, how long it may be held (``x-ttl``, in seconds).
"""

import anyio
import httpx
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.requests import Request as HttpRequest
from starlette.responses import PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from flowgate import FlowControlError, FlowController, Pod, QueueOutcome, Request, Ticket
from flowgate.admission import http_response
from flowgate.contracts import PodLocator

__all__ = ["Gateway"]

FORWARDED = ("content-type", "x-request-id")


class Gateway:
    """Holds requests through flowgate, and streams the chosen pod's answer back.

    Args:
        controller: Holds requests; already entered.
        locator: The controller's own, asked once more before a request is sent.
        pods: The HTTP client for requests to pods.

    Attributes:
        submitted: Requests handed to flowgate.
        unserved: Requests that flowgate let go, and no pod answered.
    """

    def __init__(self, controller: FlowController, locator: PodLocator, pods: httpx.AsyncClient) -> None:
        self._controller = controller
        self._locator = locator
        self._pods = pods
        self.submitted = 0
        self.unserved = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request."""
        http = HttpRequest(scope, receive, send)
        try:
            body = await http.body()
            request = read_request(http.headers, len(body))
        except ClientDisconnect:
            return
        except ValueError as error:
            await PlainTextResponse(f"{error}\n", 400)(scope, receive, send)
            return
        self.submitted += 1
        async with anyio.create_task_group() as tasks:
            waiting = anyio.CancelScope()
            tasks.start_soon(cancel_on_hang_up, receive, waiting)
            await self._hold_and_forward(request, waiting, http, body, send)
            tasks.cancel_scope.cancel()

    async def _hold_and_forward(
        self, request: Request, waiting: anyio.CancelScope, http: HttpRequest, body: bytes, send: Send
    ) -> None:
        try:
            with waiting:
                ticket = await self._controller.enqueue_and_wait(request)
        except FlowControlError as error:
            await refusal(error)(http.scope, http.receive, send)
            return
        if waiting.cancelled_caught:
            return  # the client hung up while it waited: flowgate has counted it, and nobody is left to be answered
        # From here a hang-up changes nothing: the pod works on the request, so its slot stays taken until it is done.
        with ticket:
            pod = self._still_there(ticket)
            if pod is None:
                self.unserved += 1
                await refusal(QueueOutcome.EVICTED_NO_PODS)(http.scope, http.receive, send)
            else:
                await self._forward(pod, ticket, http, body, send)

    def _still_there(self, ticket: Ticket) -> Pod | None:
        """Check the choice again: a pod may have gone between the dispatch and now."""
        pod = ticket.candidates[0]
        return pod if pod in self._locator.locate(ticket.request.get_metadata()) else None

    async def _forward(self, pod: Pod, ticket: Ticket, http: HttpRequest, body: bytes, send: Send) -> None:
        url = str(http.url.replace(scheme="http", netloc=pod.endpoint))
        headers = {name: http.headers[name] for name in FORWARDED if name in http.headers}
        is_started = False
        try:
            async with self._pods.stream(http.method, url, content=body, headers=headers) as answer:
                is_started = True
                await stream_back(answer, send)
        except httpx.HTTPError as error:
            ticket.release("dropped")
            self.unserved += 1
            if not is_started:  # else the response just ends here, and the server closes the connection
                text = f"{pod.name} failed: {error}\n"
                await PlainTextResponse(text, 502)(http.scope, http.receive, send)


def read_request(headers: Headers, byte_size: int) -> Request:
    """Make flowgate's request from the headers.

    Raises:
        ValueError: A header has a bad value; there is always a tenant.
    """
    ttl = headers.get("x-ttl")
    return Request(
        headers.get("x-tenant", ""),
        priority=int(headers.get("x-priority", "0")),
        byte_size=byte_size,
        ttl=None if ttl is None else float(ttl),
        request_id=headers.get("x-request-id"),
    )


def refusal(result: FlowControlError | QueueOutcome) -> Response:
    """Put into HTTP why a request does not go on: status, ``x-flowgate-dropped-reason``, Retry-After if known."""
    said = http_response(result)
    return PlainTextResponse(f"{result}\n", said.status, headers=dict(said.headers))


async def cancel_on_hang_up(receive: Receive, waiting: anyio.CancelScope) -> None:
    """Cancel the wait when the client hangs up. Once the wait is over, this has no effect."""
    while (await receive())["type"] != "http.disconnect":
        pass
    waiting.cancel()


async def stream_back(answer: httpx.Response, send: Send) -> None:
    """Send a pod's answer on, piece by piece, as it comes."""
    headers = [(name, value) for name, value in answer.headers.raw if name.lower() not in {b"date", b"server"}]
    await send({"type": "http.response.start", "status": answer.status_code, "headers": headers})
    async for piece in answer.aiter_raw():
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b""})
