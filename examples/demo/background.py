"""Work that goes on while something else is done."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine

__all__ = ["running"]


@contextlib.asynccontextmanager
async def running(*work: Coroutine[object, object, None]) -> AsyncIterator[None]:
    """Run all of it while the context lasts, and cancel it then; if any of it fails, the context is cancelled.

    Raises:
        ExceptionGroup: What has failed.
    """
    async with asyncio.TaskGroup() as tasks:
        started = [tasks.create_task(each) for each in work]
        yield
        for task in started:
            task.cancel()
