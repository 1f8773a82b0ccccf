"""A model server: a process that takes seconds to be ready, and then serves few requests at a time.

It knows nothing of flowgate. It counts its requests in flight on its own, so that its last words can be held against
the gateway's accounting. Its first line on stdout is its port, its last one its counts. It ends on SIGTERM, and when
its stdin closes: it never outlives whoever started it.
"""

import argparse
import os
import random
import signal
import threading
import time

import anyio
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from examples.demo.last_words import say
from examples.demo.serving import LoopbackServer, listen
from examples.demo.settings import SERVICE_SECONDS

__all__ = ["ModelServer", "main"]

WORDS = (b"from ", b"zero ", b"and ", b"back\n")


class ModelServer:
    """Pretends to generate: an ASGI app that keeps a slot busy for a while, and streams a few words.

    Args:
        name: The pod's name.
        slots: Requests that it can serve at the same time; it refuses more.
        load_seconds: Time from now until it is ready.

    Attributes:
        served: Requests answered in full.
        refused: Requests refused because all slots were taken.
        most_in_flight: Most requests at the same time, the refused included.
    """

    def __init__(self, name: str, slots: int, load_seconds: float) -> None:
        self._name = name
        self._slots = slots
        self._ready_at = time.monotonic() + load_seconds
        self._in_flight = 0
        self.served = 0
        self.refused = 0
        self.most_in_flight = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer ``/ready``, or generate."""
        if scope["path"] == "/ready":
            is_ready = time.monotonic() >= self._ready_at
            await PlainTextResponse("ready\n" if is_ready else "loading\n", 200 if is_ready else 503)(
                scope, receive, send
            )
            return
        self._in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self._in_flight)
        try:
            if self._in_flight > self._slots:
                self.refused += 1
                await PlainTextResponse("all slots are taken\n", 503)(scope, receive, send)
                return
            await self._generate(scope, send)
            self.served += 1
        finally:
            self._in_flight -= 1
        # Only now does the client learn that it is done: the next request must find the slot free.
        await send({"type": "http.response.body", "body": b""})

    async def _generate(self, scope: Scope, send: Send) -> None:
        request_id = dict(scope["headers"]).get(b"x-request-id", b"")
        headers = [(b"content-type", b"text/plain"), (b"x-pod", self._name.encode()), (b"x-request-id", request_id)]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        seconds = random.uniform(*SERVICE_SECONDS)
        for word in WORDS:
            await anyio.sleep(seconds / len(WORDS))
            await send({"type": "http.response.body", "body": word, "more_body": True})

    def counts(self) -> dict[str, int]:
        """Return what it counted, for its last words."""
        return {"served": self.served, "refused": self.refused, "most_in_flight": self.most_in_flight}


def main() -> None:
    """Serve until SIGTERM, or until stdin closes."""
    parser = argparse.ArgumentParser(description="a model server of the flowgate demo")
    parser.add_argument("--name", required=True)
    parser.add_argument("--slots", type=int, required=True)
    parser.add_argument("--load-seconds", type=float, required=True)
    options = parser.parse_args()

    model = ModelServer(options.name, options.slots, options.load_seconds)
    server = LoopbackServer(model)

    def stop(*_: object) -> None:
        server.should_exit = True

    def stop_with_the_parent() -> None:
        os.read(0, 1)  # nobody writes: it returns when the other end is gone
        stop()

    signal.signal(signal.SIGTERM, stop)
    threading.Thread(target=stop_with_the_parent, daemon=True).start()
    with listen() as listener:
        print(listener.getsockname()[1], flush=True)
        server.run([listener])
    say([model.counts()])


if __name__ == "__main__":
    main()
