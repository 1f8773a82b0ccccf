"""Both waves of clients, a process each."""

import asyncio
import json
import sys
from asyncio.subprocess import DEVNULL, PIPE

from examples.demo.clients import Answer

__all__ = ["make_calls"]


async def make_calls(url: str, wave: str) -> list[Answer]:
    """Let the clients make the calls of one wave; returns how each ended."""
    command = [sys.executable, "-m", "examples.demo.clients", "--url", url, "--wave", wave]
    process = await asyncio.create_subprocess_exec(*command, stdin=DEVNULL, stdout=PIPE, start_new_session=True)
    try:
        said, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await asyncio.shield(process.wait())
    return [Answer(**json.loads(line)) for line in said.splitlines()]
