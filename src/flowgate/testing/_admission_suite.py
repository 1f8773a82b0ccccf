"""The promises of every AdmissionController."""

import importlib.util
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from types import MappingProxyType
from typing import Any

import anyio
import attrs
import pytest

from flowgate.contracts import (
    AdmissionController,
    AdmissionTicket,
    FlowControlRequest,
    FlowKey,
    Pod,
    PodLocator,
    SaturationDetector,
)
from flowgate.errors import FlowControlError
from flowgate.outcomes import QueueOutcome
from flowgate.requests import Request
from flowgate.saturation import ConcurrencyDetector
from flowgate.testing._callers import Callers
from flowgate.testing._clock import run_in_virtual_time, until_blocked
from flowgate.testing._contracts import assert_complete
from flowgate.testing._pods import PodPool

__all__ = ["AdmissionControllerSuite", "AdmissionFactory"]

AdmissionFactory = Callable[
    [PodLocator, SaturationDetector], AdmissionController | AbstractAsyncContextManager[AdmissionController]
]
"""From a locator and a detector to a controller, or to an async context manager that gives one."""

_BACKENDS = ["asyncio", "trio"] if importlib.util.find_spec("trio") else ["asyncio"]


@attrs.frozen
class Rig:
    """A controller under test over pods of one slot each."""

    controller: AdmissionController
    pods: PodPool

    async def free_slots(self) -> set[Pod]:
        """Ask which pods have their slot free: take all there are, with sheddable requests that will not wait long."""
        tickets: list[AdmissionTicket] = []
        while (ticket := (await self.ask(Request("probe", priority=-1, ttl=0.001)))[0]) is not None:
            tickets.append(ticket)
            assert len(tickets) <= len(self.pods), "more sheddable requests were admitted than there are slots"
        for ticket in tickets:
            ticket.release("ignored")
        return {ticket.pod for ticket in tickets if ticket.pod is not None}

    async def ask(self, request: FlowControlRequest) -> tuple[AdmissionTicket | None, FlowControlError | None]:
        """Return the ticket, or the error."""
        try:
            return await self.controller.admit(request), None
        except FlowControlError as error:
            return None, error


@attrs.frozen
class Check:
    """Runs the body of a test in virtual time.

    Args:
        make_controller: The author's.
        backend: Name of the event loop.
    """

    make_controller: AdmissionFactory
    backend: str

    def __call__(self, pods: int, body: Callable[[Rig], Awaitable[None]]) -> None:
        """Run it on a new controller over so many pods."""
        run_in_virtual_time(self._run, pods, body, backend=self.backend)

    async def _run(self, pods: int, body: Callable[[Rig], Awaitable[None]]) -> None:
        pool = PodPool(pods)
        made = self.make_controller(pool, ConcurrencyDetector(1))
        async with made if isinstance(made, AbstractAsyncContextManager) else nullcontext(made) as controller:
            await body(Rig(controller, pool))


