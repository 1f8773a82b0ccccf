"""The model is worth its keep: of an engine that goes wrong in any one way, it says so."""

import math
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import attrs
import pytest

from flowgate import BandShares, FlowControlConfig, PriorityBandConfig, QueueOutcome, Ticket
from flowgate.contracts import (
    Dispatched,
    Dropped,
    Enqueued,
    PluginFailed,
    Pod,
    PodLoad,
    QueueItem,
    Released,
    SafeQueue,
)
from flowgate.policies import Fcfs, StartTimeFairQueuing
from flowgate.testing._machine_engine import CheckedEngine
from flowgate.testing._model_parts import Holdback, MovableRequest

Lie = Callable[[], object]
LIES: dict[str, tuple[str, Lie]] = {}
ENGINES: list[CheckedEngine] = []
BANDS = FlowControlConfig([PriorityBandConfig(priority) for priority in (-1, 0, 1)], default_band=None)


def lie(message: str) -> Callable[[Lie], Lie]:
    """Register what an engine may do wrong, and what is said of it."""

    def register(tell: Lie) -> Lie:
        LIES[tell.__name__] = message, tell
        return tell

    return register


@pytest.fixture(autouse=True)
def no_ticket_warns() -> Iterator[None]:
    """What is left of an engine that went wrong is left alone."""
    yield
    while ENGINES:
        ENGINES.pop().abandon()


# -- engines to lie about


def engine(config: FlowControlConfig = BANDS, pods: str = "", **parts: Any) -> CheckedEngine:
    made = CheckedEngine(config, **{"room": 1, **parts})
    made.set_pods(pods)
    ENGINES.append(made)
    return made


def one_band(**settings: Any) -> FlowControlConfig:
    return FlowControlConfig([PriorityBandConfig(0, **settings)], default_band=None)


def ask(made: CheckedEngine, name: str = "x", priority: int = 0, **request: Any) -> MovableRequest:
    request = MovableRequest(name, priority, **request)
    made.submit(request)
    return request


def full(config: FlowControlConfig = BANDS, **parts: Any) -> CheckedEngine:
    """An engine with one pod, and one ticket that fills it."""
    made = engine(config, "a", **parts)
    ask(made)
    return made


def waits(config: FlowControlConfig = BANDS, **parts: Any) -> tuple[CheckedEngine, MovableRequest]:
    """An engine without pods, and a request that waits."""
    made = engine(config, **parts)
    return made, ask(made)


def say(made: CheckedEngine, *events: Any) -> None:
    made.processor.ledger.events.extend(events)
    made.replay()


def went(
    made: CheckedEngine,
    request: MovableRequest,
    *pods: str,
    waited: bool = True,
    wait: float = 0.0,
    charged: str | None = None,
) -> Dispatched:
    """Say that a request went to a pod, while others were offered, too."""
    states = [made.processor.shard.pods.see(made.pool.pod(name)) for name in pods]
    ticket = Ticket(SimpleNamespace(), request, None, (tuple(states),), wait, made.model.now)  # type: ignore[arg-type]
    ticket.is_released = True
    if states:
        ticket.first = states[0]
        ticket.state = made.processor.shard.pods.see(made.pool.pod(charged or pods[0]))
    return Dispatched(made.model.now, request, request.flow_key(), request.size, wait, waited, ticket)


def dropped(made: CheckedEngine, request: MovableRequest, outcome: QueueOutcome, waited: float = 0.0) -> Dropped:
    return Dropped(made.model.now, request, request.flow_key(), request.size, waited, outcome, "so they say", None)


def appear(made: CheckedEngine, pods: str) -> None:
    """Let there be pods, and the engine hear nothing of it."""
    made.pool.names = tuple(pods)


# -- counts


@lie("2 requests are counted as queued, and 1 wait")
def queued_requests_drift() -> None:
    made, _ = waits()
    made.processor.shard.registry.queued += 1
    made.replay()


@lie("7 bytes are counted as queued, and 0 wait")
def queued_bytes_drift() -> None:
    made = engine()
    made.processor.shard.registry.queued_bytes += 7
    made.replay()


@lie("outcomes are counted as .*, and were {}")
def outcomes_drift() -> None:
    made = engine()
    made.processor.shard.registry.outcomes[QueueOutcome.DISPATCHED] += 1
    made.replay()


