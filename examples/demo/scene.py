"""What there is to see: everything that a display may look at."""

import asyncio
from typing import Self

import attrs

from examples.demo.autoscaler import Autoscaler
from examples.demo.calls import CALLS
from examples.demo.decisions import DecisionLog
from examples.demo.feed import Feed
from examples.demo.journal import Journal
from examples.demo.ledger import Ledger
from examples.demo.reporter import Reporter
from examples.demo.settings import BANDS, LOAD_SECONDS, SLOTS, TENANTS
from examples.demo.troupe import Troupe
from examples.stage import Stage

__all__ = ["Scene"]

TITLE = "flowgate demo: an Endpoint Picker behind Envoy holds requests for model servers that do not exist yet"
INTRODUCTION = (
    f"{len(CALLS)} HTTP requests, {len(TENANTS)} tenants, {len(BANDS)} priorities; "
    f"a pod is a process with {SLOTS} slots, and takes {LOAD_SECONDS:g} s to load"
)


@attrs.frozen
class Scene:
    """The parts of a running demo.

    Attributes:
        page: Where to watch the Endpoint Picker in a browser.
        envoy: Where clients find Envoy.
        feed: What the Endpoint Picker tells.
        ledger: What it has decided.
        autoscaler: The pods.
        journal: What happened.
    """

    page: str
    envoy: str
    feed: Feed
    ledger: Ledger
    autoscaler: Autoscaler
    journal: Journal

    @classmethod
    def set(cls, stage: Stage, troupe: Troupe) -> Self:
        """Put everything in its place; nothing runs yet."""
        journal = Journal(asyncio.get_running_loop().time)
        reporter = Reporter(journal)
        feed = Feed(troupe.epp.admin_url, stage.http, reporter.saw)
        return cls(
            page=troupe.epp.admin_url,
            envoy=troupe.envoy.url,
            feed=feed,
            ledger=Ledger(DecisionLog(troupe.epp.process.log), reporter.heard),
            autoscaler=Autoscaler(stage, feed, journal),
            journal=journal,
        )

    @property
    def heading(self) -> list[str]:
        """What the demo is, and where to look, in lines."""
        return [TITLE, INTRODUCTION, f"Envoy: {self.envoy}/   live page of the Endpoint Picker: {self.page}/"]
