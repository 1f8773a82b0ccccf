"""Watching processes that are to live until they are stopped."""

from examples.stage import Spawned

__all__ = ["EarlyEnd", "must_live", "tail"]

TAIL = 15


class EarlyEnd(Exception):  # noqa: N818 - told as a sentence, not as an error
    """Raised when a process ends that nobody has stopped; tells the last lines of its log."""


async def must_live(process: Spawned) -> None:
    """Watch a process until cancelled.

    Raises:
        EarlyEnd: It has ended.
    """
    code = await process.wait()
    raise EarlyEnd(f"{process.name} has ended, with {code}, and nobody stopped it. Its last words:\n{tail(process)}")


def tail(process: Spawned) -> str:
    """Return the last lines of a process's log."""
    return "\n".join(f"  {line}" for line in process.said()[-TAIL:])
