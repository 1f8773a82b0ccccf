"""``flowgate version``: what is installed here."""

import argparse
import platform
from importlib.metadata import version

from flowgate.commands._outcome import Commands

__all__ = ["add_version", "version_line"]

_PARTS = ("anyio", "attrs", "sortedcontainers", "typing-extensions")


def add_version(commands: Commands) -> None:
    """Add the command."""
    told = commands.add_parser(
        "version",
        help="print the version, and what it runs on",
        description="Print the version of flowgate, of Python, and of the packages that flowgate needs.",
    )
    told.set_defaults(run=_run)


def version_line() -> str:
    """Return the name and version."""
    return f"flowgate {version('flowgate-admission')}"


def _run(_given: argparse.Namespace) -> str:
    parts = [f"{name} {version(name)}" for name in _PARTS]
    return "\n".join([version_line(), f"{platform.python_implementation()} {platform.python_version()}", *parts])
