"""``flowgate check FILE``: whether a configuration file is right, and what it means."""

import argparse
from typing import cast

from flowgate.commands._outcome import CommandError, Commands
from flowgate.configfile import ConfigError, explain, explain_error, load_settings

__all__ = ["add_check"]


def add_check(commands: Commands) -> None:
    """Add the command."""
    check = commands.add_parser(
        "check",
        help="check a configuration file, and say what it means",
        description="Check a configuration file, and say what it means. Exits with 1 when the file is wrong.",
    )
    check.add_argument("file", metavar="FILE", help="a .toml, .yaml or .yml file")
    check.set_defaults(run=_run)


def _run(given: argparse.Namespace) -> str:
    try:
        settings = load_settings(cast("str", given.file))
    except ConfigError as error:
        raise CommandError(explain_error(error), code=1) from error
    return f"{given.file} is fine. This is what it means.\n\n{explain(settings)}"
