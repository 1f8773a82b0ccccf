"""What happens to one request for a completion."""

import asyncio
import json
import math
import uuid
from collections.abc import Sequence
from typing import cast

import attrs
from aiohttp import web

from fake_vllm._engine import Engine, QueueFullError
from fake_vllm._faults import Fault, Faults
from fake_vllm._meters import Meters
from fake_vllm._openai import Asked, Text, error_body
from fake_vllm._pace import Pace, until
from fake_vllm._settings import FakeVllmSettings

__all__ = ["Completions", "refusal"]


def refusal(status: int, message: str) -> web.Response:
    """Make an error in OpenAI's form."""
    return web.Response(status=status, body=error_body(status, message), content_type="application/json")


@attrs.frozen
class _Struck:
    """The faults that hit one request."""

    hang: Fault | None
    drop: Fault | None
    slow: Fault | None

    @property
    def slower(self) -> float:
        """Seconds by which each token takes longer."""
        return self.slow.seconds or 0.0 if self.slow else 0.0


class Completions:
    """Both completion endpoints: wait for a slot, generate at the pace, and let go as soon as the client does.

    Args:
        settings: The server's.
        engine: Who gives slots.
        faults: What goes wrong.
        meters: What is counted for Prometheus.

    Attributes:
        served: Requests answered in full.
        refused: Requests refused because too many waited, or because the server was stopping.
        aborted: Requests that ended early: the client went away, a fault cut them, or the time of grace was over.
        is_stopping: Whether it refuses all that come.
    """

    def __init__(self, settings: FakeVllmSettings, engine: Engine, faults: Faults, meters: Meters) -> None:
        self._settings, self._engine, self._faults, self._meters = settings, engine, faults, meters
        self._arrivals = self._in_flight = 0
        self.is_stopping = False
        self._is_empty = asyncio.Event()
        self._is_empty.set()
        self.served = self.refused = self.aborted = 0

    async def completion(self, request: web.Request) -> web.StreamResponse:
        """Answer ``/v1/completions``."""
        return await self._answer(request, is_chat=False)

    async def chat(self, request: web.Request) -> web.StreamResponse:
        """Answer ``/v1/chat/completions``."""
        return await self._answer(request, is_chat=True)

    async def drain(self) -> None:
        """Refuse what comes from now on, and wait until the rest is answered."""
        self.is_stopping = True
        await self._is_empty.wait()

    async def _answer(self, request: web.Request, *, is_chat: bool) -> web.StreamResponse:
        self._in_flight += 1
        self._is_empty.clear()
        try:
            return await self._refuse_or_generate(request, is_chat=is_chat)
        except (asyncio.CancelledError, ConnectionError):  # whichever notices first that the client is gone
            self.aborted += 1
            self._meters.aborted()
            raise
        finally:
            self._in_flight -= 1
            if not self._in_flight:
                self._is_empty.set()

    async def _refuse_or_generate(self, request: web.Request, *, is_chat: bool) -> web.StreamResponse:
        try:
            asked = Asked.read(json.loads(await request.read()), is_chat=is_chat)
            if response := self._refusal(asked):
                return response
            return await self._generate(request, asked)
        except QueueFullError as error:
            self.refused += 1
            return refusal(503, str(error))
        except ValueError as error:  # NeverFitsError, broken JSON and broken UTF-8 are ValueErrors too
            return refusal(400, str(error))

    def _refusal(self, asked: Asked) -> web.Response | None:
        if asked.model not in {None, self._settings.model}:
            return refusal(404, f"the model {asked.model!r} does not exist; this server has {self._settings.model!r}")
        if self.is_stopping:
            self.refused += 1
            return refusal(503, "the server is stopping")
        if fault := self._faults.strike("error"):
            return refusal(fault.status, "a fault was asked for")
        return None

    async def _generate(self, request: web.Request, asked: Asked) -> web.StreamResponse:
        clock = asyncio.get_running_loop().time
        arrived = clock()
        struck = _Struck(*(self._faults.strike(kind) for kind in ("hang", "drop", "slow-tokens")))
        pace = Pace(self._settings, self._arrivals)
        self._arrivals += 1
        with self._engine.place(asked.n, self._settings.blocks(asked.all_tokens)) as granted:
            # As vLLM does: the headers of a stream are sent while the request may still wait for its slot.
            stream = await _begin_stream(request) if asked.is_stream else None
            await granted
            self._meters.started(asked.prompt_tokens, clock() - arrived)
            await _hang(struck.hang)
            text = Text(asked, _request_id(request), self._settings.model, pace.words(asked))
            moments = pace.moments(clock(), text.steps, struck.slower)
            if stream is None:
                await _compute(request, moments, struck)
            else:
                await _speak(request, stream, text, moments, struck)
            self._meters.finished(text.finishes(), text.tokens, moments[0] - arrived, clock() - arrived)
        # Only now does the client learn that it is done: its next request finds the slot free.
        if stream is None:
            response: web.StreamResponse = web.Response(body=text.whole(), content_type="application/json")
        else:
            await stream.write(text.last())
            response = stream
        self.served += 1
        return response


def _request_id(request: web.Request) -> str:
    return request.headers.get("x-request-id") or uuid.uuid4().hex


async def _begin_stream(request: web.Request) -> web.StreamResponse:
    stream = web.StreamResponse(headers={"content-type": "text/event-stream; charset=utf-8"})
    await stream.prepare(request)
    return stream


async def _compute(request: web.Request, moments: Sequence[float], struck: _Struck) -> None:
    if struck.drop:
        await _cut(request)
    await until(moments[-1])


async def _speak(
    request: web.Request, stream: web.StreamResponse, text: Text, moments: Sequence[float], struck: _Struck
) -> None:
    for step, moment in enumerate(moments):
        if struck.drop and step == text.steps // 2:
            await _cut(request)
        await until(moment)
        await stream.write(text.chunks(step))


async def _hang(fault: Fault | None) -> None:
    if fault:
        await asyncio.sleep(math.inf if fault.seconds is None else fault.seconds)


async def _cut(request: web.Request) -> None:
    """Cut the connection without a word; the loss of it then cancels whoever waits here."""
    cast("asyncio.WriteTransport", request.transport).abort()
    await asyncio.sleep(math.inf)
