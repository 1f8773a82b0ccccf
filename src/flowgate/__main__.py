"""The command line: ``flowgate check FILE``, or ``python -m flowgate check FILE``."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import TextIO, cast

from flowgate.configfile import ConfigError, explain, explain_error, load_settings

__all__ = ["main"]

_Outcome = tuple[int, str]
"""The exit code, and what is said: on stdout where the code is 0, else on stderr."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: Those of the command line; None for the process's own.

    Returns:
        The exit code: 0 when all is well, 1 when the file is wrong, 2 when the output cannot be written. A wrong
        command line exits with 2. A reader that has heard enough, such as ``head``, changes nothing.
    """
    given = _parser().parse_args(arguments)
    run = cast("Callable[[argparse.Namespace], _Outcome]", given.run)
    code, text = run(given)
    stream = sys.stderr if code else sys.stdout
    try:
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
    parser = argparse.ArgumentParser(prog="flowgate", description="Admission control for Python gateways.")
    parser.add_argument("--version", action="version", version=_version_line(), help="print the version")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    check = commands.add_parser(
        "check",
        help="check a configuration file, and say what it means",
        description="Check a configuration file, and say what it means. Exits with 1 when the file is wrong.",
    )
    check.add_argument("file", metavar="FILE", help="a .toml, .yaml or .yml file")
    check.set_defaults(run=_check)
    told = commands.add_parser("version", help="print the version", description="Print the version.")
    told.set_defaults(run=_version)
    return parser


def _check(given: argparse.Namespace) -> _Outcome:
    try:
        settings = load_settings(cast("str", given.file))
    except ConfigError as error:
        return 1, explain_error(error)
    return 0, f"{given.file} is fine. This is what it means.\n\n{explain(settings)}"


def _version(_given: argparse.Namespace) -> _Outcome:
    return 0, _version_line()


def _version_line() -> str:
    return f"flowgate {version('flowgate-admission')}"


if __name__ == "__main__":
    sys.exit(main())