@lie("1 requests were submitted, and 0 wait or ended: one was lost or doubled")
def request_is_lost() -> None:
    made = engine()
    made.model.submitted[0] += 1
    made.replay()


@lie("still wait, and have an outcome")
def waiting_request_has_an_outcome() -> None:
    made, request = waits()
    made.waiting[request].result = dropped(made, request, QueueOutcome.EVICTED_TTL)
    made.replay()


@lie(r"band 0 counts \(1, 3\) requests and bytes, and \(0, 0\) wait")
def band_counts_drift() -> None:
    made = engine()
    made.processor.shard.registry.bands[0].queued += 1
    made.processor.shard.registry.bands[0].queued_bytes += 3
    made.replay()


@lie("band 0 counts the outcomes")
def band_outcomes_drift() -> None:
    made, _ = waits()
    made.processor.shard.registry.bands[0].outcomes[QueueOutcome.DISPATCHED] += 1
    made.replay()


# -- tickets


@lie("1 tickets are counted as live, and 0 are")
def tickets_drift() -> None:
    made = engine()
    made.processor.shard.pods.in_flight += 1
    made.replay()


@lie("1 tickets are counted as overcommitted, and 0 are")
def overcommitment_drifts() -> None:
    made = engine()
    made.processor.shard.pods.overcommitted += 1
    made.replay()


@lie("should be charged to")
def charge_is_elsewhere() -> None:
    made = full()
    next(iter(made.tickets)).state = made.processor.shard.pods.see(made.pool.pod("b"))
    made.replay()


@lie("a counts 2 tickets, and has 1")
def load_drifts() -> None:
    made = full()
    state = next(iter(made.tickets)).state
    assert state is not None
    state.in_flight += 1
    made.replay()


@lie("was released twice")
def ticket_is_released_twice() -> None:
    made = full()
    ticket = next(iter(made.tickets))
    say(made, *[Released(0.0, ticket, "ok", 0.0)] * 2)


@lie("was held for 0 s, not 5")
def ticket_was_held_otherwise() -> None:
    made = full()
    say(made, Released(0.0, next(iter(made.tickets)), "ok", 5.0))


@lie("was lost, and still holds its slot")
def lost_ticket_is_forgotten() -> None:
    made = full()
    made.processor.lose = lambda ticket: None
    made.lose(next(iter(made.tickets)))


# -- work and rest


@lie("work was left undone: .* waits for a, which is full to 0 and open up to 1, and no pass is pending")
def change_goes_unheard() -> None:
    made, _ = waits()
    appear(made, "a")
    made.replay()


@lie("nobody waits, and a pass is pending")
def pass_is_pending_for_nobody() -> None:
    made = full()
    made.processor.lose(next(iter(made.tickets)))
    made.replay()


@lie("nobody waits, and the engine wants to be called at 5 s")
def idle_engine_has_an_alarm() -> None:
    made, request = waits()
    item = made.waiting[request]
    made.cancel(request)
    made.processor.shard.deadlines._push(5.0, item)
    made.replay()


@lie("deadlines are remembered for 1 requests that wait")
def deadlines_pile_up() -> None:
    made, request = waits()
    for _ in range(200):
        made.processor.shard.deadlines._push(math.inf, made.waiting[request])
    made.replay()


@lie("flows are kept, and at most 100003 may be")
def flows_pile_up() -> None:
    made = engine()
    made.processor.shard.registry.flow_count += 1_000_000
    made.replay()


@lie("the engine has run 10000 passes at 0 s, and wants more")
def passes_never_end() -> None:
    made, _ = waits()
    made._advance = lambda: None
    made.processor.shard.must_reread = True
    made.settle()


@lie("was due at 60 s, and still waits at 60 s")
def deadline_is_missed() -> None:
    made, _ = waits()
    made.processor.shard.keep_time = lambda now: None
    made.sleep(60.0, late=True)


# -- arrivals


@lie("was queued, and does not wait")
def commitment_is_not_told() -> None:
    made = engine()
    made.replay = lambda: None
    ask(made)


@lie("has candidates when it is queued")
def candidates_are_denied() -> None:
    made = full()
    say(made, Enqueued(0.0, made.waiting[ask(made)], False))


