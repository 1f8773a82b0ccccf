"""The command line: ``python -m fake_vllm --port 8000 --slots 8``."""

import argparse
import asyncio
import contextlib
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence

from fake_vllm._server import FakeVllm
from fake_vllm._settings import FakeVllmSettings

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT, let the requests that are here finish, and say what was counted.

    A second signal, or one before the port has opened, ends it at once.

    Args:
        arguments: Those of the command line; None for the process's own.

    Returns:
        The exit code: 0 after a signal, 1 when the address cannot be had. A wrong command line exits with 2.
    """
    parser = _parser()
    given = vars(parser.parse_args(arguments))
    follows_stdin = given.pop("follow_stdin")
    try:
        settings = FakeVllmSettings(**given)
    except (TypeError, ValueError) as error:
        parser.error(str(error))
    try:
        asyncio.run(_serve(settings, follows_stdin=follows_stdin))
    except OSError as error:
        print(f"fake_vllm: cannot listen on {settings.host}:{settings.port}: {error.strerror}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m fake_vllm",
        allow_abbrev=False,
        description="A model server without a model.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    default = FakeVllmSettings()

    def option(name: str, kind: type, text: str) -> None:
        parser.add_argument(f"--{name.replace('_', '-')}", type=kind, default=getattr(default, name), help=text)

    option("host", str, "address to listen on")
    option("port", int, "port to listen on; 0 for a free one")
    option("name", str, "what x-served-by says; host:port unless given")
    option("model", str, "the model that is served")
    option("slots", int, "sequences that run at the same time")
    option("kv_blocks", int, "blocks of the KV cache")
    option("block_tokens", int, "tokens of a block")
    option("max_waiting", int, "sequences that may wait; no limit unless given")
    option("ttft", float, "seconds from the slot to the first token")
    option("tpot", float, "seconds from one token to the next")
    option("jitter", float, "how much both differ from request to request, 0.1 for ten percent")
    option("eos_share", float, "the chance of each token to end its text")
    option("startup_delay", float, "seconds before the port opens")
    option("grace", float, "seconds that requests have to finish after SIGTERM")
    option("seed", int, "where all chances start")
    parser.add_argument("--follow-stdin", action="store_true", help="end, as by SIGTERM, when stdin closes")
    return parser


async def _serve(settings: FakeVllmSettings, *, follows_stdin: bool) -> None:
    server, stop = FakeVllm(settings), asyncio.Event()
    life = asyncio.create_task(_live(server, stop))
    loop = asyncio.get_running_loop()

    def end() -> None:
        if stop.is_set() or not server.is_listening:
            life.cancel()
        stop.set()

    for signal_number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signal_number, end)
    if follows_stdin:
        threading.Thread(target=_watch_stdin, args=(loop, end), daemon=True).start()
    with contextlib.suppress(asyncio.CancelledError):
        await life
    _say(event="stopped", **server.counts())


async def _live(server: FakeVllm, stop: asyncio.Event) -> None:
    async with server:
        _say(event="listening", port=server.port)
        await stop.wait()
        await server.drain()


def _watch_stdin(loop: asyncio.AbstractEventLoop, end: Callable[[], None]) -> None:
    while os.read(0, 4_096):
        pass
    with contextlib.suppress(RuntimeError):  # the loop has closed: it has ended already
        loop.call_soon_threadsafe(end)


def _say(**record: object) -> None:
    with contextlib.suppress(BrokenPipeError):  # whoever started this process may be gone
        os.write(1, json.dumps(record).encode() + b"\n")


if __name__ == "__main__":
    sys.exit(main())