class AdmissionControllerSuite:
    """Tests of an admission controller, eager or lazy.

    Subclass it under a name that pytest collects, beside a fixture `make_controller`: a function from a locator and a
    detector to your controller, or to an async context manager that gives it. Each test runs in virtual time, on
    asyncio and, where trio is installed, on trio; a fixture `backend` of your own, that answers with one of the two
    names, says otherwise.
    """

    @pytest.fixture(params=_BACKENDS)
    def backend(self, request: pytest.FixtureRequest) -> str:
        """Name of the event loop to run on."""
        name: str = request.param
        return name

    @pytest.fixture
    def check(self, make_controller: AdmissionFactory, backend: str) -> Check:
        """What runs the body of each test."""
        return Check(make_controller, backend)

    def test_is_an_admission_controller(self, check: Check) -> None:
        """It has every method of the contract."""

        async def body(rig: Rig) -> None:
            assert_complete(rig.controller, AdmissionController)

        check(0, body)

    def test_admits_at_once_where_a_pod_is_open(self, check: Check) -> None:
        """The ticket names its request, and candidates that the locator found, the charged one first."""

        async def body(rig: Rig) -> None:
            began = anyio.current_time()
            ticket = await rig.controller.admit(Request("a", request_id="number one"))
            assert (anyio.current_time(), ticket.queue_wait) == (began, 0.0)
            assert ticket.request_id == "number one"
            assert ticket.pod is not None
            assert ticket.pod == ticket.candidates[0]
            assert set(ticket.candidates) <= set(rig.pods)
            ticket.release()

        check(3, body)

    def test_a_ticket_is_charged_until_its_release(self, check: Check) -> None:
        """A held ticket takes a slot of its pod, and none of another; released, it takes none."""

        async def body(rig: Rig) -> None:
            ticket = await rig.controller.admit(Request("a"))
            assert await rig.free_slots() == set(rig.pods) - {ticket.pod}
            ticket.release()
            assert await rig.free_slots() == set(rig.pods)

        check(2, body)

    def test_a_second_release_does_nothing(self, check: Check) -> None:
        """A slot is given back once, however often and with whatever result that is said."""

        async def body(rig: Rig) -> None:
            first = await rig.controller.admit(Request("a"))
            first.release()
            second = await rig.controller.admit(Request("a"))
            first.release()
            first.release("dropped")
            assert await rig.free_slots() == set()
            second.release()
            assert await rig.free_slots() == set(rig.pods)

        check(1, body)

    def test_requests_go_to_the_least_full_pod(self, check: Check) -> None:
        """As many requests as pods are charged to one each."""

        async def body(rig: Rig) -> None:
            tickets = [await rig.controller.admit(Request("a")) for _ in range(3)]
            assert {ticket.pod for ticket in tickets} == set(rig.pods)
            for ticket in tickets:
                ticket.release()

        check(3, body)

    def test_a_charge_can_be_moved(self, check: Check) -> None:
        """`assign` frees the slot that was charged, and takes one of the other pod."""

        async def body(rig: Rig) -> None:
            ticket = await rig.controller.admit(Request("a"))
            was = ticket.pod
            (other,) = set(rig.pods) - {was}
            ticket.assign(other)
            assert ticket.pod == other
            assert await rig.free_slots() == {was}
            ticket.release()
            assert await rig.free_slots() == set(rig.pods)

        check(2, body)

    def test_a_true_cost_may_be_told(self, check: Check) -> None:
        """`settle` is taken, more than once, whether or not anybody shares by cost."""

        async def body(rig: Rig) -> None:
            ticket = await rig.controller.admit(Request("a"))
            ticket.settle(17.5)
            ticket.settle(0)
            ticket.release()
            assert await rig.free_slots() == set(rig.pods)

        check(1, body)

    def test_sees_pods_that_come_and_go(self, check: Check) -> None:
        """The next request finds the pods of its moment, and no others."""

        async def body(rig: Rig) -> None:
            for count in (2, 0, 3, 1):
                rig.pods.scale(count)
                assert await rig.free_slots() == set(rig.pods)

        check(0, body)

    def test_nobody_is_held_beyond_his_time(self, check: Check) -> None:
        """Without a pod, and without a free slot, each request is told something by the end of its TTL."""

        async def body(rig: Rig) -> None:
            for priority in (-1, 0, 1):
                began = anyio.current_time()
                ticket, error = await rig.ask(Request("a", priority, ttl=2.5, request_id="late"))
                waited = anyio.current_time() - began
                assert waited <= 2.5
                if ticket is not None:
                    ticket.release()
                if error is not None:
                    assert error.outcome is not QueueOutcome.DISPATCHED
                    assert error.request_id == "late"
                    assert error.queue_wait == pytest.approx(waited)

        async def full(rig: Rig) -> None:
            ticket = await rig.controller.admit(Request("a"))
            await body(rig)
            ticket.release()

        check(0, body)
        check(1, full)

    def test_a_caller_who_gives_up_leaves_nothing_behind(self, check: Check) -> None:
        """Cancelled, before its admission or with its ticket, it takes no slot from anybody."""

        async def body(rig: Rig) -> None:
            ticket = await rig.controller.admit(Request("a"))
            async with Callers(rig.controller) as callers:
                gone = [await callers.start(Request("b")) for _ in range(3)]
                gone[0].cancel()
                await until_blocked()
                ticket.release()
                await until_blocked()
            assert not any(caller.is_waiting for caller in gone)
            assert await rig.free_slots() == set(rig.pods)

        check(1, body)

    def test_a_crowd_gets_through(self, check: Check) -> None:
        """A hundred at once each have one end, and give back what they took."""

        async def body(rig: Rig) -> None:
            async with Callers(rig.controller) as callers:
                for number in range(100):
                    callers.begin(Request(f"flow-{number % 7}", priority=number % 3))
                await callers.finish()
                assert {caller.outcome for caller in callers.all} == {QueueOutcome.DISPATCHED}
            assert await rig.free_slots() == set(rig.pods)

        check(2, body)

    @pytest.mark.parametrize("fault", ["flow_key", "byte_size", "initial_effective_ttl", "get_metadata"])
    @pytest.mark.parametrize("answer", [None, -1, float("nan"), RuntimeError("no answer")], ids=repr)
    def test_a_bad_request_hurts_itself_alone(self, check: Check, fault: str, answer: object) -> None:
        """One that raises or says nonsense is rejected, or passes where that is not read; others go on."""

        async def body(rig: Rig) -> None:
            ticket, error = await rig.ask(FaultyRequest(fault, answer))
            if ticket is not None:
                assert (fault, answer) == ("initial_effective_ttl", None), "it was admitted"
                ticket.release()
            if error is not None:
                assert error.outcome is QueueOutcome.REJECTED_INVALID
            assert await rig.free_slots() == set(rig.pods)

        check(1, body)

    def test_a_request_is_read_and_not_changed(self, check: Check) -> None:
        """Metadata that cannot be written to is as good as any."""

        async def body(rig: Rig) -> None:
            metadata: Mapping[str, object] = MappingProxyType({"model": "small", "deep": MappingProxyType({"a": 1})})
            (await rig.controller.admit(Request("a", metadata=metadata))).release()

        check(1, body)


class FaultyRequest:
    """A request one of whose methods answers with what it should not, or raises it."""

    def __init__(self, fault: str, answer: object) -> None:
        self._answers: dict[str, Any] = {
            "flow_key": FlowKey("faulty"),
            "byte_size": 1,
            "initial_effective_ttl": None,
            "get_metadata": {},
            fault: answer,
        }

    def request_id(self) -> str:
        """Return its id."""
        return "faulty"

    def flow_key(self) -> FlowKey:
        """Return its flow."""
        key: FlowKey = self._answer("flow_key")
        return key

    def byte_size(self) -> int:
        """Return its size in bytes."""
        size: int = self._answer("byte_size")
        return size

    def initial_effective_ttl(self) -> float | None:
        """Return its TTL in seconds."""
        ttl: float | None = self._answer("initial_effective_ttl")
        return ttl

    def get_metadata(self) -> Mapping[str, object]:
        """Return its metadata."""
        metadata: Mapping[str, object] = self._answer("get_metadata")
        return metadata

    def _answer(self, method: str) -> Any:
        answer = self._answers[method]
        if isinstance(answer, Exception):
            raise answer
        return answer
