"""One model server as its starter sees it: a process with a name, a place, and last words."""

import json
from typing import Any, Literal

from examples.demo.settings import FIRST_TOKEN, LOAD_SECONDS, MODEL, NEXT_TOKEN, SLOTS
from examples.stage import ModelServer, Stage

__all__ = ["ModelPod"]


class ModelPod:
    """Starts a model server, waits until it is ready, and stops it.

    Args:
        name: The pod's name.
        born: When it was wanted, in seconds of the loop's clock.

    Attributes:
        phase: Where it stands.
        server: The process, once it is ready.
        counts: What it counted of itself; None until it has stopped in good order.
        idle_since: Since when nothing is in flight, in seconds of the loop's clock; None while something is.
    """

    def __init__(self, name: str, born: float) -> None:
        self.name = name
        self.born = born
        self.phase: Literal["starting", "ready", "stopping", "stopped"] = "starting"
        self.server: ModelServer | None = None
        self.counts: dict[str, int] | None = None
        self.idle_since: float | None = None

    async def start(self, stage: Stage) -> ModelServer:
        """Start the process, and wait until its model is loaded.

        Raises:
            StartError: It has ended before that.
        """
        options = {"model": MODEL, "slots": SLOTS, "ttft": FIRST_TOKEN, "tpot": NEXT_TOKEN, "jitter": 0.2}
        options |= {"name": self.name, "startup-delay": LOAD_SECONDS, "seed": self.name.removeprefix("pod-")}
        words = (word for name, value in options.items() for word in (f"--{name}", str(value)))
        self.server = await stage.start_model_server(self.name, *words)
        self.phase = "ready"
        return self.server

    async def stop(self) -> None:
        """End the process, and hear its last words."""
        if self.server is not None:
            await self.server.process.stop()
            self.counts = last_words(self.server.process.said())
        self.phase = "stopped"


def last_words(lines: list[str]) -> dict[str, int] | None:
    """Return what a model server counted; None if it did not come to say so."""
    for line in reversed(lines):
        if line.startswith("{"):
            told: dict[str, Any] = json.loads(line)
            return told if told.pop("event") == "stopped" else None
    return None
