"""How the demo ends, whichever way: each process is stopped, and one plain sentence says why."""

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable

from examples.demo.watching import EarlyEnd
from examples.stage import StartError

__all__ = ["run"]

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
FAILED, INTERRUPTED = 1, 130


def run(play: Callable[[], Awaitable[int]]) -> int:
    """Run a play to its end, or to the first signal; returns the exit status.

    Args:
        play: Gives the exit status; stops whatever it started when it is cancelled.
    """
    try:
        return asyncio.run(until_told(play))
    except* (EarlyEnd, StartError, TimeoutError) as errors:
        for error in each(errors):
            print(error, file=sys.stderr)
    except* BrokenPipeError:  # whoever read our output has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return FAILED


async def until_told(play: Callable[[], Awaitable[int]]) -> int:
    """Play, and cancel that on a signal; a second signal changes nothing, for the end is near."""
    playing = asyncio.ensure_future(play())
    was_told = asyncio.Event()

    def stop() -> None:
        if not was_told.is_set():
            was_told.set()
            playing.cancel()

    loop = asyncio.get_running_loop()
    for number in SIGNALS:
        loop.add_signal_handler(number, stop)
    await asyncio.wait({playing})
    if not was_told.is_set():
        return playing.result()
    if not playing.cancelled():
        playing.exception()  # what goes wrong while everything ends is of no interest
    print("stopped: no process is left behind", file=sys.stderr)
    return INTERRUPTED


def each(errors: BaseExceptionGroup[Exception]) -> list[Exception]:
    """Return the errors of a group, and of the groups in it."""
    found: list[Exception] = []
    for error in errors.exceptions:
        found += each(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found
