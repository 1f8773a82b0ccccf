"""Other programs, run to their end."""

import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

__all__ = ["BuildError", "run"]

_TAIL = 20


class BuildError(Exception):
    """Raised when something cannot be had; tells which command failed, and its last words."""


def run(command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> str:
    """Run a command in a folder, say so on stderr, and return what it prints.

    Args:
        command: The program and its arguments.
        folder: Where.
        environment: All variables that it sees.

    Raises:
        BuildError: It is not there, or has failed.
    """
    print("+", *command, file=sys.stderr, flush=True)
    try:
        ended = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    except OSError as error:
        raise BuildError(f"{command[0]} cannot be run: {error}") from None
    if ended.returncode != 0:
        words = "\n".join((ended.stdout + ended.stderr).splitlines()[-_TAIL:])
        raise BuildError(f"{' '.join(command)} ended with {ended.returncode}:\n{words}")
    return ended.stdout
