import asyncio
import inspect
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

# The stage is no part of the installed package: it is beside it, in the checkout.
ROOT = str(Path(__file__).parents[4])
if ROOT not in sys.path:
    sys.path.append(ROOT)

from examples.stage.kubernetes import FakeApiServer  # noqa: E402 - what is above must come first
from flowgate_epp.kubernetes import ApiClient, ClusterSettings  # noqa: E402 - what is above must come first

DEADLINE = 30.0


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture
async def cluster(anyio_backend, tmp_path):
    """An API server: the fake one, or a real one where FLOWGATE_KUBERNETES names a folder with its programs."""
    binaries = os.environ.get("FLOWGATE_KUBERNETES")
    if not binaries:
        async with FakeApiServer() as server:
            yield server
        return
    from examples.stage.kubernetes._real import RealCluster  # noqa: PLC0415 - only where there is one

    async with RealCluster(Path(binaries), tmp_path / "cluster") as real:
        yield real


@pytest.fixture
async def client(cluster, tmp_path):
    path = tmp_path / "kubeconfig"
    cluster.write_kubeconfig(path)
    async with ApiClient(ClusterSettings(kubeconfig=str(path), max_pause=0.2, silence=20.0)) as client:
        yield client


@pytest.fixture
def until():
    """Wait, with a deadline, until a condition holds; what it says when it never does is the condition's source."""

    async def until(condition: Callable[[], Any], deadline: float = DEADLINE) -> None:
        async with asyncio.timeout(deadline):
            while not (value := condition()) and not (inspect.isawaitable(value) and await value):
                await asyncio.sleep(0.005)

    return until


@pytest.fixture
def compact():
    """Let the server forget all versions but the newest, be it the fake or a real one."""

    async def compact(server: Any) -> None:
        told = server.compact()
        if inspect.isawaitable(told):
            await told

    return compact


Answer = Callable[[str, asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture
def raw_server() -> Callable[[Answer], AbstractAsyncContextManager[str]]:
    """Serve whatever a test says, over bare sockets: it gets each request's head, and writes what it likes."""

    @asynccontextmanager
    async def serve(answer: Answer) -> AsyncIterator[str]:
        tasks: set[asyncio.Task[Any]] = set()

        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            tasks.add(asyncio.current_task())
            with suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
                while True:
                    await answer((await reader.readuntil(b"\r\n\r\n")).decode(), writer)
                    await writer.drain()
                    if writer.is_closing():
                        break
            writer.close()

        async with AsyncExitStack() as parts:
            server = await asyncio.start_server(talk, "127.0.0.1", 0)
            parts.callback(server.close)
            try:
                yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    return serve


@pytest.fixture
def settings_for(tmp_path):
    """Make settings for an URL, with a token where one is wanted."""

    def settings_for(url: str, token: str | None = None, **told: Any) -> ClusterSettings:
        path = tmp_path / "kubeconfig-for"
        user = "" if token is None else f"token: {token}"
        path.write_text(
            f"""
current-context: c
contexts: [{{name: c, context: {{cluster: c, user: u, namespace: space}}}}]
clusters: [{{name: c, cluster: {{server: "{url}"}}}}]
users: [{{name: u, user: {{{user}}}}}]
"""
        )
        return ClusterSettings(kubeconfig=str(path), **{"max_pause": 0.05, **told})

    return settings_for
