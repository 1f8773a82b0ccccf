"""Bad values, from users, requests and plug-ins: a clear error or the stated fallback, and nothing lost."""

import contextlib
import math
from collections.abc import Mapping, Sequence
from typing import Any

import anyio
import pytest

from flowgate import (
    FlowControlConfig,
    FlowControlError,
    FlowController,
    FlowKey,
    Pod,
    PodLoad,
    PodMetrics,
    PriorityBandConfig,
    QueueOutcome,
    Request,
    RequestRejected,
)
from flowgate.contracts import QueueItem, SafeQueue
from flowgate.locators import StaticPodLocator
from flowgate.policies import BestHead, EarliestDeadlineFirst, Fcfs
from flowgate.queues import ListQueue
from flowgate.saturation import ConcurrencyDetector
from tests.support import POD_A, POD_B, CallDetector, Callers, Core, Recorder, assert_books, assert_idle, settle

pytestmark = pytest.mark.anyio

NAN, INF = math.nan, math.inf


# -- what users write down


@pytest.mark.parametrize(
    ("values", "error"),
    [
        ({"flow_id": ""}, ValueError),
        ({"flow_id": 7}, TypeError),
        ({"flow_id": None}, TypeError),
        ({"flow_id": ["a"]}, TypeError),
        ({"priority": "1"}, TypeError),
        ({"priority": 1.0}, TypeError),
        ({"priority": True}, TypeError),
        ({"priority": NAN}, TypeError),
        ({"byte_size": -1}, ValueError),
        ({"byte_size": 1.0}, TypeError),
        ({"byte_size": NAN}, TypeError),
        ({"byte_size": True}, TypeError),
        ({"byte_size": "9"}, TypeError),
        ({"byte_size": None}, TypeError),
        ({"ttl": 0}, ValueError),
        ({"ttl": -1.0}, ValueError),
        ({"ttl": NAN}, ValueError),
        ({"ttl": INF}, ValueError),
        ({"ttl": True}, TypeError),
        ({"ttl": "1"}, TypeError),
        ({"metadata": None}, TypeError),
        ({"metadata": [("a", 1)]}, TypeError),
        ({"request_id": 7}, TypeError),
    ],
)
def test_a_request_refuses_bad_values(values: Mapping[str, Any], error: type[Exception]) -> None:
    """A bad value is refused where it is written, with the value in the message."""
    with pytest.raises(error) as caught:
        Request(**{"flow_id": "a", **values})
    ((name, value),) = values.items()
    assert name.replace("_", " ") in str(caught.value).replace("_", " ")
    assert value == "" or repr(value) in str(caught.value)


@pytest.mark.parametrize(
    ("values", "error"),
    [
        ({"max_requests": -1}, ValueError),
        ({"max_requests": 1.5}, TypeError),
        ({"max_bytes": NAN}, TypeError),
        ({"max_bytes": True}, TypeError),
        ({"default_ttl": 0}, ValueError),
        ({"default_ttl": -1}, ValueError),
        ({"default_ttl": NAN}, ValueError),
        ({"default_ttl": None}, TypeError),
        ({"default_ttl": "60"}, TypeError),
        ({"no_pods_ttl": 0}, ValueError),
        ({"no_pods_ttl": NAN}, ValueError),
        ({"poll_interval": 0}, ValueError),
        ({"poll_interval": INF}, ValueError),
        ({"max_flows": 0}, ValueError),
        ({"max_bands": 0}, ValueError),
        ({"hol_scope": "shard"}, ValueError),
        ({"hol_scope": None}, ValueError),
        ({"max_dispatch_batch": 0}, ValueError),
        ({"max_dispatch_batch": INF}, TypeError),
        ({"yield_every": -1}, ValueError),
        ({"explain_last": -1}, ValueError),
        ({"explain_last": 1.5}, TypeError),
        ({"bands": [7]}, TypeError),
        ({"bands": [PriorityBandConfig(1), PriorityBandConfig(1)]}, ValueError),
        ({"bands": [PriorityBandConfig(1), PriorityBandConfig(2)], "max_bands": 1}, ValueError),
        ({"bands": [], "default_band": None}, ValueError),
        ({"default_band": 7}, TypeError),
    ],
)
def test_a_configuration_refuses_bad_values(values: Mapping[str, Any], error: type[Exception]) -> None:
    """A configuration is valid once it exists."""
    with pytest.raises(error):
        FlowControlConfig(**values)


