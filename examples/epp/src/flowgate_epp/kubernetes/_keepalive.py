"""Notice of hosts that have gone without a word."""

import contextlib
import socket

import aiohttp

__all__ = ["keep_alive"]

# The system asks after so many seconds of silence, and every so many again; and gives up after so many unanswered.
_IDLE = 15
_INTERVAL = 5
_PROBES = 3
_MILLISECONDS = 1000
_OPTIONS = (
    ("TCP_KEEPIDLE", _IDLE),
    ("TCP_KEEPINTVL", _INTERVAL),
    ("TCP_KEEPCNT", _PROBES),
    ("TCP_USER_TIMEOUT", (_IDLE + _INTERVAL * _PROBES) * _MILLISECONDS),
)


def keep_alive(response: aiohttp.ClientResponse) -> None:
    """Let the system break the connection of a response when the other host has not answered for 30 s.

    A connection that has ended already is left alone: whoever reads the response will notice.
    """
    connection = response.connection
    if connection is None or connection.transport is None:
        return
    own = connection.transport.get_extra_info("socket")
    if own is None:  # TLS forgets it one turn of the loop before the response hears of the end
        return
    with contextlib.suppress(OSError):
        own.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _OPTIONS:
            if hasattr(socket, name):  # not every system knows each
                own.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
