"""What went wrong in somebody's plug-in: counted, and logged once."""

import logging
from collections import Counter

__all__ = ["Faults"]


class Faults:
    """Failures of plug-ins, which harm no request.

    Args:
        logger: The name of the log that hears of each plug-in's first failure.

    Attributes:
        counts: Failures so far, by the plug-in's kind and name.
    """

    def __init__(self, logger: str) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()
        self._log = logging.getLogger(logger)
        self._told: set[tuple[str, str]] = set()

    @property
    def count(self) -> int:
        """Failures so far."""
        return self.counts.total()

    def note(self, kind: str, plugin: object, problem: BaseException | str) -> None:
        """Count a failure, and log it where it is this plug-in's first of its type.

        Args:
            kind: What the plug-in is: ``"scorer"``, say.
            plugin: The plug-in; known by its `name`, else by its type's.
            problem: What it raised, or a sentence on what was wrong with its answer.
        """
        name = str(getattr(plugin, "name", None) or getattr(plugin, "__qualname__", None) or type(plugin).__name__)
        self.counts[kind, name] += 1
        about = f"{kind} {name}"
        which = about, problem if isinstance(problem, str) else type(problem).__name__
        if which in self._told:
            return
        self._told.add(which)
        if isinstance(problem, str):
            self._log.error("the %s %s; further times are only counted", about, problem)
        else:
            self._log.error("the %s failed: %r; further times are only counted", about, problem, exc_info=problem)
