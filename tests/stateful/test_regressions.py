"""Orders of events that went wrong once: each was found by the machine, and is told by name."""

import math
from collections import Counter

from flowgate import FlowControlConfig, PriorityBandConfig, QueueOutcome, Ticket
from flowgate.policies import EarliestDeadlineFirst, StaticUsageLimit
from flowgate.testing._machine_engine import CheckedEngine
from flowgate.testing._model_parts import Holdback, MovableRequest

ONE_BAND = FlowControlConfig(default_band=None)
NOWHERE: frozenset[str] = frozenset()


def test_an_arrival_that_runs_a_pass_looks_for_its_own_candidates_afterwards() -> None:
    """In a lane of one flow, the pass resolves others' candidates: they are not the arrival's."""
    band = PriorityBandConfig(0, max_requests=2, dispatch=EarliestDeadlineFirst())
    engine = CheckedEngine(FlowControlConfig([band], default_band=None, default_ttl=math.inf), keyed=False)
    engine.submit(MovableRequest("x", subset=frozenset("a")))
    engine.set_pods("abc")
    engine.submit(MovableRequest("x", ttl=3.0, subset=frozenset("bc")))
    last = MovableRequest("x", subset=NOWHERE)
    engine.submit(last)
    assert list(engine.waiting) == [last]
    engine.finish()


def test_an_id_that_waits_in_the_overflow_flow_is_not_overtaken_by_a_flow_of_its_own() -> None:
    """Within a flow arrival order holds, also while a table that is full gets room again."""
    engine = CheckedEngine(FlowControlConfig(max_flows=1))
    engine.submit(MovableRequest("kept"))
    first = MovableRequest("late")
    engine.submit(first)
    engine.cancel(next(iter(engine.waiting)))
    engine.submit(MovableRequest("late"))
    engine.set_pods("a")
    engine.settle()
    engine.finish()


def test_a_lane_that_comes_back_without_pods_does_not_go_by_the_alarm_of_when_it_had_some() -> None:
    """A request without pods leaves after no_pods_ttl, although the lane has a later cell from before."""
    engine = CheckedEngine(FlowControlConfig(default_ttl=5.0, no_pods_ttl=2.0), room=1)
    engine.set_pods("a")
    held = engine.submit(MovableRequest("x"))
    assert isinstance(held, Ticket)
    engine.submit(MovableRequest("x"))
    engine.cancel(next(iter(engine.waiting)))
    engine.set_pods("")
    engine.submit(MovableRequest("x"))
    engine.sleep(2.0)
    assert engine.model.ended[0, QueueOutcome.EVICTED_NO_PODS] == 1
    engine.release(held)


def test_ceilings_are_computed_again_when_candidates_were_resolved_in_the_pass() -> None:
    """What a lane of one flow names at last counts for the ceilings, though nothing went in between."""
    engine = CheckedEngine(FlowControlConfig(), keyed=False, usage_limit=Holdback())
    engine.set_pods("a")
    held = engine.submit(MovableRequest("x"))
    assert isinstance(held, Ticket)
    engine.submit(MovableRequest("y", priority=1, subset=NOWHERE))
    low = MovableRequest("z", priority=-1, subset=NOWHERE)
    engine.submit(low)
    engine.settle()
    engine.refresh(low, frozenset("a"))
    engine.settle()
    assert low not in engine.waiting
    engine.finish()


def test_a_new_order_within_flows_resolves_the_lanes_of_one_flow_again() -> None:
    """Where reconfiguration puts another request first, its candidates count from then on."""
    first = FlowControlConfig([PriorityBandConfig(0)], default_band=None)
    second = FlowControlConfig([PriorityBandConfig(0, dispatch=EarliestDeadlineFirst())], default_band=None)
    engine = CheckedEngine(first, keyed=False)
    engine.set_pods("b")
    engine.submit(MovableRequest("x", subset=frozenset("a")))
    hasty = MovableRequest("x", ttl=1.0, subset=frozenset("b"))
    engine.submit(hasty)
    engine.reconfigure(second)
    engine.settle()
    assert hasty not in engine.waiting
    engine.finish()


def test_a_failing_policy_in_a_lane_of_one_flow_sends_nobody_to_anothers_candidates() -> None:
    """The request that goes instead is resolved first: its candidates are its own."""

    class Fails(EarliestDeadlineFirst):
        def select_item(self, queue: object) -> None:
            raise RuntimeError("no choice today")

    band = PriorityBandConfig(0, dispatch=Fails())
    engine = CheckedEngine(FlowControlConfig([band], default_band=None), keyed=False)
    came_first = engine.submit(MovableRequest("x", subset=frozenset("a")))
    hasty = engine.submit(MovableRequest("x", ttl=1.0, subset=frozenset("b")))
    engine.processor.ledger.hears = frozenset()
    engine.set_pods("ab")
    while engine.processor.pending:
        engine.processor.advance(0.0)
    for item, name in ((came_first, "a"), (hasty, "b")):
        assert isinstance(item.result, Ticket)
        assert [pod.name for pod in item.result.candidates] == [name]
        item.result.release()
    assert engine.processor.ledger.failures["dispatch policy", "edf"] > 0


def test_lanes_that_come_back_together_have_banked_no_turns() -> None:
    """Whoever missed ten turns of others while it did not wait gets none of them afterwards."""
    engine = CheckedEngine(FlowControlConfig(default_ttl=math.inf), room=1)
    engine.set_pods("a")
    engine.submit(MovableRequest("x"))
    one, two, three = frozenset("a"), frozenset("ab"), frozenset("abc")
    engine.submit(MovableRequest("x", subset=one))
    for _ in range(10):
        engine.submit(MovableRequest("x", subset=two))
        engine.submit(MovableRequest("x", subset=three))
    for _ in range(13):
        engine.serve()
    for request in list(engine.waiting):
        engine.cancel(request)
    for _ in range(8):
        engine.submit(MovableRequest("x", subset=one))
        engine.submit(MovableRequest("x", subset=two))
    for _ in range(10):
        engine.serve()  # the model holds the two lanes to equal turns
    engine.finish()


def test_a_lane_that_is_chosen_for_a_closed_pod_has_not_had_its_turn() -> None:
    """A pod that is not full, and closed by its ceiling, costs nobody a turn."""
    engine = CheckedEngine(FlowControlConfig(default_ttl=math.inf), usage_limit=StaticUsageLimit(0.5))
    engine.set_pods("a")
    engine.submit(MovableRequest("x"))
    for _ in range(8):
        engine.submit(MovableRequest("x", subset=frozenset("a")))
        engine.submit(MovableRequest("x", subset=frozenset("ab")))
    for _ in range(10):
        engine.serve()
    assert Counter(request.subset for request in engine.waiting) == {frozenset("a"): 3, frozenset("ab"): 3}
    engine.finish()
