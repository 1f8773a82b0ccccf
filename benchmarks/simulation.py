"""A closed loop in virtual time: a pod whose true capacity changes, behind a `ShardProcessor` that has to find it.

The pod has so many slots, and a queue of its own for what it gets beyond them: the more it holds, the slower it is. Or
it has no queue and refuses at once. More callers than it can serve wait for admission at all times, and whoever is done
comes back at once. Everything is drawn from one seed, so a run can be repeated exactly.
"""

import heapq
import math
import random
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import Literal

import attrs

from flowgate import FlowControlConfig, Pod, PriorityBandConfig, Request, Ticket
from flowgate.contracts import ReleaseResult, SaturationDetector
from flowgate.locators import StaticPodLocator
from flowgate.processor import ShardProcessor
from flowgate.saturation import AdaptiveDetector, ConcurrencyDetector

__all__ = ["NEAR", "POD", "Done", "Phase", "Plan", "Run", "oracle", "simulate"]

POD = Pod("pod", "10.0.0.1", 8000)

NEAR = (0.8, 1.5)
"""Multiples of the capacity between which a limit counts as found: all slots are busy, and no long queue stands."""
_WINDOW = 20


@attrs.frozen
class Phase:
    """A time in which the pod's capacity stays the same.

    Args:
        capacity: Requests that it works on at a time.
        seconds: How long.
    """

    capacity: int
    seconds: float


@attrs.frozen
class Plan:
    """What happens in a run.

    Args:
        phases: One after the other.
        service_time: Mean time, in seconds, that a request takes on a pod that is not full: one *round trip*.
        noise: Standard deviation of the logarithm of a request's own time.
        callers: Who keep asking; more than any limit that is worth finding.
        when_full: What the pod does beyond its capacity: ``"queue"``, or ``"refuse"`` after `refusal_time`.
        refusal_time: Seconds that a refusal takes.
        target: Latency, in service times, within which a request counts for goodput.
    """

    phases: tuple[Phase, ...] = (Phase(32, 30.0), Phase(8, 30.0), Phase(32, 30.0))
    service_time: float = 0.1
    noise: float = 0.25
    callers: int = 300
    when_full: Literal["queue", "refuse"] = "queue"
    refusal_time: float = 0.001
    target: float = 2.0

    @property
    def starts(self) -> list[float]:
        """When each phase starts, and, last, when the run ends, in seconds."""
        return [sum(phase.seconds for phase in self.phases[:count]) for count in range(len(self.phases) + 1)]


@attrs.frozen
class Done:
    """One request that came back from the pod.

    Args:
        at: When, in seconds.
        latency: Seconds at the pod.
        result: How.
    """

    at: float
    latency: float
    result: ReleaseResult


@attrs.frozen
class Run:
    """What came of a plan.

    Args:
        plan: The plan.
        done: All requests that came back, in order of time.
        limits: Every change of the pod's limit: when (seconds), and to how many tickets. Empty for the oracle.
    """

    plan: Plan
    done: Sequence[Done]
    limits: Sequence[tuple[float, float]]

    def between(self, start: float, end: float) -> list[Done]:
        """Return what came back in [start, end)."""
        return [done for done in self.done if start <= done.at < end]

    def goodput(self, start: float, end: float) -> float:
        """Requests in each second of [start, end) that came back well, and within the latency target."""
        target = self.plan.target * self.plan.service_time
        good = sum(done.result == "ok" and done.latency <= target for done in self.between(start, end))
        return good / (end - start)

    def p95(self, start: float, end: float) -> float:
        """Latency in seconds that 95 of 100 requests stayed within, of those that came back well in [start, end)."""
        latencies = sorted(done.latency for done in self.between(start, end) if done.result == "ok")
        return latencies[math.ceil(0.95 * len(latencies)) - 1]

    def mean_limit(self, start: float, end: float) -> float:
        """Return the limit's mean over the time in [start, end)."""
        before = [limit for at, limit in self.limits if at <= start][-1]
        inside = [(at, limit) for at, limit in self.limits if start < at < end]
        steps = pairwise([(start, before), *inside, (end, math.nan)])
        return sum(limit * (until - at) for (at, limit), (until, _) in steps) / (end - start)

    def settling(self, number: int) -> float:
        """Round trips from the start of a phase to the first twenty of them in which the limit is near the capacity."""
        phase, start = self.plan.phases[number], self.plan.starts[number]
        window = _WINDOW * self.plan.service_time
        for index in range(int(phase.seconds / window)):
            mean = self.mean_limit(start + index * window, start + (index + 1) * window)
            if NEAR[0] <= mean / phase.capacity <= NEAR[1]:
                return float(index * _WINDOW)
        return math.inf


