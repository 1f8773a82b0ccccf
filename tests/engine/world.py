"""A world around the synchronous core, in virtual time: requests come at random, and are served for a random time."""

import heapq
import math
import random
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import attrs

from flowgate import FlowControlConfig, Pod, PriorityBandConfig, Request, RetryAfter, Ticket
from flowgate.contracts import Dropped
from flowgate.items import Item
from flowgate.locators import StaticPodLocator
from flowgate.processor import ShardProcessor
from flowgate.saturation import ConcurrencyDetector

PODS = [Pod(f"p{number}", "10.0.0.1", 80 + number) for number in range(4)]
TOLD_AS_IT_IS = RetryAfter(least=1e-6, most=1e6, jitter=0.0)


@attrs.define
class World:
    """Requests that come and are served, event by event; a ticket is held for a random time."""

    core: ShardProcessor
    chance: random.Random
    service: Callable[[], float]
    now: float = 0.0
    events: list[tuple[float, int, Callable[[], None]]] = attrs.Factory(list)
    serials: Iterator[int] = attrs.Factory(count)
    waits: dict[int, float] = attrs.Factory(dict)
    told: dict[int, float] = attrs.Factory(dict)
    dropped: list[Dropped] = attrs.Factory(list)
    accepted: Counter[str] = attrs.Factory(Counter)
    served: Counter[str] = attrs.Factory(Counter)

    def at(self, time: float, do: Callable[[], None]) -> None:
        heapq.heappush(self.events, (time, next(self.serials), do))

    def run(self, until: float) -> None:
        while True:
            due = self.core.next_due
            if due < math.inf and (not self.events or due <= self.events[0][0]):
                self.now = max(self.now, due)
            elif self.events and self.events[0][0] <= until:
                self.now, _, do = heapq.heappop(self.events)
                do()
            else:
                break
            if self.now > until:
                break
            self.core.advance(self.now)
            while self.core.pending:
                self.core.advance(self.now)
            self._collect()
        if until < math.inf:
            self.now = max(self.now, until)

    def arrive(self, flow: str, priority: int = 0, **request: Any) -> Item | Ticket | Dropped:
        """Submit a request; what it would be told now is noted beside what it waits truly."""
        asked = Request(flow, priority, **request)
        shard = self.core.shard
        lane = shard.lanes.lane_of(asked.flow_key(), asked.get_metadata(), self.now)
        shard.ledger.now = self.now
        predicted = shard.forecast(lane, shard.registry.bands[priority], asked.flow_key())
        result = self.core.submit(asked, self.now)
        if isinstance(result, Item):
            self.accepted[flow] += 1
            if predicted is not None:
                self.told[result.arrival] = predicted.wait
        elif isinstance(result, Ticket):
            self.accepted[flow] += 1
            self._serve(result)
        else:
            self.dropped.append(result)
        self._collect()
        return result

    def stream(self, rate: float, flow: Callable[[], str], priority: int, until: float, **request: Any) -> None:
        """Let requests arrive at random, so many a second."""
        time = self.now
        while (time := time + self.chance.expovariate(rate)) < until:
            self.at(time, lambda: self.arrive(flow(), priority, **request) and None)

    def _serve(self, ticket: Ticket) -> None:
        self.served[ticket.request.flow_key().id] += 1
        self.at(self.now + self.service(), ticket.release)

    def _collect(self) -> None:
        ledger = self.core.ledger
        finished, ledger.finished = ledger.finished, []
        ledger.events.clear()
        for item in finished:
            if isinstance(item.result, Ticket):
                self.waits[item.arrival] = item.result.queue_wait
                self._serve(item.result)
            elif isinstance(item.result, Dropped):
                self.dropped.append(item.result)
                self.accepted[item.flow_key.id] -= 1


def world(
    seed: int = 0, *, pods: int = 4, service: float = 0.4, config: dict[str, Any] | None = None, **band: Any
) -> World:
    """Eight slots on each of four pods, held for `service` seconds on average: 80 requests a second."""
    limits = {"max_requests": None, **band}
    settings = FlowControlConfig(
        [PriorityBandConfig(priority, **limits) for priority in (0, 1)],
        default_ttl=math.inf,
        retry_after=TOLD_AS_IT_IS,
        **(config or {}),
    )
    core = ShardProcessor(settings, locator=StaticPodLocator(PODS[:pods]), detector=ConcurrencyDetector(8))
    core.ledger.hears = frozenset()
    chance = random.Random(seed)
    return World(core, chance, lambda: chance.expovariate(1 / service))


def drain(place: World) -> None:
    """Serve what waits, and let every ticket come back."""
    place.run(math.inf)