class NoComparator:
    name = "no comparator"
    comparator = None
    required_queue_capabilities: frozenset[Any] = frozenset()

    def select_item(self, queue: object) -> None: ...


@pytest.mark.parametrize(
    ("values", "error"),
    [
        ({"priority": "high"}, TypeError),
        ({"priority": True}, TypeError),
        ({"name": 7}, TypeError),
        ({"max_requests": -1}, ValueError),
        ({"max_bytes": "1k"}, TypeError),
        ({"mode": "drop"}, ValueError),
        ({"displace": 1}, TypeError),
        ({"dispatch": object()}, TypeError),
        ({"dispatch": NoComparator()}, TypeError),
        ({"fairness": object()}, TypeError),
        ({"queue": 7}, TypeError),
        ({"queue": dict}, TypeError),
        ({"dispatch": EarliestDeadlineFirst(), "queue": ListQueue}, ValueError),
    ],
)
def test_a_band_refuses_bad_values(values: Mapping[str, Any], error: type[Exception]) -> None:
    """So is a band, its policies and its queue included."""
    with pytest.raises(error):
        PriorityBandConfig(**{"priority": 0, **values})


@pytest.mark.parametrize("key", [("",), ("a", 1.5), ("a", None), (b"a",)])
def test_a_flow_key_refuses_bad_values(key: tuple[Any, ...]) -> None:
    """A flow has a name and an integer priority."""
    with pytest.raises((ValueError, TypeError)):
        FlowKey(*key)


@pytest.mark.parametrize(
    "values",
    [
        {"name": ""},
        {"address": ""},
        {"address": None},
        {"port": 0},
        {"port": 65_536},
        {"port": "80"},
        {"namespace": ""},
        {"labels": None},
        {"metrics": {"waiting": 1}},
    ],
)
def test_a_pod_refuses_bad_values(values: Mapping[str, Any]) -> None:
    """A pod is known by values that make sense."""
    with pytest.raises((ValueError, TypeError)):
        Pod(**{"name": "a", "address": "10.0.0.1", "port": 80, **values})


@pytest.mark.parametrize(
    "address",
    ["10.0.0.1:8000", "http://x", "x/", "llama:80", "[10.0.0.1]:80", "[fd00::1]:8000", "[fd00::1", "https://[fd00::1]"],
)
def test_a_pod_s_address_has_neither_scheme_nor_port(address: str) -> None:
    """They would be told apart from the port only when a request fails."""
    rule = "must be an IP address or a host name, without scheme and port, not '"
    with pytest.raises(ValueError, match=rule) as caught:
        Pod("a", address, 80)
    assert str(caught.value).endswith(f"not {address!r}")


@pytest.mark.parametrize("address", ["10.0.0.1", "fd00::1", "[fd00::1]", "::", "fe80::1%eth0", "llama-0.pool.svc"])
def test_a_pod_s_address_may_be_any_host(address: str) -> None:
    """An IPv6 address has two colons or more."""
    assert Pod("a", address, 80).endpoint.removesuffix(":80").strip("[]") == address.strip("[]")


@pytest.mark.parametrize(
    "values", [(-1, 0, 0.0, 0.0), (0, NAN, 0.0, 0.0), (0, 0, 1.5, 0.0), (0, 0, NAN, 0.0), (0, 0, 0.0, INF)]
)
def test_metrics_refuse_bad_values(values: tuple[Any, ...]) -> None:
    """Counts are counts, a share is a share, and a time is finite."""
    with pytest.raises((ValueError, TypeError)):
        PodMetrics(*values)


# -- what custom requests answer


