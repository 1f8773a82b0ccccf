"""One model server as its starter sees it: a process with a name, a port, and last words."""

import asyncio
import json
import sys
from asyncio.subprocess import PIPE, Process
from typing import Literal

import anyio
import httpx

from examples.demo.settings import LOAD_SECONDS, SLOTS
from flowgate import Pod

__all__ = ["ModelPod"]

READINESS_PERIOD = 0.05
PATIENCE = 5.0


class ModelPod:
    """Starts a model server, waits until it is ready, and stops it by its own process id.

    Args:
        name: The pod's name.
        born: When it was wanted, in seconds of the loop's clock.

    Attributes:
        phase: Where it stands.
        counts: What it counted of itself; None until it has stopped in good order.
        idle_since: Since when nothing is in flight, in seconds of the loop's clock; None while something is.
    """

    def __init__(self, name: str, born: float) -> None:
        self.name = name
        self.born = born
        self.phase: Literal["starting", "ready", "stopping", "stopped"] = "starting"
        self.counts: dict[str, int] | None = None
        self.idle_since: float | None = None
        self.pod: Pod | None = None
        self._process: Process | None = None

    @property
    def has_died(self) -> bool:
        """Whether the process ended although nobody stopped it."""
        return self.phase == "ready" and self._process is not None and self._process.returncode is not None

    async def start(self, http: httpx.AsyncClient) -> Pod:
        """Start the process, and wait until it says that it is ready."""
        command = [sys.executable, "-m", "examples.demo.model_server", "--name", self.name]
        command += ["--slots", str(SLOTS), "--load-seconds", str(LOAD_SECONDS)]
        # In a session of its own, so that Ctrl-C reaches only the demo, which then stops its pods in order.
        self._process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE, start_new_session=True)
        assert self._process.stdout is not None  # noqa: S101 - it is a pipe
        port = int(await self._process.stdout.readline())
        self.pod = Pod(self.name, "127.0.0.1", port)
        while (await http.get(f"http://{self.pod.endpoint}/ready")).status_code != httpx.codes.OK:  # noqa: ASYNC110
            await anyio.sleep(READINESS_PERIOD)
        return self.pod

    async def stop(self) -> None:
        """End the process and hear its last words; one that does not listen is killed."""
        process = self._process
        if process is not None:
            with anyio.move_on_after(PATIENCE):
                if process.returncode is None:
                    process.terminate()
                said, _ = await process.communicate()
                self.counts = json.loads(said) if said.startswith(b"{") else None
            if process.returncode is None:
                process.kill()
                await process.wait()
        self.phase = "stopped"
