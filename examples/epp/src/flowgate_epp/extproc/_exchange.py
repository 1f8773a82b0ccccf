"""The protocol of one request, without a loop, a socket or a clock.

Envoy opens a stream for each HTTP request and sends what it sees of it, message by message; most of them want an
answer. The shell around (`_stream.py`) feeds the messages in, writes the answers out, and lets the director decide when
`wants_decision` says so. Everything that can go wrong in an order of messages is settled here:

    AWAITING ──► COLLECTING ──► DECIDING ──► PASSING     the request goes on, or Envoy has answered it itself
        └─────────────┴─────────────┴──────► REFUSED     we have answered it

When to decide depends on how Envoy sends the request's body. NONE and STREAMED: at the headers, which in these modes
cannot wait for the body. BUFFERED and BUFFERED_PARTIAL: at the body, whose answer may still change the headers.
FULL_DUPLEX_STREAMED: at the body's end; until then nothing is answered, and then everything. A request without a body:
at the headers.

An answer that Envoy does not expect makes it close the stream and let the request *pass*. So what arrives out of order
before the decision is refused, never waved through.
"""

import enum
from collections.abc import Callable, Collection, Iterable, Mapping
from http import HTTPStatus
from typing import Any, Final

from envoy.extensions.filters.http.ext_proc.v3.processing_mode_pb2 import ProcessingMode

from flowgate_epp.contracts import Inbound, Refusal, Reservation
from flowgate_epp.extproc._answers import CONTINUE, given_back, immediate, pick, streamed
from flowgate_epp.extproc._notices import Notices
from flowgate_epp.extproc._reading import headers_of, metadata_of
from flowgate_epp.extproc._response import Response

__all__ = ["Exchange"]

_COLLECTED: Final = frozenset(
    {ProcessingMode.BUFFERED, ProcessingMode.BUFFERED_PARTIAL, ProcessingMode.FULL_DUPLEX_STREAMED}
)
_DUPLEX: Final = ProcessingMode.FULL_DUPLEX_STREAMED
_KNOWN: Final = _COLLECTED | {ProcessingMode.NONE, ProcessingMode.STREAMED}


class _Phase(enum.Enum):
    AWAITING = enum.auto()
    COLLECTING = enum.auto()
    DECIDING = enum.auto()
    PASSING = enum.auto()
    REFUSED = enum.auto()


_UNDECIDED: Final = frozenset({_Phase.AWAITING, _Phase.COLLECTING, _Phase.DECIDING})


