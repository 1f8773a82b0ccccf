import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any

import attrs
import pytest

from flowgate import FlowControlConfig, Pod, PriorityBandConfig, QueueOutcome, RequestEvicted
from flowgate.admission import LegacyAdmissionController
from flowgate.contracts import AdmissionTicket, FlowControlRequest
from flowgate.locators import StaticPodLocator
from flowgate.saturation import ConcurrencyDetector
from flowgate.testing import make_pods, run_in_virtual_time, until_blocked
from flowgate_epp.contracts import Decision, Inbound, Refusal
from flowgate_epp.director import Director, DirectorSettings, StaticObjectives
from flowgate_epp.scheduling import (
    InferenceRequest,
    LabelFilter,
    LeastInFlight,
    MaxScore,
    Scheduler,
    SchedulerSettings,
    WeightedScorer,
)

TENANT = {"x-llm-d-inference-fairness-id": "t", "x-request-id": "id-1", "x-llm-d-inference-objective": "chat"}
CHAT = StaticObjectives({"chat": 1})
OLD = DirectorSettings(answers="pr-1952")


def in_virtual_time(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    # Not functools.wraps: pytest would look at the signature of the function that it wraps, and await it.
    def run(new_rig: Any) -> None:
        run_in_virtual_time(test, new_rig)

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    return run


@attrs.define
class SchedulerOf:
    """A scheduler that answers what a test says, and counts picks that were not ended."""

    answer: Callable[[Sequence[Pod]], Any]
    open: Counter[str] = attrs.field(factory=Counter)

    def schedule(self, request: InferenceRequest, candidates: Sequence[Pod]) -> Pod | None:
        pod: Pod | None = self.answer(candidates)
        if pod is not None:
            self.open[pod.name] += 1
        return pod

    def closed(self, pod: Pod) -> None:
        self.open[pod.name] -= 1


def raises(*_: object) -> Any:
    raise LookupError("broken")


# -- admitted


@in_virtual_time
async def test_a_request_goes_to_a_pod_and_holds_its_slot_until_it_is_closed(new_rig: Any) -> None:
    async with new_rig(1) as rig:
        reservation = await rig.reserve(TENANT)
        assert reservation.endpoint == "10.0.0.1:8000"
        assert rig.controller.stats().in_flight == 1
        reservation.responded(200, "10.0.0.1:8000")
        reservation.close(is_complete=True)
        assert rig.controller.stats().in_flight == 0
        assert rig.results == ["ok"]


@in_virtual_time
async def test_a_request_is_held_until_a_pod_comes(new_rig: Any) -> None:
    async with new_rig(0) as rig:
        task = rig.start(TENANT)
        await asyncio.sleep(30)
        assert not task.done()
        rig.pods.add()
        reservation = await task
        assert isinstance(reservation, object)
        assert reservation.endpoint == "10.0.0.1:8000"
        reservation.close(is_complete=False)
        assert rig.decisions[0].queue_wait == 30.0


@in_virtual_time
async def test_the_charge_follows_the_schedulers_choice(new_rig: Any) -> None:
    async with new_rig(3, scheduler=SchedulerOf(lambda pods: pods[-1])) as rig:
        reservation = await rig.reserve()
        assert reservation.endpoint == "10.0.0.3:8000"
        assert rig.decisions[0].pod is rig.pods["pod-3"]
        reservation.close(is_complete=False)
        assert [event.ticket.pod for event in rig.recorder.events if hasattr(event, "result")] == [rig.pods["pod-3"]]


@in_virtual_time
async def test_requests_are_spread_and_no_pod_holds_more_than_its_slots(new_rig: Any) -> None:
    async with new_rig(4, slots=2) as rig:
        held = [await rig.reserve() for _ in range(8)]
        assert Counter(each.endpoint for each in held) == {f"10.0.0.{n}:8000": 2 for n in range(1, 5)}
        assert rig.controller.stats().overcommitted == 0
        for each in held:
            each.close(is_complete=False)


@in_virtual_time
async def test_a_scheduler_may_choose_any_pod_that_the_locator_finds(new_rig: Any) -> None:
    async with new_rig(2, slots=1, scheduler=SchedulerOf(lambda pods: make_pods(2)[0])) as rig:
        held = [await rig.reserve(), await rig.reserve()]
        assert [each.endpoint for each in held] == ["10.0.0.1:8000"] * 2
        assert rig.controller.stats().overcommitted == 1
        for each in held:
            each.close(is_complete=False)


@in_virtual_time
async def test_a_full_subset_hint_narrows_the_pods(new_rig: Any) -> None:
    hint = {"envoy.lb.subset_hint": {"x-gateway-destination-endpoint-subset": ["10.0.0.2:8000"]}}
    async with new_rig(3) as rig:
        for _ in range(5):
            reservation = await rig.reserve(metadata=hint)
            assert reservation.endpoint == "10.0.0.2:8000"
            reservation.close(is_complete=False)


@in_virtual_time
async def test_a_hint_of_pods_that_are_gone_waits_alone_and_goes_when_one_comes(new_rig: Any) -> None:
    hint = {"envoy.lb.subset_hint": {"x-gateway-destination-endpoint-subset": ["10.0.0.2:8000"]}}
    async with new_rig(1) as rig:
        stuck = rig.start(metadata=hint)
        lost = rig.start({"x-request-ttl-seconds": "5"}, metadata=hint)
        await until_blocked()
        (await rig.reserve()).close(is_complete=False)
        refusal = await lost
        assert isinstance(refusal, Refusal)
        assert (refusal.status, refusal.reason) == (503, "no-pods")
        rig.pods.add(address="10.0.0.2")
        reservation = await stuck
        assert reservation.endpoint == "10.0.0.2:8000"
        reservation.close(is_complete=False)


# -- refused


@in_virtual_time
async def test_time_that_is_over_is_answered_503_without_pods_and_429_with(new_rig: Any) -> None:
    async with new_rig(0, slots=1, config=FlowControlConfig(default_ttl=7, no_pods_ttl=9)) as rig:
        refusal = await rig.refuse(TENANT)
        assert (refusal.status, refusal.reason) == (503, "no-pods")
        assert refusal.headers["x-flowgate-dropped-reason"] == "no-pods"
        rig.pods.add()
        held = await rig.reserve()
        refusal = await rig.refuse(TENANT)
        assert (refusal.status, refusal.reason) == (429, "ttl-expired")
        assert "id-1" in refusal.message
        held.close(is_complete=False)
        assert [(each.outcome.name, each.status) for each in rig.decisions] == [
            ("EVICTED_NO_PODS", 503),
            ("DISPATCHED", 200),
            ("EVICTED_TTL", 429),
        ]
        assert rig.decisions[0].queue_wait == 9.0
        assert rig.decisions[2].queue_wait == 7.0


@in_virtual_time
async def test_a_full_band_is_answered_429_and_says_when_to_come_again(new_rig: Any) -> None:
    bands = (PriorityBandConfig(0, max_requests=1),)
    async with new_rig(1, slots=1, config=FlowControlConfig(bands=bands)) as rig:
        held, waiting = await rig.reserve(), rig.start()
        for _ in range(6):
            await asyncio.sleep(2)
            held.close(is_complete=True)
            held, waiting = await waiting, rig.start()
        await until_blocked()
        refusal = await rig.refuse()
        assert (refusal.status, refusal.reason) == (429, "saturated")
        assert int(refusal.headers["retry-after"]) >= 1
        held.close(is_complete=False)
        (await waiting).close(is_complete=False)


@in_virtual_time
async def test_who_migrates_gets_the_old_answers(new_rig: Any) -> None:
    bands = (PriorityBandConfig(0, max_requests=0),)
    async with new_rig(0, settings=OLD, config=FlowControlConfig(bands=bands)) as rig:
        refusal = await rig.refuse()
        assert (refusal.status, refusal.reason, refusal.headers) == (429, None, {})
        refusal = await rig.refuse({"x-request-ttl-seconds": "bad"})
        assert (refusal.status, refusal.reason, refusal.headers) == (400, None, {})
    async with new_rig(1, settings=OLD, scheduler=SchedulerOf(lambda pods: None)) as rig:
        refusal = await rig.refuse()
        assert (refusal.status, refusal.reason, refusal.headers) == (503, None, {})


@in_virtual_time
async def test_a_closed_controller_is_answered_503(new_rig: Any) -> None:
    async with new_rig(0) as rig:
        task = rig.start()
        await until_blocked()
        await rig.controller.aclose()
        for refusal in (await task, await rig.refuse()):
            assert (refusal.status, refusal.reason) == (503, "shutting-down")


@in_virtual_time
async def test_filters_that_leave_no_pod_are_answered_503(new_rig: Any) -> None:
    scheduler = Scheduler(SchedulerSettings(filters=(LabelFilter("model"),)))
    async with new_rig(2, scheduler=scheduler) as rig:
        refusal = await rig.refuse({**TENANT, "x-gateway-model-name": "llama"})
        assert (refusal.status, refusal.reason) == (503, "no-pods")
        assert refusal.headers == {"x-flowgate-dropped-reason": "no-pods"}
        assert refusal.message == "request 'id-1' was let go, but no pod there is may serve it"
        assert rig.results == ["ignored"]
        assert rig.decisions[0][8:] == (QueueOutcome.DISPATCHED, 503, "no-pods", refusal.message, None)


@in_virtual_time
async def test_a_pod_that_goes_before_its_request_is_placed_is_not_picked(new_rig: Any) -> None:
    async with new_rig(0, slots=1) as rig:
        tasks = [rig.start(), rig.start()]
        await until_blocked()
        rig.pods.scale(2)
        await asyncio.sleep(0)  # both were granted a slot, and neither knows of it
        assert rig.controller.stats().in_flight == 2
        rig.pods.remove("pod-2")
        answers = [await task for task in tasks]
        placed = [answer for answer in answers if not isinstance(answer, Refusal)]
        (refused,) = [answer for answer in answers if isinstance(answer, Refusal)]
        assert [each.endpoint for each in placed] == ["10.0.0.1:8000"]
        assert (refused.status, refused.reason) == (503, "no-pods")
        assert "the pods that it might have gone to are gone" in refused.message
        placed[0].close(is_complete=False)


@in_virtual_time
async def test_of_several_candidates_those_that_are_left_serve(new_rig: Any) -> None:
    async with new_rig(0) as rig:
        task = rig.start()
        await until_blocked()
        rig.pods.scale(3)
        await asyncio.sleep(0)
        assert rig.controller.stats().in_flight == 1
        rig.pods.remove("pod-1")
        rig.pods.remove("pod-2")
        reservation = await task
        assert reservation.endpoint == "10.0.0.3:8000"
        reservation.close(is_complete=False)


# -- plug-ins that fail


@in_virtual_time
async def test_a_scheduler_that_fails_loses_no_request(new_rig: Any) -> None:
    scheduler = SchedulerOf(raises)
    async with new_rig(2, scheduler=scheduler) as rig:
        for _ in range(3):
            (await rig.reserve()).close(is_complete=True)
        assert rig.director.faults.count == 3
        assert not scheduler.open


@in_virtual_time
async def test_a_scheduler_that_names_a_stranger_is_overruled(new_rig: Any) -> None:
    scheduler = SchedulerOf(lambda pods: Pod("stranger", "10.9.9.9", 8000))
    async with new_rig(2, scheduler=scheduler) as rig:
        reservation = await rig.reserve()
        assert reservation.endpoint == "10.0.0.1:8000"
        reservation.close(is_complete=False)
        assert rig.director.faults.count == 1
        assert scheduler.open == {"stranger": 1}  # it is not told of an end of what it did not pick


@in_virtual_time
async def test_a_locator_that_fails_at_the_second_look_loses_no_request(new_rig: Any) -> None:
    class Fails:
        def locate(self, metadata: object) -> Sequence[Pod]:
            raise LookupError("gone")

    async with new_rig(2, locator=lambda inner: Fails()) as rig:
        reservation = await rig.reserve()
        reservation.responded(200, "10.0.0.9:8000")
        reservation.close(is_complete=True)
        assert rig.director.faults.count == 2
        assert rig.results == ["ok"]


@in_virtual_time
async def test_an_answer_that_may_change_is_looked_at_anew(new_rig: Any) -> None:
    answers: list[Pod] = []

    class Mutable:
        def locate(self, metadata: object) -> Sequence[Pod]:
            return answers

    async with new_rig(1, locator=lambda inner: Mutable()) as rig:
        answers.extend(rig.pods)
        (await rig.reserve()).close(is_complete=False)
        answers.clear()
        assert (await rig.refuse()).status == 503


@pytest.mark.parametrize("before", ["list", "failure"])
def test_no_pods_are_no_pods_whatever_the_answer_before(before: str, new_rig: Any) -> None:
    answers: list[Any] = []

    class Scripted:
        def locate(self, metadata: object) -> Sequence[Pod]:
            answer = answers.pop(0)
            if answer is None:
                raise LookupError
            return answer

    async def main() -> None:
        async with new_rig(1, locator=lambda inner: Scripted()) as rig:
            answers[:] = [list(rig.pods) if before == "list" else None, ()]
            (await rig.reserve()).close(is_complete=False)
            assert (await rig.refuse()).status == 503

    run_in_virtual_time(main)


@in_virtual_time
async def test_what_a_failing_locator_left_unsaid_is_not_remembered(new_rig: Any) -> None:
    offered: list[int] = []

    def first(pods: Sequence[Pod]) -> Pod:
        offered.append(len(pods))
        return pods[0]

    class FailsOnce:
        def __init__(self, inner: Any) -> None:
            self.inner, self.calls = inner, 0

        def locate(self, metadata: Any) -> Sequence[Pod]:
            self.calls += 1
            if self.calls == 2:
                raise LookupError
            return self.inner.locate(metadata)

    async with new_rig(2, slots=1, scheduler=SchedulerOf(first), locator=FailsOnce) as rig:
        held = [await rig.reserve(), await rig.reserve()]
        for each in held:
            each.close(is_complete=False)
        (await rig.reserve()).close(is_complete=False)
        assert offered == [2, 1, 2]


def test_a_listener_that_fails_is_logged_once_and_harms_nobody(new_rig: Any, caplog: pytest.LogCaptureFixture) -> None:
    heard: list[Decision] = []

    async def main() -> None:
        async with new_rig(1, listeners=[raises, heard.append]) as rig:
            for _ in range(3):
                (await rig.reserve()).close(is_complete=False)
            assert rig.director.faults.count == 3

    run_in_virtual_time(main)
    assert len(heard) == 3
    messages = [record.getMessage() for record in caplog.records]
    assert messages == ["the listener raises failed: LookupError('broken'); further times are only counted"]


@pytest.mark.parametrize("where", ["scheduler", "listener"])
def test_not_even_an_interrupt_keeps_a_slot(where: str, new_rig: Any) -> None:
    def interrupt(*_: object) -> Any:
        raise KeyboardInterrupt

    scheduler = SchedulerOf(interrupt if where == "scheduler" else lambda pods: pods[0])

    async def main() -> None:
        async with new_rig(1, scheduler=scheduler, listeners=[interrupt]) as rig:
            with pytest.raises(KeyboardInterrupt):
                await rig.decide()
            assert rig.controller.stats().in_flight == 0
            assert rig.results == ["ignored"]
            assert sum(scheduler.open.values()) == 0

    run_in_virtual_time(main)


@in_virtual_time
async def test_a_scheduler_without_a_counter_will_do(new_rig: Any) -> None:
    class First:
        def schedule(self, request: InferenceRequest, candidates: Sequence[Pod]) -> Pod | None:
            return candidates[0]

    async with new_rig(1, scheduler=First()) as rig:
        (await rig.reserve()).close(is_complete=True)


# -- told


@in_virtual_time
async def test_what_was_decided_is_told(new_rig: Any) -> None:
    async with new_rig(1, objectives=CHAT) as rig:
        before = time.time()
        headers = {**TENANT, "traceparent": "00-1-1-01", "x-gateway-model-name": "llama"}
        reservation = await rig.reserve(headers)
        (told,) = rig.decisions
        assert before <= told.arrived_at <= time.time()
        expected = Decision(
            "id-1",
            headers,
            "t",
            1,
            "llama",
            told.arrived_at,
            0.0,
            0.0,
            QueueOutcome.DISPATCHED,
            200,
            None,
            "",
            rig.pods["pod-1"],
        )
        assert told == expected
        reservation.close(is_complete=False)


def test_the_wait_and_the_pick_are_told_apart(new_rig: Any) -> None:
    def slowly(pods: Sequence[Pod]) -> Pod:
        time.sleep(0.02)
        return pods[0]

    async def main() -> None:
        async with new_rig(0, scheduler=SchedulerOf(slowly)) as rig:
            task = rig.start()
            await asyncio.sleep(0.1)
            rig.pods.add()
            (await task).close(is_complete=False)
            told = rig.decisions[0]
            assert told.pick_seconds >= 0.02
            assert told.queue_wait >= 0.1
            assert told.arrived_at + told.queue_wait + told.pick_seconds <= time.time() + 0.001

    asyncio.run(main())


@in_virtual_time
async def test_a_request_without_an_id_gets_one(new_rig: Any) -> None:
    async with new_rig(1) as rig:
        for _ in range(2):
            (await rig.reserve()).close(is_complete=False)
        one, other = (each.request_id for each in rig.decisions)
        assert len(one) == len(other) == 32
        assert one != other


@in_virtual_time
async def test_a_client_that_hangs_up_is_told_of_and_its_cancellation_goes_on(new_rig: Any) -> None:
    async with new_rig(0) as rig:
        task = rig.start(TENANT)
        await asyncio.sleep(4)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert rig.controller.stats().queued_requests == 0
        told = rig.decisions[0]
        assert (told.outcome, told.status, told.reason) == (QueueOutcome.EVICTED_CANCELLED, 499, "cancelled")
        assert (told.queue_wait, told.pick_seconds, told.pod) == (4.0, 0.0, None)


def test_without_listeners_nothing_is_told_and_all_is_decided() -> None:
    async def main() -> None:
        locator = StaticPodLocator(make_pods(1))
        legacy = LegacyAdmissionController(locator, ConcurrencyDetector(1))
        director = Director(legacy, locator, Scheduler())
        reservation = await director.decide(Inbound({}))
        assert not isinstance(reservation, Refusal)
        reservation.close(is_complete=True)
        assert isinstance(await director.decide(Inbound({"x-request-ttl-seconds": "bad"})), Refusal)
        waits = Director(Never(), locator, Scheduler())
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(3):
                await waits.decide(Inbound({}))

    run_in_virtual_time(main)


class Never:
    async def admit(self, request: FlowControlRequest) -> AdmissionTicket:
        await asyncio.Event().wait()
        raise AssertionError("nobody sets it")


# -- the other admission controller


def test_the_legacy_controller_sheds_and_passes_everybody_else() -> None:
    async def main() -> None:
        pods = StaticPodLocator(make_pods(1))
        legacy = LegacyAdmissionController(pods, ConcurrencyDetector(1))
        director = Director(legacy, pods, Scheduler(), objectives=StaticObjectives({"batch": -1}))
        held = [await director.decide(Inbound({})) for _ in range(3)]
        shed = await director.decide(Inbound({"x-llm-d-inference-objective": "batch"}))
        assert isinstance(shed, Refusal)
        assert (shed.status, shed.reason) == (429, "shed")
        pods.set_pods([])
        empty = await director.decide(Inbound({}))
        assert isinstance(empty, Refusal)
        assert (empty.status, empty.reason) == (503, "no-pods")
        for each in held:
            assert not isinstance(each, Refusal)
            each.close(is_complete=True)

    run_in_virtual_time(main)


# -- every point of cancellation


async def cancel_one(rig: Any, turns: int) -> bool:
    """Let a pod come to three requests, cancel the first after so many turns; return whether it was too late."""
    tasks = [rig.start() for _ in range(3)]
    await asyncio.sleep(0)
    for turn in range(8):
        if turn == 1:
            rig.pods.add()
        if turn == turns:
            tasks[0].cancel()
        await asyncio.sleep(0)
    for task in tasks:  # each one's end lets the next one go
        with suppress(asyncio.CancelledError):
            answer = await task
            if not isinstance(answer, Refusal):
                answer.close(is_complete=False)
    assert [told.status for told in rig.decisions].count(499) == tasks[0].cancelled()
    assert len(rig.decisions) == len(tasks)
    return not tasks[0].cancelled()


def test_a_cancellation_at_any_point_keeps_no_slot_and_releases_none_twice(new_rig: Any) -> None:
    async def main(turns: int) -> bool:
        async with new_rig(0, slots=1) as rig:
            was_late = await cancel_one(rig, turns)
            stats = rig.controller.stats()
            assert stats.in_flight == 0
            assert len(rig.results) == stats.outcomes[QueueOutcome.DISPATCHED]
            return was_late

    late = [run_in_virtual_time(main, turns) for turns in range(8)]
    assert late == sorted(late)
    assert (late[0], late[-1]) == (False, True)


def test_a_storm_of_requests_and_hang_ups_leaves_nothing_behind(new_rig: Any) -> None:
    async def main(seed: int) -> None:
        chance = random.Random(seed)
        learner = LeastInFlight()
        scheduler = Scheduler(SchedulerSettings(scorers=(WeightedScorer(learner),), picker=MaxScore(chance)))
        async with new_rig(2, slots=2, scheduler=scheduler) as rig:

            async def client() -> None:
                await asyncio.sleep(chance.random())
                async with asyncio.timeout(chance.choice([0.0, 0.1, 2.0, 50.0])):
                    answer = await rig.decide({"x-request-ttl-seconds": chance.choice(["1", "30"])})
                if isinstance(answer, Refusal):
                    return
                try:
                    async with asyncio.timeout(chance.choice([0.5, 5.0])):
                        await asyncio.sleep(chance.random())
                    answer.responded(chance.choice([200, 429, 500]), answer.endpoint)
                finally:
                    answer.close(is_complete=True)

            async def pods() -> None:
                for _ in range(20):
                    await asyncio.sleep(0.2)
                    rig.pods.scale(chance.randrange(4))
                rig.pods.scale(2)

            await asyncio.gather(pods(), *(client() for _ in range(150)), return_exceptions=True)
            assert len(rig.decisions) == 150
            assert rig.controller.stats().in_flight == 0
            assert len(rig.results) == rig.controller.stats().outcomes[QueueOutcome.DISPATCHED]
            assert not learner._counts
            assert scheduler.faults.count == rig.director.faults.count == 0

    for seed in range(5):
        run_in_virtual_time(main, seed)


# -- what flow control's own error says


def test_an_error_of_an_admission_controller_is_told_with_its_retry_after() -> None:
    class Refuses:
        async def admit(self, request: FlowControlRequest) -> AdmissionTicket:
            raise RequestEvicted(
                "pushed out", outcome=QueueOutcome.EVICTED_DISPLACED, request_id=request.request_id(), retry_after=2.1
            )

    async def main() -> None:
        refusal = await Director(Refuses(), StaticPodLocator(), Scheduler()).decide(Inbound({}))
        headers = {"x-flowgate-dropped-reason": "displaced", "retry-after": "3"}
        assert refusal == Refusal(429, "displaced", "pushed out", headers)

    asyncio.run(main())


@in_virtual_time
async def test_requests_of_one_pass_do_not_choose_the_slots_of_each_other(new_rig: Any) -> None:
    """Three go in one pass, to a pod each, and all have all pods as candidates: whoever resumes first has its choice of
    what is open still, and no more. A pod never gets more requests than it has slots."""
    for _ in range(20):
        async with new_rig(0, slots=1) as rig:
            deciding = [asyncio.create_task(rig.reserve()) for _ in range(3)]
            await until_blocked()
            rig.pods.scale(3)
            reservations = await asyncio.gather(*deciding)
            assert len({reservation.endpoint for reservation in reservations}) == 3
            assert rig.controller.stats().overcommitted == 0
            for reservation in reservations:
                reservation.close(is_complete=True)
