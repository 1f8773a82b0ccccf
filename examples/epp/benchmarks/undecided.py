"""Our own external processing server, with a director that has nothing to decide.

What the Endpoint Picker costs beyond this, flow control, director and scheduler cost.
"""

import argparse
import asyncio
import signal

from flowgate_epp.contracts import Inbound, Reservation
from flowgate_epp.extproc import ExtProcServer, ServerSettings

__all__ = ["OnePod", "serve"]


class OnePod:
    """Decides for the same pod at once, and is the slot as well, for it counts none.

    Args:
        endpoint: The pod's, ``ip:port``.
    """

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint

    async def decide(self, inbound: Inbound) -> Reservation:  # noqa: ARG002 - the contract's
        """Say where to."""
        return self

    def responded(self, status: int, served: str | None) -> None:
        """Hear of the response."""

    def close(self, *, is_complete: bool) -> None:
        """Hear of its end."""


async def serve(port: int, endpoint: str) -> None:
    """Serve until SIGTERM or SIGINT."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    server = ExtProcServer(OnePod(endpoint), ServerSettings(host="127.0.0.1", port=port))
    await server.start()
    await server.set_serving(is_serving=True)
    await stop.wait()
    await server.shutdown(0.0)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--pod", required=True)
    given = parser.parse_args()
    asyncio.run(serve(given.port, given.pod))
