"""The response to one HTTP request: how it is going, and what it is when the request does not go on."""

from collections.abc import Callable

from flowgate import FlowControlError
from flowgate.admission import http_response
from flowgate.contracts import ReleaseResult
from flowgate_asgi._types import Message, Send

__all__ = ["Response", "refuse"]

_BAD_GATEWAY = frozenset({502, 503, 504})


class Response:
    """Passes a response on to the server, and notices when it has ended.

    Args:
        send: The server's.
    """

    def __init__(self, send: Send) -> None:
        self._send = send
        self._at_end: Callable[[ReleaseResult], None] | None = None
        self._status = 200
        self.has_ended = False

    def call_at_end(self, callback: Callable[[ReleaseResult], None]) -> None:
        """Call this when the last byte is sent, with how the request fared: a bad gateway is the pod's fault."""
        self._at_end = callback

    async def send(self, message: Message) -> None:
        """Send one message: ASGI's `send`."""
        if message["type"] == "http.response.start":
            self._status = message["status"]
        self.has_ended = message["type"] == "http.response.body" and not message.get("more_body", False)
        try:
            await self._send(message)
        except OSError:
            self._end("ignored")  # the client is gone, by no fault of the pod
            raise
        if self.has_ended:
            self._end("dropped" if self._status in _BAD_GATEWAY else "ok")

    def _end(self, result: ReleaseResult) -> None:
        if self._at_end is not None:
            self._at_end(result)


async def refuse(response: Response, why: FlowControlError | int, text: str = "") -> None:
    """Answer for the application, with plain text.

    Args:
        response: Nothing of it is sent yet.
        why: The error that ended the wait, or a status.
        text: What to say; the error speaks for itself.
    """
    body = (text or str(why)).encode() + b"\n"
    headers = {"content-type": "text/plain; charset=utf-8", "content-length": str(len(body))}
    status = why if isinstance(why, int) else http_response(why).status
    if isinstance(why, FlowControlError):
        headers.update(http_response(why).headers)
    raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    await response.send({"type": "http.response.start", "status": status, "headers": raw})
    await response.send({"type": "http.response.body", "body": body})
