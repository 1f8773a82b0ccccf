"""The books: each decision, in the order in which it was made."""

import asyncio
from collections import Counter
from collections.abc import Callable

from examples.demo.decisions import Decision, DecisionLog

__all__ = ["Ledger"]

PERIOD = 0.05


class Ledger:
    """Keeps the decisions, and counts them.

    Args:
        log: Where they come from.
        listener: Told of each.

    Attributes:
        decisions: All of them.
        gone: How many there are, by the reason that clients were told; ``"went on"`` for those that have none.
    """

    def __init__(self, log: DecisionLog, listener: Callable[[Decision], None]) -> None:
        self._log = log
        self._listener = listener
        self.decisions: list[Decision] = []
        self.gone: Counter[str] = Counter({"went on": 0})

    @property
    def errors(self) -> list[str]:
        """What else the log says, and calls an error."""
        return self._log.errors

    async def run(self) -> None:
        """Write down what the log says, until cancelled."""
        while True:
            self.catch_up()
            await asyncio.sleep(PERIOD)

    def catch_up(self) -> None:
        """Write down what the log says up to now."""
        for decision in self._log.news():
            self.decisions.append(decision)
            self.gone["went on" if decision.went_on else decision.reason] += 1
            self._listener(decision)