def oracle(plan: Plan, seed: int) -> Run:
    """Run a plan with a detector that knows the capacity at each moment."""
    simulation = _Simulation(plan, seed)
    return simulation.run(ConcurrencyDetector(lambda _pod: simulation.pod.capacity))


def simulate(plan: Plan, detector: AdaptiveDetector, seed: int) -> Run:
    """Run a plan with a detector that has to learn."""
    return _Simulation(plan, seed).run(detector)


class _ModelPod:
    """A pod with slots, and a queue for the rest.

    Args:
        plan: Says how it behaves.
        draw: Says how long the next request takes, in seconds.
        later: Calls a function after so many seconds.
        done: Called with each request that came back.
    """

    def __init__(
        self,
        plan: Plan,
        draw: Callable[[], float],
        later: Callable[[float, Callable[[], None]], None],
        done: Callable[[Ticket, ReleaseResult], None],
    ) -> None:
        self.capacity = 0
        self._plan = plan
        self._draw = draw
        self._later = later
        self._done = done
        self._running = 0
        self._queue: deque[Ticket] = deque()

    def take(self, ticket: Ticket) -> None:
        """Take a request: work on it, queue it, or refuse it."""
        if self._plan.when_full == "refuse" and self._running >= self.capacity:
            self._later(self._plan.refusal_time, partial(self._done, ticket, "dropped"))
        else:
            self._queue.append(ticket)
            self.start()

    def start(self) -> None:
        """Work on what the slots allow. What runs already is not stopped by a capacity that falls."""
        while self._queue and self._running < self.capacity:
            ticket = self._queue.popleft()
            self._running += 1
            self._later(self._draw(), partial(self._finish, ticket))

    def _finish(self, ticket: Ticket) -> None:
        self._running -= 1
        self.start()
        self._done(ticket, "ok")


class _Simulation:
    """The pod, the processor before it, and the events to come."""

    def __init__(self, plan: Plan, seed: int) -> None:
        self._plan = plan
        self._now = 0.0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._serial = 0
        draw = random.Random(seed)
        # The mean of a lognormal distribution is exp(mu + sigma ** 2 / 2).
        mu = math.log(plan.service_time) - plan.noise**2 / 2
        self.pod = _ModelPod(plan, lambda: draw.lognormvariate(mu, plan.noise), self._later, self._came_back)
        self._done: list[Done] = []
        self._limits: list[tuple[float, float]] = []
        self._held: dict[Ticket, None] = {}

    def run(self, detector: SaturationDetector) -> Run:
        """Run the plan to its end."""
        self._detector = detector
        band = PriorityBandConfig(0, max_requests=None, max_bytes=None)
        config = FlowControlConfig([band], default_ttl=math.inf)
        locator = StaticPodLocator([POD])
        self._processor = ShardProcessor(config, locator=locator, detector=detector, clock=lambda: self._now)
        self._processor.ledger.hears = frozenset()
        for phase, start in zip(self._plan.phases, self._plan.starts, strict=False):
            self._later(start, partial(self._change, phase.capacity))
        self._later(0.0, self._open)
        end = self._plan.starts[-1]
        while self._events[0][0] < end:
            self._now, _, event = heapq.heappop(self._events)
            event()
        self._close()
        return Run(self._plan, self._done, self._limits)

    def _close(self) -> None:
        self._processor.close(self._now)
        for ticket in self._held:
            ticket.release("ignored")

    def _later(self, seconds: float, event: Callable[[], None]) -> None:
        self._serial += 1
        heapq.heappush(self._events, (self._now + seconds, self._serial, event))

    def _change(self, capacity: int) -> None:
        self.pod.capacity = capacity
        self.pod.start()
        self._processor.notify(self._now)  # the oracle's limit moved
        self._dispatch()

    def _open(self) -> None:
        for _ in range(self._plan.callers):
            self._ask()
        self._dispatch()

    def _ask(self) -> None:
        result = self._processor.submit(Request("flow"), self._now)
        if isinstance(result, Ticket):
            self._send(result)

    def _send(self, ticket: Ticket) -> None:
        self._held[ticket] = None
        self.pod.take(ticket)

    def _came_back(self, ticket: Ticket, result: ReleaseResult) -> None:
        del self._held[ticket]
        self._done.append(Done(self._now, self._now - ticket.dispatched_at, result))
        ticket.release(result)
        self._ask()
        self._dispatch()

    def _dispatch(self) -> None:
        ledger = self._processor.ledger
        while self._processor.pending:
            self._processor.advance(self._now)
            finished, ledger.finished = ledger.finished, []
            for item in finished:
                assert isinstance(item.result, Ticket)
                self._send(item.result)
        ledger.events.clear()
        self._note_limit()

    def _note_limit(self) -> None:
        if isinstance(self._detector, AdaptiveDetector):
            limit = self._detector.limit_of(POD)
            if not self._limits or self._limits[-1][1] != limit:
                self._limits.append((self._now, limit))
