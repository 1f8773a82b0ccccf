"""The demo's clients believe only an answer that is whole, and their own."""

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from examples.demo.calls import Call
from examples.demo.clients import HUNG_UP, LOST, Answer, make_call
from examples.demo.settings import BATCH

Serves = Callable[[web.Request], Awaitable[web.StreamResponse]]
SERVED = {"x-served-by": "pod-1"}
PLAIN = Call(0.0, "acme", 0)
STREAM = Call(0.0, "acme", 0, is_stream=True)


def call(serves: Serves, wanted: Call = PLAIN) -> Answer:
    """Make a call to a server, and return what its client says of it."""

    async def run() -> Answer:
        app = web.Application()
        app.add_routes([web.post("/v1/completions", serves)])
        async with TestServer(app) as server, aiohttp.ClientSession(server.make_url("/")) as http:
            return await make_call(http, wanted, "burst-1", asyncio.Event())

    return asyncio.run(run())


def says(text: str, status: int = 200, **headers: str) -> Serves:
    async def serve(_request: web.Request) -> web.StreamResponse:
        return web.Response(text=text, status=status, headers=SERVED | headers)

    return serve


def test_a_whole_answer_of_ones_own_is_one() -> None:
    assert call(says('{"id": "cmpl-burst-1"}')) == Answer("burst-1", 200, pod="pod-1")
    assert call(says('data: {"id": "cmpl-burst-1"}\n\ndata: [DONE]\n\n'), STREAM) == Answer("burst-1", 200, pod="pod-1")


def test_a_refusal_is_an_answer_with_its_reason() -> None:
    headers = {"x-flowgate-dropped-reason": "ttl-expired"}
    assert call(says("late", 429, **headers)) == Answer("burst-1", 429, "ttl-expired", "pod-1")


@pytest.mark.parametrize(
    ("text", "wanted", "why"),
    [
        ('{"id": "cmpl-burst-12"}', PLAIN, "the answer is another's"),
        ('data: {"id": "cmpl-burst-1"}\n\n', STREAM, "the stream broke off"),
    ],
)
def test_anothers_answer_and_half_a_stream_are_lost_requests(text: str, wanted: Call, why: str) -> None:
    answer = call(says(text), wanted)
    assert (answer.reason, why in answer.detail) == (LOST, True)


def test_a_connection_that_breaks_is_a_lost_request() -> None:
    async def cut(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    assert call(cut).reason == LOST


def test_nobody_there_is_a_lost_request_and_the_late_need_not_wait_for_it() -> None:
    async def run() -> tuple[Answer, bool]:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            first_answer = asyncio.Event()
            async with aiohttp.ClientSession(f"http://127.0.0.1:{taken.getsockname()[1]}") as http:
                return await make_call(http, PLAIN, "burst-1", first_answer), first_answer.is_set()

    answer, is_set = asyncio.run(run())
    assert (answer.reason, is_set) == (LOST, True)


def test_a_client_that_hangs_up_has_no_answer() -> None:
    async def hang(_request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(60)
        return web.Response()

    assert call(hang, Call(0.0, "acme", 0, hang_up_after=0.05)) == Answer("burst-1", 0, HUNG_UP)


def test_a_request_says_whose_it_is_what_for_and_how_long_it_may_wait() -> None:
    seen: dict[str, str] = {}
    body: dict[str, object] = {}

    async def look(request: web.Request) -> web.StreamResponse:
        seen.update({name.lower(): value for name, value in request.headers.items()})
        body.update(json.loads(await request.read()))
        return web.Response(text='{"id": "cmpl-burst-1"}')

    call(look, Call(0.0, "acme", BATCH, ttl=1.5, tokens=12))
    assert seen["x-gateway-inference-fairness-id"] == "acme"
    assert seen["x-gateway-inference-objective"] == "batch"
    assert (seen["x-request-ttl-seconds"], seen["x-request-id"]) == ("1.5", "burst-1")
    assert (body["model"], body["max_tokens"], body["stream"]) == ("fake-model", 12, False)
