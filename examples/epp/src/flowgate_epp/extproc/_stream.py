"""Between a gRPC stream and its exchange: reads, writes, waits for the decision, and ends in the right way."""

import asyncio
import logging
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any, Final, cast

import grpc
from envoy.service.ext_proc.v3 import external_processor_pb2 as pb
from google.protobuf.message import DecodeError

from flowgate_epp.contracts import Decides, Refusal
from flowgate_epp.extproc._exchange import Exchange
from flowgate_epp.extproc._notices import Notices

__all__ = ["Stream"]

_logger = logging.getLogger("flowgate_epp.extproc")
_SHUTTING_DOWN: Final = Refusal(
    HTTPStatus.SERVICE_UNAVAILABLE,
    "shutting-down",
    "The endpoint picker is shutting down.",
    # As soon as another one, or this one again, can have taken its place.
    {"x-flowgate-dropped-reason": "shutting-down", "retry-after": "2"},
)
_FAILED: Final = Refusal(HTTPStatus.INTERNAL_SERVER_ERROR, None, "The endpoint picker has failed.")
_UNREADABLE: Final = Refusal(HTTPStatus.INTERNAL_SERVER_ERROR, None, "The gateway's message cannot be read.")


class Stream:
    """One stream of Envoy's, run by the task that gRPC made for it.

    While the director decides we go on reading: Envoy may give up on the request (it ends our stream, or tells of an
    answer of its own), and then the decision is cancelled. A stream that ends before the decision ends with an error,
    for after a peaceful end Envoy would let the request pass; one that ends after it never does, for that would cut off
    the response.

    Args:
        context: gRPC's, with messages as bytes.
        exchange: What is said on it.
        decides: Who decides; where it has a method ``refuses``, that is asked before a body is read, and returns the
            refusal of a request that need not be read, or None.
        notices: Where a message that cannot be read is told of.
    """

    __slots__ = (  # one for each request
        "_ahead",
        "_context",
        "_decides",
        "_exchange",
        "_is_abandoned",
        "_is_deciding",
        "_is_dismissed",
        "_is_writing",
        "_late",
        "_loop",
        "_notices",
        "_task",
    )

    def __init__(self, context: Any, exchange: Exchange, decides: Decides, notices: Notices) -> None:
        self._context = context
        self._exchange = exchange
        self._decides = decides
        self._notices = notices
        self._loop = asyncio.get_running_loop()
        self._task = cast("asyncio.Task[None]", asyncio.current_task())
        self._ahead: asyncio.Task[Any] | None = None
        self._late: Iterable[bytes] = ()
        self._is_deciding = self._is_writing = self._is_abandoned = self._is_dismissed = False

    async def run(self) -> None:
        """Serve the stream to its end; the slot is free when this returns or raises."""
        try:
            await self._converse()
        except asyncio.CancelledError:
            if not self._is_dismissed:
                raise
            await self._write(self._exchange.refuse(_SHUTTING_DOWN))
        except DecodeError:
            self._notices.warn("unreadable", "Envoy has sent a message that cannot be read")
            await self._write(self._exchange.refuse(_UNREADABLE))
        except grpc.aio.BaseError as error:  # Envoy has gone while it was written to
            _logger.debug("a stream of Envoy's has broken: %s", error)
            await self._context.abort(grpc.StatusCode.UNAVAILABLE, "the stream has broken")
        except Exception:
            _logger.exception("a stream of Envoy's has failed")
            await self._write(self._exchange.refuse(_FAILED))
        finally:
            if self._ahead is not None:
                self._ahead.cancel()
            self._exchange.end()
        if self._exchange.is_undecided:
            await self._context.abort(grpc.StatusCode.CANCELLED, "the request went away before it was decided")

    def dismiss(self) -> None:
        """End the stream now: an undecided request is refused, a response goes on without us."""
        self._is_dismissed = True
        # What is being written is not to be torn: gRPC would take no further message, and Envoy would miss this one.
        if not self._is_writing:
            self._task.cancel()

    async def _converse(self) -> None:
        exchange = self._exchange
        refuses: Callable[[], Refusal | None] | None = getattr(self._decides, "refuses", None)
        while (message := await self._next()) is not None:
            if refuses is not None and exchange.is_undecided and (refusal := refuses()) is not None:
                await self._write(exchange.refuse(refusal))
                return
            await self._write(exchange.receive(message))
            if exchange.wants_decision:
                await self._write(await self._decide())
            if exchange.is_refused:
                return

    async def _write(self, answers: Iterable[bytes]) -> None:
        self._is_writing = True
        try:
            for answer in answers:
                await self._context.write(answer)
        finally:
            self._is_writing = False

    async def _next(self) -> Any:
        if self._is_dismissed:
            raise asyncio.CancelledError
        ahead, self._ahead = self._ahead, None
        return await (self._read() if ahead is None else ahead)

    async def _read(self) -> Any:
        data = await self._context.read()
        return None if data is grpc.aio.EOF else pb.ProcessingRequest.FromString(data)

    async def _decide(self) -> Iterable[bytes]:
        self._is_deciding = True
        # Reading takes a task: not for a decision that is made at once, which the loop's next turn finds done.
        listening = self._loop.call_soon(self._listen)
        try:
            answer = await self._decides.decide(self._exchange.inbound)
        except asyncio.CancelledError:
            if not self._is_abandoned:
                raise
            return self._late
        finally:
            self._is_deciding = False
            listening.cancel()
        return [*self._late, *self._exchange.decided(answer)]

    def _listen(self) -> None:
        self._ahead = self._loop.create_task(self._read())
        self._ahead.add_done_callback(self._heard)

    def _heard(self, reading: "asyncio.Task[Any]") -> None:
        if not self._is_deciding or reading.cancelled():
            return
        # An end or an error stays where the next read finds it.
        if reading.exception() is None and (message := reading.result()) is not None:
            self._ahead = None
            self._late = self._exchange.receive(message)
            if self._exchange.wants_decision:
                self._listen()
                return
        self._is_abandoned = True
        self._task.cancel()
