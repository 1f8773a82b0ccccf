"""The core against its invariants: whatever happens, in whatever order."""

import math
from typing import Any

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from flowgate import BandShares, FlowControlConfig, PriorityBandConfig
from flowgate.policies import BestHead, EarliestDeadlineFirst, Fcfs, RoundRobin
from tests.stateful.engine import Asked, Engine, pod

PODS = "abc"
MANY = 12
SUBSETS = [None, frozenset("a"), frozenset("ab"), frozenset("bc"), frozenset()]


class Moody:
    """A fairness or dispatch policy that fails when told to."""

    fails = False


class MoodyFairness(RoundRobin):
    """Round robin whose groups fail when told to."""

    def new_group(self) -> Any:
        group = super().new_group()
        return _MoodyGroup(group)


class _MoodyGroup:
    def __init__(self, group: Any) -> None:
        self._group = group

    def __getattr__(self, name: str) -> Any:
        if Moody.fails:
            raise RuntimeError("in a mood")
        return getattr(self._group, name)


class MoodyDispatch(EarliestDeadlineFirst):
    """Earliest deadline first, unless it fails."""

    def select_item(self, queue: Any) -> Any:
        if Moody.fails:
            raise RuntimeError("in a mood")
        return super().select_item(queue)


def bands(draw: Any) -> list[PriorityBandConfig]:
    dispatch = st.sampled_from([Fcfs(), EarliestDeadlineFirst(), MoodyDispatch()])
    fairness = st.sampled_from([RoundRobin(), BestHead(), MoodyFairness()])
    limit = st.sampled_from([None, 0, 2, 5])
    return [
        PriorityBandConfig(
            priority,
            max_requests=draw(limit),
            max_bytes=draw(st.sampled_from([None, 40])),
            dispatch=draw(dispatch),
            fairness=draw(fairness),
            mode=draw(st.sampled_from(["queue", "queue", "queue", "shed"])),
            displace=draw(st.booleans()),
            max_flow_requests=draw(st.sampled_from([None, None, 1, 3])),
            max_flow_bytes=draw(st.sampled_from([None, None, 20])),
            when_full=draw(st.sampled_from(["reject", "longest-flow"])),
            reject_infeasible=draw(st.sampled_from([None, None, 0.5, 0.99])),
        )
        for priority in draw(st.sampled_from([(0,), (0, 1), (-1, 0, 2)]))
    ]


@st.composite
def configs(draw: Any) -> FlowControlConfig:
    hol_scope = draw(st.sampled_from(["candidates", "candidates", "pool"]))
    shares = st.sampled_from([None, BandShares({0: 0.3}), BandShares({0: 1.0})])
    return FlowControlConfig(
        bands=bands(draw),
        default_band=draw(st.sampled_from([PriorityBandConfig(0), None])),
        band_shares=None if hol_scope == "pool" else draw(shares),
        max_requests=draw(st.sampled_from([None, None, 4])),
        max_bytes=draw(st.sampled_from([None, None, 60])),
        default_ttl=draw(st.sampled_from([1.0, 5.0, math.inf])),
        no_pods_ttl=draw(st.sampled_from([None, 2.0, math.inf])),
        max_flows=draw(st.sampled_from([2, 100])),
        max_bands=draw(st.sampled_from([3, 100])),
        hol_scope=hol_scope,
        max_dispatch_batch=draw(st.sampled_from([1, 2, 1_000])),
    )


requests = st.builds(
    Asked,
    flow_id=st.sampled_from("xyz"),
    priority=st.sampled_from([-1, 0, 0, 1, 2]),
    size=st.sampled_from([0, 1, 15, 50]),
    ttl=st.sampled_from([None, None, 0.5, 3.0]),
    subset=st.sampled_from(SUBSETS),
)