@lie("is to cost 1, not 2")
def cost_is_not_the_policys() -> None:
    made, request = waits()
    made.waiting[request].cost = 2
    say(made, Enqueued(0.0, made.waiting[request], False))


@lie("the queue 'ListQueue' failed: ValueError")
def plugin_fails() -> None:
    say(engine(), PluginFailed(0.0, "queue", "ListQueue", ValueError("why")))


# -- dispatches


@lie("went twice, or is not said truly to have waited")
def request_goes_twice() -> None:
    made, request = waits()
    say(made, went(made, request, "a", waited=False))


@lie("went to no pod")
def request_goes_nowhere() -> None:
    made, request = waits()
    say(made, went(made, request))


@lie("went to a, which is no candidate of it")
def request_goes_astray() -> None:
    made, request = waits()
    say(made, went(made, request, "a"))


@lie("went to a, which is full to 0.5, and its best candidate to 0")
def better_candidate_is_left() -> None:
    made, request = waits()
    appear(made, "ab")
    made.gauge.set_extra("a", 0.5)
    say(made, went(made, request, "a"))


@lie("went to a, which is full to 1 and open up to 1")
def full_pod_gets_more() -> None:
    made = full()
    request = ask(made)
    say(made, went(made, request, "a"))


@lie("went to a, which is full to 1 and open up to 1")
def ceiling_is_ignored_at_once() -> None:
    made = full(usage_limit=Holdback())
    say(made, went(made, MovableRequest("y"), "a", waited=False))


@lie("a was charged, and is not the ticket's first candidate")
def charged_pod_does_not_come_first() -> None:
    made, request = waits()
    appear(made, "ab")
    say(made, went(made, request, "b", charged="a"))


@lie("was offered b, which is full")
def full_pod_is_offered() -> None:
    made, request = waits()
    appear(made, "ab")
    made.gauge.set_extra("b", 1.0)
    say(made, went(made, request, "a", "b"))


@lie("got a slot of a, for which .*priority=1.* waited")
def higher_band_is_passed_by() -> None:
    made, request = waits()
    ask(made, priority=1)
    appear(made, "a")
    say(made, went(made, request, "a"))


@lie("of a band that holds back all lower ones")
def hold_is_ignored() -> None:
    made, request = waits(attrs.evolve(BANDS, hol_scope="pool"))
    ask(made, priority=1, subset=frozenset("z"))
    appear(made, "a")
    say(made, went(made, request, "a"))


@lie("which its dispatch policy selects")
def request_is_overtaken_in_its_flow() -> None:
    made, _ = waits()
    second = ask(made)
    appear(made, "a")
    say(made, went(made, second, "a"))


@lie("waited 0 s, not 5")
def wait_is_not_what_it_was() -> None:
    made, request = waits()
    appear(made, "a")
    say(made, went(made, request, "a", wait=5.0))


@lie("did not wait, and is said to have waited 5 s")
def no_wait_is_a_wait() -> None:
    made = engine(pods="a")
    say(made, went(made, MovableRequest("x"), "a", waited=False, wait=5.0))


@lie("barged ahead of")
def arrival_barges() -> None:
    made, _ = waits()
    appear(made, "a")
    say(made, went(made, MovableRequest("y"), "a", waited=False))


@lie("a request of band 7 was taken, and there is no such band")
def request_of_no_band_goes() -> None:
    made = engine(pods="a")
    say(made, went(made, MovableRequest("y", 7), "a", waited=False))


# -- rejections and evictions


def reject(
    made: CheckedEngine, outcome: QueueOutcome, request: MovableRequest | None = None, waited: float = 0.0
) -> None:
    say(made, dropped(made, request or MovableRequest("y"), outcome, waited))


@lie("was rejected as rejected_invalid without reason")
def valid_request_is_invalid() -> None:
    reject(engine(), QueueOutcome.REJECTED_INVALID)


@lie("was rejected as rejected_shutdown without reason")
def open_engine_is_closed() -> None:
    reject(engine(), QueueOutcome.REJECTED_SHUTDOWN)


@lie("could have gone to a at once, and was rejected")
def open_pod_is_not_used() -> None:
    reject(engine(one_band(max_requests=0), "a"), QueueOutcome.REJECTED_CAPACITY)


@lie("no limit is met, and .* was rejected")
def limit_is_not_met() -> None:
    reject(engine(), QueueOutcome.REJECTED_NO_PODS)


