"""What is wrong with a file, and where."""

import re
from collections.abc import Sequence
from typing import Final

import attrs

__all__ = ["INVALID", "ConfigError", "Place", "Problem"]

INVALID: Final = object()
"""Stands for a value that could not be read, once its problem is noted."""


@attrs.frozen
class Problem:
    """One mistake in a configuration.

    Args:
        path: Where it is, such as ``bands[1].fairness.quantum``; empty for the file as a whole.
        message: The value, and what was expected instead.
    """

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


class ConfigError(ValueError):
    """Raised when a configuration cannot be read or is wrong; it tells all problems at once.

    Attributes:
        source: The file's path, or ``"configuration"`` for a mapping.
        problems: What is wrong, in the order of the file's tables.
    """

    def __init__(self, source: str, problems: Sequence[Problem]) -> None:
        super().__init__(source, tuple(problems))
        self.source: str = source
        self.problems: tuple[Problem, ...] = tuple(problems)

    def __str__(self) -> str:
        if len(self.problems) == 1:
            return f"{self.source}: {self.problems[0]}"
        return "\n  ".join([f"{self.source} has {len(self.problems)} problems:", *map(str, self.problems)])


@attrs.frozen
class Place:
    """A place in a configuration, where problems are noted.

    Args:
        path: Its path.
        problems: What was found so far, shared by all places of one configuration.
        is_yaml: Whether the file is YAML, which writes some numbers in its own way.
    """

    path: str = ""
    problems: list[Problem] = attrs.field(factory=list[Problem])
    is_yaml: bool = False

    @property
    def noun(self) -> str:
        """The last key of the path, as a sentence has it."""
        return re.sub(r"(\[\d+\])+$", "", self.path).rpartition(".")[2].replace("_", " ")

    def key(self, key: object) -> "Place":
        """Return the place of a key of the table that is here."""
        name = str(key) if re.fullmatch(r"[\w-]+", str(key)) else f'"{key}"'
        return attrs.evolve(self, path=f"{self.path}.{name}" if self.path else name)

    def item(self, index: int) -> "Place":
        """Return the place of an item of the list that is here, counted from 0."""
        return attrs.evolve(self, path=f"{self.path}[{index}]")

    def trial(self) -> "Place":
        """Return the same place, with problems of its own."""
        return Place(self.path, is_yaml=self.is_yaml)

    def refuse(self, message: str) -> object:
        """Note a problem here, and return `INVALID`."""
        self.problems.append(Problem(self.path, message))
        return INVALID