class Custom:
    """A request with answers of any kind; an exception is raised."""

    def __init__(self, **answers: Any) -> None:
        self.answers = {
            "request_id": "r",
            "flow_key": FlowKey("a"),
            "byte_size": 1,
            "initial_effective_ttl": None,
            "get_metadata": {},
            **answers,
        }

    def _answer(self, name: str) -> Any:
        answer = self.answers[name]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def request_id(self) -> str:
        return self._answer("request_id")  # type: ignore[no-any-return]

    def flow_key(self) -> FlowKey:
        return self._answer("flow_key")  # type: ignore[no-any-return]

    def byte_size(self) -> int:
        return self._answer("byte_size")  # type: ignore[no-any-return]

    def initial_effective_ttl(self) -> float | None:
        return self._answer("initial_effective_ttl")  # type: ignore[no-any-return]

    def get_metadata(self) -> Mapping[str, object]:
        return self._answer("get_metadata")  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    "answers",
    [
        {"flow_key": LookupError("raised")},
        {"flow_key": None},
        {"flow_key": ("a", 0)},
        {"byte_size": LookupError("raised")},
        {"byte_size": -1},
        {"byte_size": NAN},
        {"byte_size": 1.5},
        {"byte_size": None},
        {"initial_effective_ttl": LookupError("raised")},
        {"initial_effective_ttl": 0},
        {"initial_effective_ttl": -1},
        {"initial_effective_ttl": NAN},
        {"initial_effective_ttl": INF},
        {"initial_effective_ttl": "1"},
        {"get_metadata": LookupError("raised")},
        {"get_metadata": None},
        {"get_metadata": "text"},
    ],
)
async def test_a_custom_request_with_a_bad_answer_is_invalid(answers: Mapping[str, Any]) -> None:
    """REJECTED_INVALID, the bad value chained, and the books right; the next request goes."""
    async with FlowController(locator=StaticPodLocator([POD_A]), detector=ConcurrencyDetector(1)) as controller:
        with pytest.raises(RequestRejected) as caught:
            await controller.enqueue_and_wait(Custom(**answers))
        assert caught.value.outcome is QueueOutcome.REJECTED_INVALID
        assert caught.value.request_id == "r"
        assert isinstance(caught.value.__cause__, LookupError | ValueError | TypeError)
        (await controller.enqueue_and_wait(Custom())).release()
        assert_books(controller, 2)
        assert_idle(controller)


@pytest.mark.parametrize("thing", [None, 7, "request", object(), Request])
async def test_what_is_no_request_is_invalid(thing: Any) -> None:
    """Anything at all may be submitted: it gets an outcome, never an error of the engine's own."""
    async with FlowController(locator=StaticPodLocator([POD_A]), detector=ConcurrencyDetector(1)) as controller:
        with pytest.raises(RequestRejected) as caught:
            await controller.enqueue_and_wait(thing)
        assert caught.value.outcome is QueueOutcome.REJECTED_INVALID
        assert_books(controller, 1)


async def test_a_request_that_cannot_name_itself_still_goes() -> None:
    """Its id is asked for only where somebody wants to read it, and never stands in the way of its outcome."""
    nameless = Custom(request_id=LookupError("nameless"))
    async with FlowController(locator=StaticPodLocator([POD_A]), detector=ConcurrencyDetector(1)) as controller:
        with await controller.enqueue_and_wait(nameless):
            with pytest.raises(FlowControlError) as caught:
                await controller.enqueue_and_wait(Custom(**{**nameless.answers, "initial_effective_ttl": 1}))
            assert caught.value.outcome is QueueOutcome.EVICTED_TTL
            assert caught.value.request_id == "(no id)"
        assert_idle(controller)


@pytest.mark.parametrize("answer", [LookupError("raised"), None])
async def test_metadata_that_go_bad_in_the_queue_hold_back_nobody(answer: Any) -> None:
    """Pods that appear are found for a lane whose head no longer answers; nobody is lost, the head included."""
    locator = StaticPodLocator()
    async with (
        FlowController(locator=locator, detector=ConcurrencyDetector(8)) as controller,
        anyio.create_task_group() as tasks,
    ):
        callers = Callers(tasks, controller)
        bad = Custom(flow_key=FlowKey("bad"))
        first = await callers.start(bad)
        second = await callers.start(Request("good"))
        bad.answers["get_metadata"] = answer
        locator.set_pods([POD_A])
        await anyio.sleep(1)
        assert second.ticket is not None
        assert first.ticket is not None  # its lane's candidates serve it as well
        await callers.finish()
        assert_books(controller, 2)
        assert_idle(controller)


async def test_refreshing_a_request_that_went_bad_loses_nobody() -> None:
    """It may raise to the one who refreshed; the request waits on where it was."""
    locator = StaticPodLocator()
    async with (
        FlowController(locator=locator, detector=ConcurrencyDetector(8)) as controller,
        anyio.create_task_group() as tasks,
    ):
        callers = Callers(tasks, controller)
        bad = Custom()
        waiting = await callers.start(bad)
        bad.answers["get_metadata"] = LookupError("raised")
        controller.refresh(bad)
        assert controller.stats().queued_requests == 1
        bad.answers["get_metadata"] = {}
        locator.set_pods([POD_A])
        await settle()
        assert waiting.ticket is not None
        await callers.finish()
        assert_books(controller, 1)