class Exchange:
    """What has been said on one stream, and what is to be said next.

    Args:
        max_body_bytes: The longest request body that is collected, in bytes.
        namespaces: The namespaces of filter metadata that a decision may need.
        notices: Where it is told, once, that Envoy does what it should not.
    """

    __slots__ = (  # one for each request
        "_body",
        "_collected",
        "_decides_at",
        "_headers",
        "_max_body_bytes",
        "_metadata",
        "_mode",
        "_namespaces",
        "_notices",
        "_phase",
        "_response",
        "_size",
        "_stash",
    )

    def __init__(self, max_body_bytes: int, namespaces: Collection[str], notices: Notices) -> None:
        self._max_body_bytes = max_body_bytes
        self._namespaces = namespaces
        self._notices = notices
        self._response = Response(notices)
        self._phase = _Phase.AWAITING
        self._mode: int = ProcessingMode.NONE
        self._headers: Mapping[str, str] = {}
        self._metadata: Mapping[str, Mapping[str, object]] = {}
        self._decides_at = "request_headers"
        self._body: bytes | None = None
        self._collected: list[bytes] = []
        self._size = 0
        self._stash: list[bytes] = []

    @property
    def wants_decision(self) -> bool:
        """Whether the director is to decide now, on `inbound`; turns False when the decision is no longer needed."""
        return self._phase is _Phase.DECIDING

    @property
    def is_undecided(self) -> bool:
        """Whether Envoy waits to hear if the request may go on: were the stream to end in peace, Envoy would let it."""
        return self._phase in _UNDECIDED

    @property
    def is_refused(self) -> bool:
        """Whether the request has been answered by us, and the stream may end."""
        return self._phase is _Phase.REFUSED

    @property
    def inbound(self) -> Inbound:
        """What is known of the request."""
        return Inbound(self._headers, self._metadata, self._body)

    def receive(self, message: Any) -> Iterable[bytes]:
        """Take a ``ProcessingRequest`` of Envoy's, and return the answers to it."""
        kind = message.WhichOneof("request")
        take = _TAKES.get(kind)
        if take is None:
            self._notices.warn("unknown", "Envoy has sent a message of a kind that is not known here")
            return ()
        return take(self, message)

    def decided(self, answer: Reservation | Refusal) -> Iterable[bytes]:
        """Take the decision, and return the answers to all that has waited for it."""
        if isinstance(answer, Refusal):
            return self.refuse(answer)
        if self._phase is not _Phase.DECIDING:
            answer.close(is_complete=False)
            return ()
        self._phase = _Phase.PASSING
        self._response.awaited(answer)
        return self._go_on(answer.endpoint)

    def refuse(self, refusal: Refusal) -> Iterable[bytes]:
        """Answer the request ourselves, unless that is no longer open."""
        if self._phase not in _UNDECIDED:
            return ()
        self._phase = _Phase.REFUSED
        return (immediate(refusal),)

    def end(self) -> None:
        """Hear that the stream has ended, whichever way, and give the slot back."""
        self._response.end()

    def _go_on(self, endpoint: str) -> Iterable[bytes]:
        at = self._decides_at
        if at == "request_headers" or self._mode != _DUPLEX:
            return (pick(at, endpoint), *self._stash)
        body, self._body = self._body or b"", None
        ends = at == "request_body"
        rest = () if ends else (CONTINUE[at],)
        return (pick("request_headers", endpoint), *streamed("request_body", body, ends=ends), *rest, *self._stash)

    def _request_headers(self, message: Any) -> Iterable[bytes]:
        if self._phase is not _Phase.AWAITING:
            return self._out_of_order("request_headers")
        if message.observability_mode:
            self._notices.warn("observability", "the filter is in observability mode: nothing is decided for it")
            self._phase = _Phase.PASSING
            return ()
        request = message.request_headers
        self._mode = message.protocol_config.request_body_mode
        response_mode = message.protocol_config.response_body_mode
        if not _KNOWN.issuperset((self._mode, response_mode)):
            self._notices.warn("mode", "the filter's processing_mode has a body mode that is not known here")
            return self.refuse(_NOT_SET_UP)
        self._response.announced(response_mode)
        self._headers = headers_of(request.headers)
        self._metadata = metadata_of(message, self._namespaces)
        if request.end_of_stream or self._mode not in _COLLECTED:
            self._phase = _Phase.DECIDING
            return ()
        self._phase = _Phase.COLLECTING
        return () if self._mode == _DUPLEX else (CONTINUE["request_headers"],)

    def _request_body(self, message: Any) -> Iterable[bytes]:
        body = message.request_body
        if self._phase is _Phase.PASSING:
            return given_back("request_body", self._mode, body)
        if self._phase not in {_Phase.COLLECTING, _Phase.DECIDING}:
            return self._out_of_order("request_body")
        self._size += len(body.body)
        if self._size > self._max_body_bytes and self._mode in _COLLECTED:
            return self.refuse(_too_long(self._max_body_bytes))
        if self._phase is _Phase.DECIDING:
            self._stash.extend(given_back("request_body", self._mode, body))
            return ()
        self._collected.append(body.body)
        if body.end_of_stream or self._mode != _DUPLEX:
            # Of a body that is longer than Envoy keeps, BUFFERED_PARTIAL shows the beginning: of no use to a parser.
            is_whole = body.end_of_stream or self._mode != ProcessingMode.BUFFERED_PARTIAL
            self._decide_at("request_body", is_whole=is_whole)
        return ()

    def _request_trailers(self, _message: Any) -> Iterable[bytes]:
        if self._phase is _Phase.PASSING:
            return (CONTINUE["request_trailers"],)
        if self._phase is _Phase.DECIDING:
            self._stash.append(CONTINUE["request_trailers"])
            return ()
        if self._phase is not _Phase.COLLECTING:
            return self._out_of_order("request_trailers")
        self._decide_at("request_trailers", is_whole=True)
        return ()

    def _response_headers(self, message: Any) -> Iterable[bytes]:
        self._answered_by_envoy()
        return self._response.headers(message)

    def _response_body(self, message: Any) -> Iterable[bytes]:
        self._answered_by_envoy()
        return self._response.body(message)

    def _response_trailers(self, message: Any) -> Iterable[bytes]:
        self._answered_by_envoy()
        return self._response.trailers(message)

    def _answered_by_envoy(self) -> None:
        # A response before the decision is Envoy's own, a timeout's perhaps: there is nothing left to decide.
        if self._phase in _UNDECIDED:
            self._phase = _Phase.PASSING

    def _decide_at(self, kind: str, *, is_whole: bool) -> None:
        self._phase = _Phase.DECIDING
        self._decides_at = kind
        self._body = b"".join(self._collected) if is_whole else None
        self._collected.clear()

    def _out_of_order(self, kind: str) -> Iterable[bytes]:
        self._notices.warn(kind, f"Envoy has sent {kind} out of order; does the filter send request headers?")
        if self._phase is _Phase.PASSING:
            return (CONTINUE[kind],)
        return self.refuse(_NOT_SET_UP)


_TAKES: Final[Mapping[str, Callable[[Exchange, Any], Iterable[bytes]]]] = {
    "request_headers": Exchange._request_headers,
    "request_body": Exchange._request_body,
    "request_trailers": Exchange._request_trailers,
    "response_headers": Exchange._response_headers,
    "response_body": Exchange._response_body,
    "response_trailers": Exchange._response_trailers,
}

_NOT_SET_UP: Final = Refusal(HTTPStatus.INTERNAL_SERVER_ERROR, None, "The gateway is not set up to pick an endpoint.")


def _too_long(most: int) -> Refusal:
    return Refusal(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "body-too-large", f"The request's body is longer than {most:,} bytes."
    )