class ProcessorMachine(RuleBasedStateMachine):
    """Every kind of step, in any order, beside the model that scans everything."""

    is_calm = False

    @initialize(config=configs(), keyed=st.booleans(), holdback=st.booleans(), room=st.sampled_from([1, 2, 3]))
    def start(self, config: FlowControlConfig, keyed: bool, holdback: bool, room: int) -> None:
        Moody.fails = False
        self.engine = Engine(config, keyed=keyed, holdback=holdback, room=room)
        self.engine.trusts_fairness = config.max_flows > 2  # flows that share the overflow flow share its turns

    @rule(asked=requests)
    def submit(self, asked: Asked) -> None:
        self.engine.submit(asked)

    @rule(asked=requests, count=st.integers(2, 6))
    def submit_many(self, asked: Asked, count: int) -> None:
        for _ in range(count):
            self.engine.submit(Asked(asked.flow_id, asked.priority, asked.size, asked.ttl, asked.subset))

    @precondition(lambda self: self.engine.waiting)
    @rule(data=st.data())
    def cancel(self, data: Any) -> None:
        self.engine.cancel(data.draw(st.sampled_from(list(self.engine.waiting))))

    @precondition(lambda self: self.engine.tickets)
    @rule(data=st.data())
    def release(self, data: Any) -> None:
        self.engine.release(data.draw(st.sampled_from(list(self.engine.tickets))))

    @precondition(lambda self: self.engine.tickets)
    @rule(data=st.data())
    def lose(self, data: Any) -> None:
        self.engine.lose(data.draw(st.sampled_from(list(self.engine.tickets))))

    @precondition(lambda self: self.engine.tickets)
    @rule(data=st.data(), name=st.sampled_from("abcz"))
    def assign(self, data: Any, name: str) -> None:
        self.engine.assign(data.draw(st.sampled_from(list(self.engine.tickets))), pod(name))

    @rule()
    def run_passes(self) -> None:
        self.engine.settle()

    @rule(seconds=st.sampled_from([0.25, 0.5, 1.0, 2.0, 7.0]), late=st.booleans())
    def pass_time(self, seconds: float, late: bool) -> None:
        self.engine.sleep(seconds, late=late)

    @rule(names=st.sets(st.sampled_from(PODS)))
    def change_pods(self, names: set[str]) -> None:
        self.engine.set_pods(sorted(names))

    @precondition(lambda self: not self.is_calm)
    @rule(fails=st.booleans())
    def change_locator(self, fails: bool) -> None:
        self.engine.fail_locator(fails)

    @rule(name=st.sampled_from(PODS), extra=st.sampled_from([0.0, 0.0, 0.4, 1.0]))
    def change_metrics(self, name: str, extra: float) -> None:
        self.engine.set_extra(name, extra)

    @precondition(lambda self: not self.is_calm)
    @rule(name=st.sampled_from(PODS), fails=st.booleans())
    def change_detector(self, name: str, fails: bool) -> None:
        self.engine.fail_detector(name, fails)

    @precondition(lambda self: self.engine.pool.is_keyed and not self.is_calm)
    @rule(fails=st.booleans())
    def change_mood(self, fails: bool) -> None:
        Moody.fails = self.engine.is_moody = fails
        self.engine.trusts_fairness = False

    @precondition(lambda self: self.engine.waiting)
    @rule(data=st.data(), subset=st.sampled_from(SUBSETS))
    def refresh(self, data: Any, subset: frozenset[str] | None) -> None:
        self.engine.refresh(data.draw(st.sampled_from(list(self.engine.waiting))), subset)

    @precondition(lambda self: not self.is_calm)
    @rule(config=configs())
    def reconfigure(self, config: FlowControlConfig) -> None:
        self.engine.trusts_fairness = False
        self.engine.reconfigure(config)

    @precondition(lambda self: not self.is_calm)
    @rule(often=st.integers(0, 15))
    def close(self, often: int) -> None:
        if not often:
            self.engine.close()

    def teardown(self) -> None:
        if not hasattr(self, "engine"):
            return
        try:
            self.finish()
        finally:
            for ticket in self.engine.tickets:  # after a failure: no warning may hide it
                ticket.is_released = True

    def finish(self) -> None:
        Moody.fails = self.engine.is_moody = False
        self.engine.settle()
        self.engine.close()
        for ticket in list(self.engine.tickets):
            self.engine.release(ticket)
        assert self.engine.processor.stats().in_flight == 0
        assert self.engine.processor.stats().overcommitted == 0


class CalmMachine(ProcessorMachine):
    """Few pods, many who want them, and nothing that fails: here order and fairness are put to the test."""

    is_calm = True

    @initialize(  # type: ignore[override]
        keyed=st.booleans(),
        holdback=st.booleans(),
        room=st.sampled_from([1, 2]),
        batch=st.sampled_from([1, 1_000]),
        shares=st.sampled_from([None, {-1: 0.2, 0: 0.3}, {-1: 0.25, 0: 0.25, 1: 0.25, 2: 0.25}, {0: 0.9, 1: 0.1}]),
    )
    def start(self, keyed: bool, holdback: bool, room: int, batch: int, shares: dict[int, float] | None) -> None:
        Moody.fails = False
        limits = {"max_requests": None, "max_bytes": None}
        config = FlowControlConfig(
            [PriorityBandConfig(p, **limits) for p in (-1, 0, 1, 2)],
            max_dispatch_batch=batch,
            band_shares=shares and BandShares(shares),
        )
        self.engine = Engine(config, keyed=keyed, holdback=holdback, room=room)
        self.engine.set_pods("ab")

    @precondition(lambda self: len(self.engine.waiting) < MANY)
    @rule(flows=st.lists(st.sampled_from("xyz"), min_size=2, max_size=7), subset=st.sampled_from(SUBSETS[:3]))
    def submit_crowd(self, flows: list[str], subset: frozenset[str] | None) -> None:
        for flow in flows:
            self.engine.submit(Asked(flow, subset=subset))

    @precondition(lambda self: self.engine.tickets)
    @rule(count=st.integers(2, 9))
    def serve_some(self, count: int) -> None:
        for _ in range(count):
            if self.engine.tickets:
                self.engine.release(next(iter(self.engine.tickets)))
                self.engine.settle()


# The model looks at every pair of requests after every step: more examples find more than longer ones.
ProcessorMachine.TestCase.settings = settings(max_examples=3 * settings.default.max_examples, stateful_step_count=30)
CalmMachine.TestCase.settings = settings(stateful_step_count=20)
test_the_processor_keeps_every_invariant = ProcessorMachine.TestCase
test_order_and_fairness_hold_where_many_want_the_same = CalmMachine.TestCase