@pytest.mark.parametrize("priority", [-(10**9), 7, 10**30])
async def test_a_priority_that_is_no_band_is_invalid_under_fixed_bands(priority: int) -> None:
    """With default_band=None the listed bands are all there are."""
    config = FlowControlConfig(default_band=None)
    async with FlowController(config, locator=StaticPodLocator([POD_A]), detector=ConcurrencyDetector(1)) as controller:
        with pytest.raises(RequestRejected) as caught:
            await controller.enqueue_and_wait(Request("a", priority))
        assert caught.value.outcome is QueueOutcome.REJECTED_INVALID
        assert controller.stats().flows == 0
        assert_books(controller, 1)


# -- what locators answer


class Answers:
    """A locator that answers what a test says; an exception is raised."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def locate(self, metadata: Mapping[str, object]) -> Any:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.mark.parametrize(
    "answer",
    [None, "10.0.0.1:8000", b"pods", 7, {POD_A}, {POD_A: 1}, iter([POD_A]), ["a"], [None], [POD_A, "b"], LookupError()],
    ids=repr,
)
async def test_a_locator_that_answers_nonsense_has_no_candidates(answer: Any) -> None:
    """No candidates, the failure chained and counted; once it answers well, requests go within a poll."""
    locator = Answers(answer)
    async with (
        FlowController(locator=locator, detector=ConcurrencyDetector(1)) as controller,
        anyio.create_task_group() as tasks,
    ):
        with pytest.raises(FlowControlError) as caught:
            await controller.enqueue_and_wait(Request("a", ttl=1))
        assert caught.value.outcome is QueueOutcome.EVICTED_NO_PODS
        assert isinstance(caught.value.__cause__, TypeError | LookupError)
        assert controller.stats().plugin_failures["locator", "Answers"] > 10
        callers = Callers(tasks, controller)
        waiting = await callers.start(Request("a"))
        locator.answer = [POD_A]
        await anyio.sleep(0.02)
        assert waiting.ticket is not None
        await callers.finish()
        assert_books(controller, 2)
        assert_idle(controller)


async def test_a_pod_that_is_named_twice_counts_once() -> None:
    """Duplicates, and two records of one identity, are one candidate with one load."""
    twin = Pod("a", "10.0.0.1", 8000, labels={"another": "record"})
    locator = Answers([POD_A, POD_B, twin, POD_A])
    async with FlowController(locator=locator, detector=ConcurrencyDetector(1)) as controller:
        first = await controller.enqueue_and_wait(Request("a"))
        assert first.candidates == (POD_A, POD_B)
        second = await controller.enqueue_and_wait(Request("a"))
        assert second.candidates == (POD_B,)
        with pytest.raises(FlowControlError):
            await controller.enqueue_and_wait(Request("a", ttl=1))
        first.release()
        second.release()
        assert_idle(controller)


def test_a_locator_that_fails_halfway_leaves_no_pods_behind() -> None:
    """Pods that stood before the nonsense in its answers are forgotten with them."""
    locator = Answers(None)
    core = Core(locator=locator, detector=ConcurrencyDetector(1))
    for number in range(1_000):
        locator.answer = [Pod(f"pod-{number}", "10.0.0.1", 8000), "nonsense"]
        core.submit(Request("a"), float(number))
    assert core.pods <= 8


class Keyed(StaticPodLocator):
    """A locator whose keys are what a test says; an exception is raised."""

    def __init__(self, key: Any) -> None:
        super().__init__([POD_A])
        self.key = key
        self.calls = 0

    def selection_key(self, metadata: Mapping[str, object]) -> Any:
        self.calls += 1
        key = metadata.get("key", self.key)
        if isinstance(key, Exception):
            raise key
        return key


@pytest.mark.parametrize("key", [[], {}, {1}, [POD_A], LookupError("raised")], ids=repr)
async def test_a_selection_key_that_is_none_waits_for_a_better_one(key: Any) -> None:
    """An unhashable key, or none, holds back nobody else; when the locator recovers, its requests go within a poll."""
    locator = Keyed("good")
    async with (
        FlowController(locator=locator, detector=ConcurrencyDetector(1)) as controller,
        anyio.create_task_group() as tasks,
    ):
        callers = Callers(tasks, controller)
        locator.key = key
        waiting = [await callers.start(Request("a")) for _ in range(3)]
        with await controller.enqueue_and_wait(Request("b", metadata={"key": "good"})) as ticket:
            assert ticket.queue_wait == 0
        await anyio.sleep(1)
        assert controller.stats().queued_requests == 3
        assert controller.stats().plugin_failures["locator", "Keyed"] > 10
        locator.key = "good"
        await anyio.sleep(0.02)
        assert waiting[0].ticket is not None
        await callers.finish()
        assert [caller.outcome for caller in waiting] == [QueueOutcome.DISPATCHED] * 3
        assert_books(controller, 4)
        assert_idle(controller)


async def test_a_selection_key_that_stays_bad_ends_with_the_budget() -> None:
    """A request without a lane has no candidates: it leaves as such, with the error chained."""
    fault = LookupError("no key")
    async with FlowController(locator=Keyed(fault), detector=ConcurrencyDetector(1)) as controller:
        with pytest.raises(FlowControlError) as caught:
            await controller.enqueue_and_wait(Request("a", ttl=1))
        assert caught.value.outcome is QueueOutcome.EVICTED_NO_PODS
        assert caught.value.__cause__ is fault
        assert_idle(controller)


async def test_many_bad_selection_keys_cost_few_calls_and_hide_nobody() -> None:
    """A poll gives up after a few failures and the next goes on there: one good request among many bad is found."""
    locator = Keyed(LookupError("no key"))
    good: dict[str, object] = {}
    async with (
        FlowController(locator=locator, detector=ConcurrencyDetector(1)) as controller,
        anyio.create_task_group() as tasks,
    ):
        callers = Callers(tasks, controller)
        for place in range(200):
            await callers.start(Request(f"flow-{place}", metadata=good if place == 150 else {}))
        calls = locator.calls
        await anyio.sleep(0.1)
        assert locator.calls - calls <= 11 * 20
        good["key"] = "good"
        await anyio.sleep(0.2)
        assert callers.all[150].ticket is not None
        assert controller.stats().queued_requests == 199
        tasks.cancel_scope.cancel()


# -- what detectors answer


@pytest.mark.parametrize("value", [NAN, None, -0.5, -INF, "0.5", [], LookupError("raised"), INF], ids=repr)
async def test_a_detector_that_answers_nonsense_counts_as_full(value: Any) -> None:
    """A pod of which nothing sensible is known takes nobody; another one does; recovery is found within a poll."""
    answers: dict[Pod, Any] = {POD_A: value, POD_B: 0.0}

    def answer(pod: Pod, load: PodLoad) -> Any:
        if isinstance(answers[pod], Exception):
            raise answers[pod]
        return answers[pod]

    detector = CallDetector(answer)
    locator = StaticPodLocator([POD_A, POD_B])
    async with (
        FlowController(locator=locator, detector=detector) as controller,
        anyio.create_task_group() as tasks,
    ):
        with await controller.enqueue_and_wait(Request("a")) as ticket:
            assert ticket.candidates == (POD_B,)
        locator.set_pods([POD_A])
        callers = Callers(tasks, controller)
        waiting = await callers.start(Request("a"))
        await anyio.sleep(1)
        assert waiting.ended_at is None
        failed = controller.stats().plugin_failures.get(("detector", "CallDetector"), 0)
        assert (failed > 10) is (value != INF)  # infinity is full, and no nonsense
        answers[POD_A] = 0.0
        if value == INF:
            detector.announce()
        await anyio.sleep(0.02)
        assert waiting.ticket is not None
        await callers.finish()
        assert_books(controller, 2)
        assert_idle(controller)


class Timed:
    """A detector that tells a time of change, of any kind."""

    def __init__(self, at: Any) -> None:
        self.at = at
        self.is_full = True
        self.calls = 0

    def saturation(self, pod: Pod, load: PodLoad) -> float:
        self.calls += 1
        assert self.calls < 5_000, "it spins"
        return 1.0 if self.is_full else 0.0

    def next_change(self) -> Any:
        if isinstance(self.at, Exception):
            raise self.at
        return self.at


@pytest.mark.parametrize("at", [NAN, -INF, "soon", [], LookupError("raised"), 0, 0.0, -5.0, 1.0], ids=repr)
async def test_a_time_of_change_that_is_none_is_polled_for(at: Any) -> None:
    """Nonsense, or a time that is past, neither spins nor sleeps for ever: the plug-in is polled."""
    detector = Timed(at)
    async with (
        FlowController(
            FlowControlConfig(poll_interval=0.25), locator=StaticPodLocator([POD_A]), detector=detector
        ) as controller,
        anyio.create_task_group() as tasks,
    ):
        await anyio.sleep(1)
        callers = Callers(tasks, controller)
        waiting = await callers.start(Request("a"))
        await anyio.sleep(10)
        assert detector.calls <= 200
        detector.is_full = False
        await anyio.sleep(0.5)
        assert waiting.ticket is not None
        await callers.finish()
        assert_idle(controller)


# -- what usage-limit policies answer


@pytest.mark.parametrize(
    "answer",
    [None, [], [1.0], [0.5, 1.0], [1.0, NAN], [2.0, 1.0], [1.0, -0.5], ["x", "y"], LookupError("raised")],
    ids=repr,
)
async def test_a_usage_limit_that_breaks_its_contract_limits_nobody(answer: Any) -> None:
    """Ceilings that rise, of the wrong number, out of range or none at all: 1.0 holds for that pass."""

    class Limits:
        def ceilings(self, saturation: float, priorities: Sequence[int]) -> Any:
            if isinstance(answer, Exception):
                raise answer
            return answer if len(priorities) == 2 else [0.0]

    locator, recorder = StaticPodLocator(), Recorder()
    async with (
        FlowController(
            locator=locator, detector=ConcurrencyDetector(8), usage_limit=Limits(), observers=[recorder]
        ) as controller,
        anyio.create_task_group() as tasks,
    ):
        callers = Callers(tasks, controller)
        high = await callers.start(Request("a", 1))
        low = await callers.start(Request("a", 0))
        locator.set_pods([POD_A])
        await settle()
        assert high.ticket is not None
        assert low.ticket is not None
        assert {event.kind for event in recorder.of("plugin_error")} == {"usage limit"}
        await callers.finish()
        assert_books(controller, 2)
        assert_idle(controller)


# -- what policies answer


async def test_a_dispatch_policy_that_changes_its_mind_cannot_spin() -> None:
    """One that names another item whenever it is asked costs a few questions for each dispatch, in any lane."""

    class Fickle(Fcfs):
        """Counts on what it answered last; gives up, as a failure, where it is asked far too often."""

        asked = 0

        def select_item(self, queue: SafeQueue) -> QueueItem | None:
            Fickle.asked += 1
            if Fickle.asked > 1_000:
                raise LookupError("it spins")
            return list(queue)[Fickle.asked % len(queue)]

    config = FlowControlConfig(bands=[PriorityBandConfig(0, dispatch=Fickle())])
    for locator in (StaticPodLocator([POD_A]), Answers([POD_A])):
        Fickle.asked = 0
        async with (
            FlowController(config, locator=locator, detector=ConcurrencyDetector(1)) as controller,
            anyio.create_task_group() as tasks,
        ):
            callers = Callers(tasks, controller)
            for _ in range(10):
                await callers.start(Request("a"))
            await callers.finish()
            assert Fickle.asked <= 200
            assert not controller.stats().plugin_failures
            assert_books(controller, 10)
            assert_idle(controller)


# -- what queues and policies may do when the configuration changes


async def test_a_queue_that_cannot_be_made_at_a_reconfiguration_loses_nobody() -> None:
    """A new configuration whose queues fail is refused, or done without: those who wait are still served."""

    class Unmakeable(ListQueue):
        def __init__(self, comparator: object = None) -> None:
            raise LookupError("not today")

    locator = StaticPodLocator()
    async with (
        FlowController(locator=locator, detector=ConcurrencyDetector(8)) as controller,
        anyio.create_task_group() as tasks,
    ):
        callers = Callers(tasks, controller)
        for flow in ("a", "b", "a"):
            await callers.start(Request(flow))
        bands = [PriorityBandConfig(0, queue=Unmakeable, fairness=BestHead())]
        with contextlib.suppress(LookupError):
            controller.reconfigure(FlowControlConfig(bands=bands))
        locator.set_pods([POD_A])
        await settle()
        assert all(caller.ticket is not None for caller in callers.all)
        await callers.finish()
        assert_books(controller, 3)
        assert_idle(controller)
