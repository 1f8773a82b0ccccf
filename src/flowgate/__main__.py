"""The command line: ``flowgate COMMAND``, or ``python -m flowgate COMMAND``."""

import argparse
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, TextIO, cast

from flowgate.commands import CommandError, add_check, add_explain, add_top, add_version, version_line

if TYPE_CHECKING:
    from flowgate.commands._outcome import Run

__all__ = ["main"]

_EPILOG = """\
exit codes:
  0  all is well
  1  the file is wrong, or the request is not known
  2  the command line is wrong, nobody answers, or the output cannot be written
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: Those of the command line; None for the process's own.

    Returns:
        The exit code: 0 when all is well, 1 when the file is wrong or the request is not known, 2 when nobody answers
        or the output cannot be written. A wrong command line exits with 2. A reader that has heard enough, such as
        ``head``, changes nothing.
    """
    given = _parser().parse_args(arguments)
    run = cast("Run", given.run)
    code, stream = 0, sys.stdout
    try:
        try:
            text = run(given)
        except CommandError as error:
            code, stream, text = error.code, sys.stderr, str(error)
        if text:
            print(text, file=stream, flush=True)
    except BrokenPipeError:
        _discard(stream)
    except OSError as error:
        _discard(stream)
        print(f"flowgate: the output cannot be written: {error.strerror}", file=sys.stderr)
        return 2
    return code


def _discard(stream: TextIO) -> None:
    """Let what a stream still holds go nowhere, or Python would fail once more when it closes the stream."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="flowgate",
        description="Admission control for Python gateways.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=version_line(), help="print the version")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for add in add_check, add_explain, add_top, add_version:
        add(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