@lie("has .* as candidates, and was rejected as rejected_no_pods")
def pods_are_denied() -> None:
    reject(full(one_band(max_requests=0)), QueueOutcome.REJECTED_NO_PODS)


@lie("was rejected, and others were to make room for it")
def lower_band_does_not_make_room() -> None:
    made, _ = waits(attrs.evolve(BANDS, max_requests=1))
    reject(made, QueueOutcome.REJECTED_NO_PODS, MovableRequest("y", 1))


@lie("was rejected, and others were to make room for it")
def longest_flow_does_not_make_room() -> None:
    made, _ = waits(one_band(max_requests=3, when_full="longest-flow"))
    ask(made)
    ask(made)
    reject(made, QueueOutcome.REJECTED_NO_PODS)


@lie("was rejected, and others were to make room for it")
def largest_flow_does_not_make_room() -> None:
    made = engine(one_band(max_bytes=40, when_full="longest-flow"))
    for size in (10, 15, 15):
        ask(made, size=size)
    reject(made, QueueOutcome.REJECTED_NO_PODS, MovableRequest("y", size=5))


@lie("a request of band 7 was taken, and there is no such band")
def rejection_of_no_band() -> None:
    reject(engine(), QueueOutcome.REJECTED_SHED, MovableRequest("y", 7))


@pytest.mark.parametrize("outcome", ["REJECTED_SHED", "REJECTED_TOO_LARGE", "REJECTED_INFEASIBLE", "DISPATCHED"])
def test_model_notices_a_rejection_for_nothing(outcome: str) -> None:
    """A band that queues sheds nobody, what fits is not too large, and only a band that is told to refuses waits."""
    with pytest.raises(AssertionError, match=f"was rejected as {outcome.lower()} without reason"):
        reject(engine(), QueueOutcome[outcome])


@lie("was evicted, and did not wait")
def stranger_is_evicted() -> None:
    reject(engine(), QueueOutcome.EVICTED_TTL)


@lie("waited 0 s, not 5")
def rejection_took_its_time() -> None:
    reject(engine(one_band(max_requests=0)), QueueOutcome.REJECTED_NO_PODS, waited=5.0)


@lie("left at 0 s, and its time was not up before 60 s")
def request_leaves_early() -> None:
    made, request = waits()
    reject(made, QueueOutcome.EVICTED_NO_PODS, request)


@lie("left 2 s late")
def request_leaves_late() -> None:
    made, request = waits()
    made.model.now = 62.0
    reject(made, QueueOutcome.EVICTED_NO_PODS, request, 62.0)


@lie("was cancelled, and its outcome is None")
def cancellation_goes_unheard() -> None:
    made, request = waits()
    made.processor.cancel = lambda item, now: None
    made.cancel(request)


@lie("the engine closed, and .* still waits")
def somebody_waits_at_a_closed_door() -> None:
    made, _ = waits()
    made.processor.close = lambda now: None
    made.close()


# -- displacement


def displace(made: CheckedEngine, victim: MovableRequest, arrival: MovableRequest | None) -> None:
    made._room = type(made._room)(made.model, arrival)
    reject(made, QueueOutcome.EVICTED_DISPLACED, victim)


@lie("was displaced, and nobody arrived")
def nobody_displaces() -> None:
    made, request = waits()
    displace(made, request, None)


@lie("was displaced though .* had room enough")
def displacement_without_need() -> None:
    made, request = waits()
    displace(made, request, MovableRequest("y", 1))


@lie("of a lower band")
def lower_band_displaces() -> None:
    made, request = waits(attrs.evolve(BANDS, max_requests=1))
    displace(made, request, MovableRequest("y", -1))


@lie("was displaced, and its band is not to be")
def spared_band_is_displaced() -> None:
    bands = [PriorityBandConfig(0, displace=False), PriorityBandConfig(1)]
    made, request = waits(FlowControlConfig(bands, max_requests=1))
    displace(made, request, MovableRequest("y", 1))


@lie("the newest of the lowest band")
def oldest_is_displaced() -> None:
    made, request = waits(attrs.evolve(BANDS, max_requests=2))
    ask(made)
    displace(made, request, MovableRequest("y", 1))


