"""A controller that a file describes."""

from pathlib import Path

import anyio

from flowgate import FlowController, Request
from flowgate.configfile import load_settings

FILE = Path(__file__).with_name("small.toml")


async def serve(controller: FlowController) -> None:
    async with controller.admitted(Request("tenant-a", priority=10)) as ticket:
        print("send it to one of", [pod.endpoint for pod in ticket.candidates])


async def main(path: Path) -> None:
    """Read the file, and serve one request."""
    async with load_settings(path).new_controller() as controller:
        await serve(controller)


if __name__ == "__main__":
    anyio.run(main, FILE)
