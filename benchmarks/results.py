"""What a run gave, as a record and as a JSON file that a later run is compared with."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from benchmarks.machine import Machine
from benchmarks.rounds import Figure, Spread

__all__ = ["Results", "ResultsError", "SuiteResult", "read", "write"]

_SCHEMA = "flowgate benchmarks"
_VERSION = 1


class ResultsError(Exception):
    """Raised when a file does not hold the results of a run; its text is one sentence."""


@attrs.frozen
class SuiteResult:
    """What one suite gave.

    Args:
        name: Of the suite.
        seconds: By the clock, that it took.
        figures: In the order in which they were measured.
    """

    name: str
    seconds: float
    figures: tuple[Figure, ...]


@attrs.frozen
class Results:
    """What a run gave.

    Args:
        machine: On which, and when.
        sizes: ``full`` or ``quick``.
        suites: In the order in which they ran.
    """

    machine: Machine
    sizes: str
    suites: tuple[SuiteResult, ...]

    def figures_of(self, suite: str) -> tuple[Figure, ...]:
        """Return the figures of one suite; none if it did not run."""
        return next((result.figures for result in self.suites if result.name == suite), ())


def write(results: Results, file: Path) -> None:
    """Write them as JSON."""
    plain = {"schema": _SCHEMA, "version": _VERSION, **attrs.asdict(results)}
    file.write_text(json.dumps(plain, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def read(file: Path) -> Results:
    """Read what `write` wrote.

    Raises:
        ResultsError: There is no such file, or it holds something else.
    """
    try:
        plain = json.loads(file.read_text("utf-8"))
    except OSError as error:
        raise ResultsError(f"{file} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise ResultsError(f"{file} is not JSON.") from error
    if not isinstance(plain, dict) or plain.get("schema") != _SCHEMA:
        raise ResultsError(f"{file} was not written by `python -m benchmarks --json`.")
    if plain.get("version") != _VERSION:
        raise ResultsError(f"{file} has version {plain.get('version')!r} of the schema, and this is {_VERSION}.")
    try:
        return _results(plain)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ResultsError(f"{file} lacks something, or has too much: {error}.") from error


def _results(plain: Mapping[str, Any]) -> Results:
    suites = (
        SuiteResult(suite["name"], float(suite["seconds"]), tuple(map(_figure, suite["figures"])))
        for suite in plain["suites"]
    )
    return Results(Machine(**plain["machine"]), plain["sizes"], tuple(suites))


def _figure(plain: Mapping[str, Any]) -> Figure:
    spreads = {name: None if plain[name] is None else Spread(**plain[name]) for name in ("spent", "ratio", "wall")}
    return Figure(**{**plain, **spreads})