@lie("of its own band, which rejects when it is full")
def own_band_is_displaced() -> None:
    made, request = waits(one_band(max_requests=1))
    displace(made, request, MovableRequest("y"))


@lie("and another flow of its band is longer")
def shorter_flow_is_displaced() -> None:
    made, request = waits(one_band(max_requests=3, when_full="longest-flow"))
    for _ in range(2):
        ask(made, "y", size=1)
    displace(made, request, MovableRequest("z"))


@lie("the newest of its flow")
def oldest_of_its_flow_is_displaced() -> None:
    made, request = waits(one_band(max_requests=2, when_full="longest-flow"))
    ask(made)
    displace(made, request, MovableRequest("y"))


@lie("displaced .*, of a flow that is no longer than its own")
def equal_flow_is_displaced() -> None:
    made, request = waits(one_band(max_requests=1, when_full="longest-flow"))
    displace(made, request, MovableRequest("y", size=1))


@lie("displaced .*, of a flow that is no larger than its own")
def equally_large_flow_is_displaced() -> None:
    made = engine(one_band(max_bytes=10, when_full="longest-flow"))
    displace(made, ask(made, size=10), MovableRequest("y", size=5))


# -- shares and turns

SHARES = attrs.evolve(BANDS, band_shares=BandShares({0: 0.5}))


@lie("went before a higher band, and its own is owed 0 slots")
def band_without_a_share_goes_first() -> None:
    made, _ = waits(SHARES)
    low = ask(made, priority=-1)
    appear(made, "a")
    say(made, went(made, low, "a"))


@lie("band 0 lags 1.5 slots behind its share, and at most 1 are promised")
def share_is_not_kept() -> None:
    made, _ = waits(SHARES, room=9)
    high = [ask(made, priority=1) for _ in range(3)]
    appear(made, "a")
    made._counts.check = lambda processor, stats: None
    say(made, *[went(made, request, "a") for request in high])


@lie("round-robin: while flows 'x' and 'y' of band 0 both waited, one of them got 2 more per weight than the other")
def turn_is_skipped() -> None:
    made, first = waits(room=9)
    second, _, _ = ask(made), ask(made), ask(made, "y")
    appear(made, "a")
    say(made, *[went(made, request, "a") for request in (first, second)])


@lie("of the lanes .* of band 0, which both waited for a, one got 3 requests per waiting flow more than the other")
def lane_is_passed_over() -> None:
    made, first = waits(room=9)
    second, third, _ = ask(made), ask(made), ask(made, "y", subset=frozenset("a"))
    appear(made, "a")
    made._note_waiting()
    say(made, *[went(made, request, "a") for request in (first, second, third)])


class Mute:
    """A detector that never answers."""

    def saturation(self, pod: Pod, load: PodLoad) -> float:
        raise RuntimeError(f"no word of {pod.name}")


def test_model_takes_a_pod_for_full_whose_detector_fails() -> None:
    """Where the test lets a detector fail, nobody goes, and that is right."""
    made = engine(pods="a", detector=Mute())
    made.may_fail.add("detector")
    request = ask(made)
    made.settle()
    assert list(made.waiting) == [request]
    made.finish()


def test_request_has_a_name() -> None:
    """What a ticket says of its request is told as well."""
    made = full()
    assert [ticket.request_id for ticket in made.tickets] == ["x@0"]


class NewestFirst(Fcfs):
    """A dispatch policy that does not select the head of its queue."""

    def select_item(self, queue: SafeQueue) -> QueueItem | None:
        return queue.peek_tail()


def test_model_expects_less_where_the_head_of_a_queue_is_passed_by() -> None:
    """A bound is computed from the largest costs; each counts twice where requests pass the head of their queue by."""
    made = full(one_band(dispatch=NewestFirst(), fairness=StartTimeFairQueuing()))
    first = ask(made, size=7)
    ask(made, size=7)
    made.release(next(iter(made.tickets)))
    made.settle()
    assert list(made.waiting) == [first]
    tally = made._turns._tallies[made.model.group(first), first.flow_key()]
    assert (tally.skips, tally.max_cost) == (True, 14)


@pytest.mark.parametrize("name", LIES)
def test_model_notices(name: str) -> None:
    """Whatever one part of the engine does wrong, an AssertionError names it."""
    message, tell = LIES[name]
    with pytest.raises(AssertionError, match=message):
        tell()
