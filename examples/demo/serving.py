"""One way to serve an ASGI app on a free port of the loopback interface."""

import contextlib
import socket
from collections.abc import AsyncIterator, Iterator

import anyio
import uvicorn
from starlette.types import ASGIApp

__all__ = ["LoopbackServer", "listen", "serving"]


class LoopbackServer(uvicorn.Server):
    """A quiet uvicorn server that leaves signals to whoever runs it."""

    def __init__(self, app: ASGIApp) -> None:
        super().__init__(uvicorn.Config(app, http="h11", ws="none", lifespan="off", log_level="critical"))

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


def listen() -> socket.socket:
    """Open a listening socket on a free port; connections queue from now on."""
    return socket.create_server(("127.0.0.1", 0), backlog=1_024)


@contextlib.asynccontextmanager
async def serving(app: ASGIApp) -> AsyncIterator[str]:
    """Serve an app while the context lasts; gives its URL."""
    server = LoopbackServer(app)
    with listen() as listener:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(server.serve, [listener])
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
            server.should_exit = True
