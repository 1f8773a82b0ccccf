"""The second half of a stream: what Envoy tells of the response, and when the slot comes back."""

from collections.abc import Iterable
from typing import Any, Final

from envoy.extensions.filters.http.ext_proc.v3 import processing_mode_pb2

from flowgate_epp.contracts import Reservation
from flowgate_epp.extproc._answers import CONTINUE, given_back
from flowgate_epp.extproc._notices import Notices
from flowgate_epp.extproc._reading import served_by, status_of

__all__ = ["Response"]

_NONE: Final = processing_mode_pb2.ProcessingMode.NONE


class Response:
    """The response to one request; it passes through unchanged, and nothing of it is kept.

    The slot is given back once: as soon as the response is known to be whole, else when the stream ends. Where Envoy
    does not send us the response's body, it ends the stream alike for one that has come to its end and for one that
    broke off. Both count as complete then; the body mode STREAMED tells them apart, for a message a chunk.
    """

    __slots__ = ("_has_begun", "_mode", "_notices", "_reservation")  # one for each request

    def __init__(self, notices: Notices) -> None:
        self._notices = notices
        self._mode: int = _NONE
        self._has_begun = False
        self._reservation: Reservation | None = None

    def announced(self, body_mode: int) -> None:
        """Hear in which mode the body is going to come."""
        self._mode = body_mode

    def awaited(self, reservation: Reservation) -> None:
        """Hear that the request has gone on, with a slot."""
        self._reservation = reservation

    def headers(self, message: Any) -> Iterable[bytes]:
        """Take the headers, tell the slot of them, and return the answer."""
        headers = message.response_headers
        self._has_begun = True
        self._notices.response_seen()
        if self._reservation is not None:
            self._reservation.responded(status_of(headers.headers), served_by(message))
            if headers.end_of_stream:
                self._close(is_complete=True)
        return (CONTINUE["response_headers"],)

    def body(self, message: Any) -> Iterable[bytes]:
        """Take a piece of the body, and return the answers that pass it on."""
        body = message.response_body
        self._has_begun = True
        if body.end_of_stream:
            self._close(is_complete=True)
        return given_back("response_body", self._mode, body)

    def trailers(self, _message: Any) -> Iterable[bytes]:
        """Take the trailers, and return the answer."""
        self._close(is_complete=True)
        return (CONTINUE["response_trailers"],)

    def end(self) -> None:
        """Hear that the stream has ended, whichever way."""
        if self._reservation is not None and not self._has_begun:
            self._notices.ended_at_pick()
        self._close(is_complete=self._has_begun and self._mode == _NONE)

    def _close(self, *, is_complete: bool) -> None:
        reservation, self._reservation = self._reservation, None
        if reservation is not None:
            reservation.close(is_complete=is_complete)
