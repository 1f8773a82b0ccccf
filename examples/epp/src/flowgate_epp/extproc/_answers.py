"""What is answered to Envoy, already in bytes: most answers are the same for every request."""

import json
from collections.abc import Iterable
from functools import lru_cache
from http import HTTPStatus
from typing import Any, Final

from envoy.config.core.v3 import base_pb2
from envoy.extensions.filters.http.ext_proc.v3.processing_mode_pb2 import ProcessingMode
from envoy.service.ext_proc.v3 import external_processor_pb2 as pb

from flowgate_epp.contracts import Refusal

__all__ = ["CONTINUE", "given_back", "immediate", "pick", "streamed"]

_DESTINATION: Final = "x-gateway-destination-endpoint"
_BALANCING: Final = "envoy.lb"
_PIECE: Final = 62_000
"""Bytes of body in one answer: what Envoy's buffers take without pushing back."""
_ENDPOINTS: Final = 4096


def _go_on(kind: str) -> bytes:
    answer = pb.ProcessingResponse()
    getattr(answer, kind).SetInParent()
    return bytes(answer.SerializeToString())


CONTINUE: Final = {
    kind: _go_on(kind)
    for kind in (
        "request_headers",
        "request_body",
        "request_trailers",
        "response_headers",
        "response_body",
        "response_trailers",
    )
}
"""The answer that changes nothing, by the message's kind."""


@lru_cache(_ENDPOINTS)
def pick(kind: str, endpoint: str) -> bytes:
    """Return the answer that sends a request to an endpoint, by the kind of message that is answered.

    The endpoint goes where the endpoint-picker protocol wants it, into a header and into the metadata. The header
    replaces what a client has sent. An answer to trailers can no longer change headers: there the metadata alone tells.
    """
    answer = pb.ProcessingResponse()
    place = getattr(answer, kind)
    place.SetInParent()
    if kind != "request_trailers":
        place.response.header_mutation.set_headers.append(_header(_DESTINATION, endpoint))
    answer.dynamic_metadata.update({_BALANCING: {_DESTINATION: endpoint}})
    return bytes(answer.SerializeToString())


def given_back(kind: str, mode: int, body: Any) -> Iterable[bytes]:
    """Return the answers to a piece of a body that goes on as it came.

    Args:
        kind: ``request_body`` or ``response_body``.
        mode: Envoy's mode for that body; in full duplex it keeps nothing itself, so the bytes are sent back.
        body: Envoy's ``HttpBody``.
    """
    if mode == ProcessingMode.FULL_DUPLEX_STREAMED:
        return streamed(kind, body.body, ends=body.end_of_stream)
    return (CONTINUE[kind],)


def streamed(kind: str, body: bytes, *, ends: bool) -> Iterable[bytes]:
    """Return the answers that give a body back to Envoy, in pieces that it takes.

    Args:
        kind: ``request_body`` or ``response_body``.
        body: The bytes.
        ends: Whether the stream ends with them.
    """
    pieces = [body[start : start + _PIECE] for start in range(0, len(body), _PIECE)] or ([b""] if ends else [])
    last = len(pieces) - 1
    return [_streamed_response(kind, piece, ends=ends and number == last) for number, piece in enumerate(pieces)]


def _streamed_response(kind: str, piece: bytes, *, ends: bool) -> bytes:
    answer = pb.ProcessingResponse()
    response = getattr(answer, kind).response.body_mutation.streamed_response
    response.body = piece
    response.end_of_stream = ends
    return bytes(answer.SerializeToString())


def immediate(refusal: Refusal) -> bytes:
    """Return the answer that refuses a request: status, headers, and a JSON body in the style of OpenAI's errors."""
    status = refusal.status
    body = {"error": {"message": refusal.message, "type": _error_type(status), "code": refusal.reason}}
    headers = {"content-type": "application/json", **refusal.headers}
    response = pb.ImmediateResponse(
        headers=_headers(headers.items()),
        body=json.dumps(body).encode(),
        details=f"flowgate_epp:{refusal.reason or status}",
    )
    response.status.code = status
    return bytes(pb.ProcessingResponse(immediate_response=response).SerializeToString())


def _error_type(status: int) -> str:
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return "rate_limit_error"
    return "invalid_request_error" if status < HTTPStatus.INTERNAL_SERVER_ERROR else "server_error"


def _headers(headers: Iterable[tuple[str, str]]) -> Any:
    return pb.HeaderMutation(set_headers=[_header(name, value) for name, value in headers])


def _header(name: str, value: str) -> Any:
    return base_pb2.HeaderValueOption(
        header=base_pb2.HeaderValue(key=name, raw_value=value.encode()),
        append_action=base_pb2.HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD,
    )
