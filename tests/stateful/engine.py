"""The engine beside a naive model of it: the model keeps lists, scans everything, and believes nothing.

`Engine` drives a `ShardProcessor` the way a shell does and replays what it says, event by event, against plain lists.
Every replayed event and every state afterwards is checked against the invariants; a test only chooses what happens.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from flowgate import FlowControlConfig, FlowKey, Pod, PodLoad, PriorityBandConfig, QueueOutcome, Ticket
from flowgate.contracts import ChangeCallback, Dispatched, Dropped, Enqueued, PassEnded, PluginFailed, Released
from flowgate.items import Item
from flowgate.processor import ShardProcessor

Metadata = Mapping[str, object]


@attrs.define(eq=False)
class Asked:
    """A request whose metadata a test may change."""

    flow_id: str
    priority: int = 0
    size: int = 0
    ttl: float | None = None
    subset: frozenset[str] | None = None

    def request_id(self) -> str:
        return f"{self.flow_id}@{self.priority}"

    def flow_key(self) -> FlowKey:
        return FlowKey(self.flow_id, self.priority)

    def byte_size(self) -> int:
        return self.size

    def initial_effective_ttl(self) -> float | None:
        return self.ttl

    def get_metadata(self) -> Metadata:
        return {"subset": self.subset}


@attrs.define
class Pool:
    """A locator: pods by name, subsets by name. Keyed and announcing unless told otherwise."""

    pods: dict[str, Pod] = attrs.Factory(dict[str, Pod])
    fails: bool = False
    is_keyed: bool = True
    announce: ChangeCallback | None = None

    def locate(self, metadata: Metadata) -> Sequence[Pod]:
        if self.fails:
            raise RuntimeError("no view of the pods")
        return self.candidates(metadata["subset"])

    def candidates(self, subset: Any) -> list[Pod]:
        return [pod for name, pod in self.pods.items() if subset is None or name in subset]

    def subscribe(self, callback: ChangeCallback) -> Any:
        self.announce = callback
        return lambda: None

    def __getattr__(self, name: str) -> Any:
        if name == "selection_key" and self.is_keyed:
            return lambda metadata: metadata["subset"]
        raise AttributeError(name)


@attrs.define
class Gauge:
    """A detector: tickets over the pod's room, plus what the test adds; may fail for some pods."""

    room: int = 2
    extra: dict[str, float] = attrs.Factory(dict[str, float])
    fails: set[str] = attrs.Factory(set[str])
    announce: ChangeCallback | None = None

    def saturation(self, pod: Pod, load: PodLoad) -> float:
        if pod.name in self.fails:
            return math.nan
        return self.of(pod, load.in_flight)

    def of(self, pod: Pod, in_flight: int) -> float:
        if pod.name in self.fails:
            return 1.0
        return in_flight / self.room + self.extra.get(pod.name, 0.0)

    def subscribe(self, callback: ChangeCallback) -> Any:
        self.announce = callback
        return lambda: None


class Holdback:
    """A usage-limit policy: the fuller the pods, the lower the ceiling of lower bands."""

    def ceilings(self, saturation: float, priorities: Sequence[int]) -> list[float]:
        return [max(0.0, 1.0 - 0.5 * saturation * rank) for rank in range(len(priorities))]


def pod(name: str) -> Pod:
    """A pod known by its name."""
    return Pod(name, f"10.0.0.{ord(name[0]) % 250 + 1}", 8000)


