"""One process: started, watched, and ended by its own id."""

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Self

__all__ = ["Spawned", "StartError", "free_port", "wait_until"]

_PERIOD = 0.01
_GRACE = 10.0
_TAIL = 30


class StartError(Exception):
    """Raised when a process ends, or says nothing, before it is ready; tells the last lines of its log."""


def free_port() -> int:
    """Return a TCP port of loopback that nobody listens at now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def wait_until(is_so: Callable[[], Awaitable[bool] | bool], seconds: float, what: str) -> None:
    """Look again and again until something is so.

    Raises:
        TimeoutError: It is not so in time.
    """
    deadline = asyncio.get_running_loop().time() + seconds
    while True:
        found = is_so()
        if found if isinstance(found, bool) else await found:
            return
        if asyncio.get_running_loop().time() > deadline:
            raise TimeoutError(f"{what}: not within {seconds:g} s")
        await asyncio.sleep(_PERIOD)


class Spawned:
    """A process whose output goes to a file.

    Attributes:
        name: What it is called.
        log: The file with all that it has said, stdout and stderr.
    """

    def __init__(self, name: str, process: asyncio.subprocess.Process, log: Path) -> None:
        self.name = name
        self.log = log
        self._process = process

    @classmethod
    async def start(
        cls, name: str, command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None
    ) -> Self:
        """Start a process; it does not hear the signals of our terminal.

        Args:
            name: What it is called.
            command: The program and its arguments.
            log: Where what it says is appended.
            environment: Variables beside our own.
        """
        with log.open("ab") as output:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                env={**os.environ, **(environment or {})},
            )
        return cls(name, process, log)

    @property
    def pid(self) -> int:
        """Its id."""
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """How it ended; None while it runs."""
        return self._process.returncode

    def said(self) -> list[str]:
        """Return the lines of its log."""
        return self.log.read_text("utf-8", "replace").splitlines()

    async def ready(self, is_ready: Callable[[], Awaitable[bool] | bool], seconds: float = 30.0) -> None:
        """Wait until it is ready.

        Raises:
            StartError: It has ended, or is not ready in time.
        """

        async def look() -> bool:
            if self.returncode is not None:
                raise StartError(f"{self.name} ended with {self.returncode}:\n{self.tail()}")
            found = is_ready()
            return found if isinstance(found, bool) else await found

        try:
            await wait_until(look, seconds, f"{self.name} is ready")
        except TimeoutError as error:
            raise StartError(f"{error}:\n{self.tail()}") from None

    def tail(self) -> str:
        """Return the last lines of its log."""
        return "\n".join(self.said()[-_TAIL:])

    def terminate(self) -> None:
        """Ask it to end."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once."""
        self._signal(signal.SIGKILL)

    async def wait(self) -> int:
        """Wait for its end; returns how it ended."""
        return await self._process.wait()

    async def stop(self, grace: float = _GRACE) -> int:
        """End it, the hard way if it takes longer than `grace` seconds; returns how it ended."""
        self.terminate()
        try:
            async with asyncio.timeout(grace):
                return await self.wait()
        except TimeoutError:
            self.kill()
            return await self.wait()

    def _signal(self, number: signal.Signals) -> None:
        if self.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)
