"""Changes in a directory."""

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path

import watchfiles

from flowgate_epp.pods._outage import Outage

__all__ = ["directory_changes"]

_logger = logging.getLogger("flowgate_epp.pods")

# Milliseconds: how long a burst of changes is gathered, and how quiet it must be to count as over.
_LONGEST_BURST = 50
_QUIET = 10


async def directory_changes(directory: Path, poll_interval: float) -> AsyncGenerator[None, None]:
    """Yield at first, and then whenever something in a directory may have changed.

    What changes after it has yielded is yielded again, some 20 ms later, also while the caller is busy. A directory
    that cannot be watched is logged once for each outage; then, and also where none of that is needed, it yields every
    `poll_interval`. One that is replaced, or comes late, is watched from the next poll on.

    Args:
        directory: The directory; not those below it.
        poll_interval: In seconds.
    """
    outage = Outage(_logger, f"changes in {directory}", f"it is looked at every {poll_interval:g} s instead")
    while True:
        identity = _identity(directory)
        try:
            async with aclosing(_watch(directory, poll_interval)) as changes:
                async for _ in changes:
                    outage.recover()
                    yield
                    if _identity(directory) != identity:
                        break
        except (OSError, RuntimeError) as error:  # that there is none, or no watches are left
            outage.fail(str(error))
            yield
            await asyncio.sleep(poll_interval)


async def _watch(directory: Path, poll_interval: float) -> AsyncGenerator[None, None]:
    events = watchfiles.awatch(
        directory,
        watch_filter=None,
        debounce=_LONGEST_BURST,
        step=_QUIET,
        rust_timeout=max(1, int(1000 * poll_interval)),
        yield_on_timeout=True,
        recursive=False,
    )
    # A task of its own: the watch stands before the caller looks for the first time.
    event = asyncio.ensure_future(anext(events))
    await asyncio.sleep(0)
    try:
        if event.done():
            await event
        while True:
            yield
            await event
            event = asyncio.ensure_future(anext(events))
    finally:
        event.cancel()
        await asyncio.wait([event])


def _identity(directory: Path) -> tuple[int, int] | None:
    try:
        found = directory.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
