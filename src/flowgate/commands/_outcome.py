"""What a command ends with: text for stdout, or a sentence for stderr and an exit code."""

import argparse
from collections.abc import Callable
from typing import TypeAlias

__all__ = ["CommandError", "Commands", "Run"]

Run = Callable[[argparse.Namespace], str]
"""A command: it answers with what is to be printed, or raises a `CommandError`."""

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # pyright: ignore[reportPrivateUsage] - argparse gives it no other name


class CommandError(Exception):
    """Raised when a command cannot do what it was asked; the message says what to do, in a sentence.

    Attributes:
        code: The exit code: 1 where the answer is no, 2 where there is none.
    """

    def __init__(self, message: str, code: int = 2) -> None:
        super().__init__(message)
        self.code = code