class Engine:
    """A `ShardProcessor`, its shell, and the model.

    The model's own state: what waits (in order of arrival), which tickets live and on which pod, when each selection
    last went from pods to no pods or back, and how often everything happened.
    """

    def __init__(self, config: FlowControlConfig, *, keyed: bool = True, holdback: bool = False, room: int = 2) -> None:
        self.now = 0.0
        self.config = config
        self.pool = Pool(is_keyed=keyed)
        self.gauge = Gauge(room=room)
        self.limit = Holdback() if holdback else None
        self.processor = ShardProcessor(config, locator=self.pool, detector=self.gauge, usage_limit=self.limit)
        self.waiting: dict[Asked, Item] = {}
        self.tickets: dict[Ticket, Pod] = {}
        self.submitted: Counter[int] = Counter()
        self.ended: Counter[tuple[int, QueueOutcome]] = Counter()
        self.has_pods: dict[object, tuple[bool, float]] = {}
        self.turns: dict[tuple[object, ...], list[int]] = {}
        self.trusts_fairness = True
        self.is_moody = False
        self.exact_timers = True
        self.rebudgeted_at = 0.0
        self.most_flows = config.max_flows
        self.failures: list[PluginFailed] = []
        self.before: dict[object, Counter[QueueOutcome]] = {}
        self.lags: dict[int, tuple[float, float]] = {}

    # -- what a test may do

    def submit(self, asked: Asked) -> Item | Ticket | Dropped:
        """Submit a request, and check what was decided about it."""
        settled = not self.processor.pending
        self.submitted[asked.priority] += 1
        result = self.processor.submit(asked, self.now)
        if isinstance(result, Item):
            assert result.outcome is None
        elif isinstance(result, Dropped):
            self._check_rejection(asked, result, settled)
        self._replay()
        if isinstance(result, Item):
            assert self.waiting[asked] is result
        return result

    def cancel(self, asked: Asked) -> None:
        """Cancel the caller of a waiting request: its room is free at once."""
        item = self.waiting[asked]
        self.processor.cancel(item, self.now)
        assert item.outcome is QueueOutcome.EVICTED_CANCELLED
        self._replay()

    def release(self, ticket: Ticket) -> None:
        """Release a ticket, twice for good measure."""
        ticket.release()
        ticket.release()
        self._replay()

    def lose(self, ticket: Ticket) -> None:
        """Forget a ticket, as the garbage collector finds it."""
        ticket.is_released = True
        self.processor.lose(ticket)
        assert self.processor.pending
        self.settle()

    def assign(self, ticket: Ticket, target: Pod) -> None:
        """Move a ticket's charge, wherever the test likes."""
        ticket.assign(target)
        self.tickets[ticket] = target
        self._replay()

    def set_pods(self, names: Sequence[str]) -> None:
        """Let the pool have these pods, and say so."""
        self.pool.pods = {name: pod(name) for name in names}
        self._announce(self.pool.announce)

    def fail_locator(self, fails: bool) -> None:
        """Let the locator raise, or recover."""
        self.pool.fails = fails
        self._announce(self.pool.announce)

    def set_extra(self, name: str, extra: float) -> None:
        """Let a pod be fuller than flowgate's own load says, and say so."""
        self.gauge.extra[name] = extra
        self._announce(self.gauge.announce)

    def fail_detector(self, name: str, fails: bool) -> None:
        """Let the detector answer nonsense for a pod, or recover."""
        (self.gauge.fails.add if fails else self.gauge.fails.discard)(name)
        self._announce(self.gauge.announce)

    def refresh(self, asked: Asked, subset: frozenset[str] | None) -> None:
        """Change a waiting request's metadata."""
        asked.subset = subset
        self.turns.clear()
        self.rebudgeted_at = self.now  # the lane that it comes to may have spent its budget
        self.processor.refresh(asked, self.now)
        if self.pool.is_keyed:
            self._note_regime(asked)
        self._replay()

    def reconfigure(self, config: FlowControlConfig) -> None:
        """Take over another configuration."""
        self.config = config
        self.rebudgeted_at = self.now
        self.most_flows = max(self.most_flows, config.max_flows)
        self.turns.clear()
        self.lags.clear()
        self.processor.reconfigure(config, self.now)
        self._replay()

    def close(self) -> None:
        """Shut down: everybody who waits hears of it before the step returns."""
        self.processor.close(self.now)
        self._replay()
        assert not self.waiting

    def settle(self) -> None:
        """Run every pass that is due at this moment, as the shell's turns do."""
        for _ in range(10_000):
            if not self.processor.pending:
                return
            self._advance()
        raise AssertionError("the passes never end")

    def sleep(self, seconds: float, *, late: bool = False) -> None:
        """Let time pass: with a timer that rings at each due time, or with one that rings only at the end."""
        self.settle()
        end = self.now + seconds
        self.exact_timers = not late
        while not late and self.processor.next_due <= end:
            self.now = max(self.now, self.processor.next_due)
            self._advance()
            self.settle()
        self.now = end
        self._advance()
        self.settle()
        self.exact_timers = True

    def _announce(self, announce: ChangeCallback | None) -> None:
        assert announce is not None
        announce()
        if not self.waiting:
            assert not self.processor.pending, "a change that nobody waits for is no work"

    def _advance(self) -> None:
        self.processor.advance(self.now)
        self._replay()
        for asked in self.waiting:
            assert self.due(asked) > self.now, "what was due has left before anything was dispatched"

    # -- what the model believes

    def candidates(self, asked: Asked) -> list[Pod]:
        """The pods that a request may go to."""
        return [] if self.pool.fails else self.pool.candidates(asked.subset)

    def lane(self, asked: Asked) -> object:
        """What names the request's lane."""
        return asked.subset if self.pool.is_keyed else asked.flow_key()

    def in_flight(self, of: Pod) -> int:
        return sum(1 for charged in self.tickets.values() if charged == of)

    def saturation(self, of: Pod) -> float:
        return self.gauge.of(of, self.in_flight(of))

    def ceilings(self, extra: int | None = None) -> dict[int, float]:
        """The ceiling of each band with waiting requests."""
        priorities = sorted({asked.priority for asked in self.waiting} | ({extra} - {None}), reverse=True)
        if self.limit is None:
            return dict.fromkeys(priorities, 1.0)
        named = {one for asked in self.waiting for one in self.candidates(asked)}
        values = [min(1.0, self.saturation(one)) for one in named]
        saturation = sum(values) / len(values) if values else 1.0
        return dict(zip(priorities, self.limit.ceilings(saturation, priorities), strict=True))

    def due(self, asked: Asked) -> float:
        """When a waiting request must leave."""
        item = self.waiting[asked]
        if asked.ttl is not None:
            return item.enqueue_time + asked.ttl
        has_pods, since = self.has_pods[self.lane(asked)]
        no_pods_ttl = self.config.default_ttl if self.config.no_pods_ttl is None else self.config.no_pods_ttl
        budget = self.config.default_ttl if has_pods else no_pods_ttl
        most = item.enqueue_time + self.config.default_ttl + no_pods_ttl
        return min(max(item.enqueue_time, since) + budget, most)

    def _note_regime(self, asked: Asked) -> None:
        if not self._is_headed(asked):
            return
        has_pods = bool(self.candidates(asked))
        known = self.has_pods.get(self.lane(asked))
        if known is None:
            self.has_pods[self.lane(asked)] = (has_pods, -math.inf)
        elif known[0] is not has_pods:
            self.has_pods[self.lane(asked)] = (has_pods, self.now)

    # -- replaying what the engine says

    def _replay(self) -> None:
        events, self.processor.ledger.events = self.processor.ledger.events, []
        self.displaced_with: Counter[tuple[object, int]] = Counter()  # what went for the same arrival's sake
        self.processor.ledger.finished.clear()
        for event in events:
            if isinstance(event, Enqueued):
                self._enqueued(event)
            elif isinstance(event, Dispatched):
                self._dispatched(event)
            elif isinstance(event, Dropped):
                self._dropped(event)
            elif isinstance(event, Released):
                del self.tickets[event.ticket]
            elif isinstance(event, PassEnded):
                for asked in self.waiting:
                    self._note_regime(asked)
            elif isinstance(event, PluginFailed):
                self.failures.append(event)
        self.check()

    def _enqueued(self, event: Enqueued) -> None:
        asked = event.item.request
        assert isinstance(asked, Asked)
        assert isinstance(event.item, Item)
        if self.pool.is_keyed:
            assert event.has_pods == bool(self.candidates(asked))
        self.waiting[asked] = event.item
        if self.pool.is_keyed or len(self._queue(asked)) == 1:  # else its lane is resolved by the next pass
            self._note_regime(asked)

    def _dispatched(self, event: Dispatched) -> None:
        asked = event.request
        assert isinstance(asked, Asked)
        target = event.ticket.pod
        assert target is not None
        ceiling = self.ceilings(asked.priority)[asked.priority]
        wanted = self.candidates(asked)
        assert target in wanted, "a pod that is no candidate"
        if self.limit is None:  # ceilings that move are computed per pass, not per request
            assert self.saturation(target) < ceiling, "a closed pod"
        assert self.saturation(target) == min(map(self.saturation, wanted)), "not the best candidate"
        assert event.ticket.candidates[0] == target
        assert all(self.saturation(one) < 1.0 for one in event.ticket.candidates), "a closed candidate was offered"
        if self.config.band_shares is None:
            for other in self.waiting:
                if target in self.candidates(other) and self._is_headed(other):
                    assert other.priority <= asked.priority, "a higher band waited for this pod"
        elif event.waited and self.limit is None:  # the same
            self._check_shares(asked, target)
        if self.config.hol_scope == "pool":
            assert all(other.priority <= asked.priority for other in self.waiting), "a higher band waited"
        self._note_regime(asked)
        if event.waited:
            self._check_place(asked)
            self._check_turn(asked)
            item = self.waiting.pop(asked)
            assert event.queue_wait == self.now - item.enqueue_time
        else:
            assert event.queue_wait == 0.0
            same = [other for other in self.waiting if self._group(other) == self._group(asked)]
            assert not same, "an arrival barged"
        self.ended[asked.priority, QueueOutcome.DISPATCHED] += 1
        self.tickets[event.ticket] = target
        self._drop_turns(asked)

    def _check_shares(self, asked: Asked, target: Pod) -> None:
        """A band that waits for pods open to it lags behind its share of their dispatches by fewer than the bound."""
        assert self.config.band_shares is not None
        shares = self.config.band_shares.shares
        wanting = {one.priority for one in self.waiting if target in self.candidates(one) and self._is_headed(one)}
        for priority in wanting & set(shares):
            # How far it lags now, and how little it ever lagged before: between the two it lost the difference.
            lag, least = self.lags.get(priority, (0.0, 0.0))
            lag += shares[priority] - (asked.priority == priority)
            least = min(least, lag)
            self.lags[priority] = lag, least
            most = self.config.band_shares.bound() + (len({one.subset for one in self.waiting}) > 1)
            assert lag - least <= most + 1e-9, f"band {priority} lags behind its share"
        if asked.priority < max(wanting):
            assert asked.priority in shares, "a lower band without a share went first"

    def _dropped(self, event: Dropped) -> None:
        asked = event.request
        assert isinstance(asked, Asked)
        if event.outcome.is_evicted:
            if event.outcome in (QueueOutcome.EVICTED_TTL, QueueOutcome.EVICTED_NO_PODS):
                due = self.due(asked)
                assert due <= self.now
                due = max(due, self.rebudgeted_at)  # a shorter budget may have been spent already
                assert not self.exact_timers or math.isclose(due, self.now, rel_tol=0, abs_tol=1e-9), "late"
            elif event.outcome is QueueOutcome.EVICTED_DISPLACED:
                self._check_victim(asked, event.message)
            self.waiting.pop(asked)
            self._drop_turns(asked)
        elif event.outcome not in (QueueOutcome.REJECTED_INVALID, QueueOutcome.REJECTED_SHUTDOWN):
            self._note_regime(asked)  # its lane was looked at
        self.ended[asked.priority, event.outcome] += 1

    def _group(self, asked: Asked) -> tuple[object, int]:
        return self.lane(asked), asked.priority

    def _is_headed(self, asked: Asked) -> bool:
        """Whether its lane's candidates are its own; in a keyless lane they are the head's."""
        return self.pool.is_keyed or self._head_of(asked) is asked

    def _head_of(self, asked: Asked) -> Asked:
        """The request of its flow and lane that goes first; itself where nobody waits."""
        return next(iter(self._queue(asked)), asked)

    def _queue(self, asked: Asked) -> list[Asked]:
        """The waiting requests of its flow and lane, in the order in which they should go."""
        mine = [one for one in self.waiting if (*self._group(one), one.flow_id) == (*self._group(asked), asked.flow_id)]
        known = self.waiting.get(asked)
        band = known.queue.flow.band.config if known else self.config.band(asked.priority)
        if band is None:
            return mine
        if band.dispatch.name == "edf" and not (self.is_moody and band.dispatch.__class__.__name__ == "MoodyDispatch"):
            return sorted(mine, key=lambda one: (self.waiting[one].deadline, self.waiting[one].arrival))
        return sorted(mine, key=lambda one: self.waiting[one].arrival)

    def _check_place(self, asked: Asked) -> None:
        assert self._queue(asked)[0] is asked, "somebody of its own flow was to go first"

    def _check_turn(self, asked: Asked) -> None:
        """Round robin: over any interval in which two flows wait in one group, neither goes more than once more."""
        band = self.waiting[asked].queue.flow.band.config
        if band.fairness.name != "round-robin" or not self.trusts_fairness:
            return
        group = self._group(asked)
        for other in {one.flow_id for one in self.waiting if self._group(one) == group} - {asked.flow_id}:
            first, second = sorted((asked.flow_id, other))
            lead = self.turns.setdefault((*group, first, second), [0, 0, 0])  # now, least, most
            lead[0] += 1 if asked.flow_id == first else -1
            lead[1:] = [min(lead[1], lead[0]), max(lead[2], lead[0])]
            assert lead[2] - lead[1] <= 1, "one of two waiting flows went twice more than the other"

    def _drop_turns(self, asked: Asked) -> None:
        """A flow that waits no longer ends the intervals that it shared."""
        if not any(one.priority == asked.priority for one in self.waiting):
            self.lags.pop(asked.priority, None)
        if any(self._group(one) == self._group(asked) and one.flow_id == asked.flow_id for one in self.waiting):
            return
        for key in [key for key in self.turns if key[:2] == self._group(asked) and asked.flow_id in key[2:]]:
            del self.turns[key]

    def _check_victim(self, asked: Asked, message: str) -> None:
        if "which is shorter" in message:
            self._check_longest(asked)
            return
        lowest = [one for one, item in self.waiting.items() if item.queue.flow.band.config.displace]
        bottom = min(one.priority for one in lowest)
        newest = max((one for one in lowest if one.priority == bottom), key=lambda one: self.waiting[one].arrival)
        assert asked is newest, "not the newest request of the lowest band"

    def _check_longest(self, asked: Asked) -> None:
        """It is the newest request of a flow that no other of its band exceeds, in requests or in bytes."""
        mine = [one for one in self.waiting if one.priority == asked.priority]
        lengths = Counter(self._flow_of(one) for one in mine)
        sizes: Counter[object] = Counter()
        for one in mine:
            sizes[self._flow_of(one)] += one.size
        own = self._flow_of(asked)
        before = self.displaced_with
        longest = lengths[own] + before[own, 0] >= max(lengths[flow] + before[flow, 0] for flow in lengths)
        largest = sizes[own] + before[own, 1] >= max(sizes[flow] + before[flow, 1] for flow in sizes)
        assert longest or largest, "another flow of its band is longer"
        newest = max((one for one in mine if self._flow_of(one) == own), key=lambda one: self.waiting[one].arrival)
        assert asked is newest, "not the newest request of its flow"
        before[own, 0] += 1
        before[own, 1] += asked.size

    def _flow_of(self, asked: Asked) -> object:
        return self.waiting[asked].queue.flow

    def _check_rejection(self, asked: Asked, dropped: Dropped, settled: bool) -> None:
        band = self.config.band(asked.priority)
        outcome = dropped.outcome
        if outcome is QueueOutcome.REJECTED_SHUTDOWN:
            assert self.processor.is_closing
            return
        if outcome is QueueOutcome.REJECTED_INVALID:
            return
        assert band is not None
        if outcome is QueueOutcome.REJECTED_INFEASIBLE:
            assert band.reject_infeasible is not None
            assert self.candidates(asked) or not self.pool.is_keyed
        if settled and self.limit is None and self.config.hol_scope == "candidates":
            head = asked if self.pool.is_keyed else self._head_of(asked)
            assert all(self.saturation(one) >= 1.0 for one in self.candidates(head)), "it could have gone at once"
        if outcome in (QueueOutcome.REJECTED_CAPACITY, QueueOutcome.REJECTED_NO_PODS):
            head = asked if self.pool.is_keyed else self._head_of(asked)
            self._check_limits(asked, band, dropped.message)
            assert bool(self.candidates(head)) == (outcome is QueueOutcome.REJECTED_CAPACITY) or not settled

    def _check_limits(self, asked: Asked, band: PriorityBandConfig, message: str) -> None:
        """Some limit is truly met: the flow's, the band's or the controller's."""
        every = list(self.waiting)
        in_band = [one for one in every if one.priority == asked.priority]
        in_flow = [one for one in in_band if one.flow_id == asked.flow_id]
        limits = (
            (in_flow, band.max_flow_requests, band.max_flow_bytes),
            (in_band, band.max_requests, band.max_bytes),
            (every, self.config.max_requests, self.config.max_bytes),
        )
        assert any(
            (most is not None and len(held) >= most)
            or (most_bytes is not None and sum(one.size for one in held) + asked.size > most_bytes)
            for held, most, most_bytes in limits
        ), message

    # -- invariants

    def check(self) -> None:
        """Check everything that must hold between any two steps."""
        self._check_counts()
        self._check_loads()
        if not self.processor.pending:
            self._check_nothing_left_undone()
        if not self.waiting:
            assert not self.processor.pending
            assert self.processor.next_due == math.inf, "an idle engine has nothing to wake up for"
        assert len(self.processor.shard.deadlines) <= 4 * (len(self.waiting) + len(self.processor.shard.lanes)) + 130
        registry = self.processor.shard.registry
        assert registry.flow_count <= self.most_flows + len(registry.bands)  # each band may have an overflow flow

    def _check_counts(self) -> None:
        stats = self.processor.stats()
        outcomes: Counter[QueueOutcome] = Counter()
        for (_, outcome), count in self.ended.items():
            outcomes[outcome] += count
        assert stats.queued_requests == len(self.waiting)
        assert stats.queued_bytes == sum(asked.size for asked in self.waiting)
        assert {outcome: count for outcome, count in stats.outcomes.items() if count} == dict(outcomes)
        assert sum(self.submitted.values()) == len(self.waiting) + sum(outcomes.values()), "a request was lost"
        for priority, band in stats.bands.items():
            mine = [asked for asked in self.waiting if asked.priority == priority]
            assert (band.queued_requests, band.queued_bytes) == (len(mine), sum(asked.size for asked in mine))
        for item in self.waiting.values():
            assert item.outcome is None
        for priority, record in self.processor.shard.registry.bands.items():
            counted = Counter({outcome: count for outcome, count in record.outcomes.items() if count})
            ended = Counter({outcome: count for (at, outcome), count in self.ended.items() if at == priority})
            before = self.before.setdefault(record, ended - counted)  # a band may be made, or made again, in between
            assert ended - before == counted, "a band lost or doubled an outcome"

    def _check_loads(self) -> None:
        stats = self.processor.stats()
        assert stats.in_flight == len(self.tickets)
        loads: dict[Pod, int] = defaultdict(int)
        for charged in self.tickets.values():
            loads[charged] += 1
        for ticket, charged in self.tickets.items():
            assert ticket.pod == charged
            assert ticket.state is not None
            assert ticket.state.in_flight == loads[charged]

    def _check_nothing_left_undone(self) -> None:
        ceilings = self.ceilings()
        top = max(ceilings, default=0)
        for asked in self.waiting:
            if (self.config.hol_scope == "pool" and asked.priority != top) or not self._is_headed(asked):
                continue
            for one in self.candidates(asked):
                assert self.saturation(one) >= ceilings[asked.priority], f"{one.name} is open to {asked} that waits"
