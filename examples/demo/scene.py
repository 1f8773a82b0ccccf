"""What there is to see: everything that a display may look at."""

from collections import Counter

import attrs

from examples.demo.autoscaler import Autoscaler
from examples.demo.clients import WAVES
from examples.demo.journal import Journal
from examples.demo.ledger import Ledger
from examples.demo.settings import BANDS, LOAD_SECONDS, SLOTS, TENANTS
from flowgate.admission import http_response

__all__ = ["Scene"]

TITLE = "flowgate demo: a gateway holds requests for model servers that do not exist yet"
INTRODUCTION = (
    f"{sum(len(list(calls())) for calls in WAVES.values())} HTTP requests, {len(TENANTS)} tenants, "
    f"{len(BANDS)} priorities; a pod is a process with {SLOTS} slots, and takes {LOAD_SECONDS:.0f} s to load"
)


@attrs.frozen
class Scene:
    """The parts of a running demo.

    Attributes:
        ledger: What waits, what went on and how the rest ended.
        autoscaler: The pods.
        journal: What happened.
    """

    ledger: Ledger
    autoscaler: Autoscaler
    journal: Journal

    def gone(self) -> Counter[str]:
        """Return how many requests ended in each way, by the reason that HTTP is given."""
        counts = Counter({"went on": 0})
        for outcome, count in self.ledger.outcomes.items():
            counts[http_response(outcome).reason or "went on"] += count
        return counts
