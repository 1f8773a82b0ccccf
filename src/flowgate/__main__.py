"""The command line: ``flowgate check FILE``, or ``python -m flowgate check FILE``."""

import argparse
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import cast

from flowgate.configfile import ConfigError, load_settings
from flowgate.configfile._report import explain, explain_error

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: Those of the command line; None for the process's own.

    Returns:
        The exit code: 0 when all is well, 1 when the file is wrong. A wrong command line exits with 2.
    """
    given = _parser().parse_args(arguments)
    run = cast("Callable[[argparse.Namespace], int]", given.run)
    return run(given)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="flowgate", description="Admission control for Python gateways.")
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


def _check(given: argparse.Namespace) -> int:
    try:
        settings = load_settings(cast("str", given.file))
    except ConfigError as error:
        print(explain_error(error), file=sys.stderr)
        return 1
    print(f"{given.file} is fine. This is what it means.\n\n{explain(settings)}")
    return 0


def _version(_given: argparse.Namespace) -> int:
    print(f"flowgate {version('flowgate-admission')}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
