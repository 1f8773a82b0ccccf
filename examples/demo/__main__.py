"""Run the demo: ``python -m examples.demo``. Exits with 1 if anything was lost or a limit broken."""

import asyncio
import sys

import anyio
from rich.console import Console

from examples.demo.settings import TIME_LIMIT
from examples.demo.story import play


async def play_in_time() -> int:
    """Play the story, but not for ever."""
    with anyio.fail_after(TIME_LIMIT):
        return await play(Console())


def main() -> int:
    """Run the demo; returns the exit status."""
    try:
        return asyncio.run(play_in_time())
    except TimeoutError:
        print(f"the demo did not end within {TIME_LIMIT:.0f} s", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped: no process is left behind", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
