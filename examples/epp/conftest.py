"""What all tests of the package share."""

import asyncio
from collections.abc import Iterator
from typing import Any

# Imported by its pytest plug-in at the end of a run, it would find a collector that a test of the program has frozen.
import hypothesis  # noqa: F401
import pytest


@pytest.fixture(scope="session", autouse=True)
def closed_loops_hear_nothing() -> Iterator[None]:
    """Let a loop that is closed ignore late news, instead of raising `RuntimeError` in the next test's loop.

    grpc.aio has one poller for the whole process. It reports the end of a call to the loop that began it, from within
    whichever loop runs by then. A program has one loop, and tests have many.
    """
    hear = asyncio.BaseEventLoop.call_soon_threadsafe

    def hear_while_open(loop: Any, callback: Any, *args: Any, context: Any = None) -> asyncio.Handle:
        if loop.is_closed() and "grpc" in (getattr(callback, "__module__", None) or ""):
            return asyncio.Handle(callback, args, loop)  # which nobody runs
        return hear(loop, callback, *args, context=context)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(asyncio.BaseEventLoop, "call_soon_threadsafe", hear_while_open)
        yield
