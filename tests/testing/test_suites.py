"""Each suite catches a class that breaks a promise, in the test that is named after it."""

import gc
import importlib
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, ClassVar

import anyio
import pytest

from flowgate import Pod, Ticket
from flowgate.admission import LegacyAdmissionController
from flowgate.contracts import ItemComparator, QueueCapability
from flowgate.locators import StaticPodLocator
from flowgate.policies import Fcfs
from flowgate.queues import ListQueue, PriorityQueue
from flowgate.testing import suites
from flowgate.testing._admission_suite import Check


class NotAQueue:
    capabilities = frozenset({QueueCapability.FIFO})


class LosesBytes(ListQueue):
    byte_size = 0


class TakesTwice(ListQueue):
    def add(self, item: Any) -> None:
        with suppress(ValueError):
            super().add(item)


class OldestLast(PriorityQueue):
    def __init__(self, comparator: ItemComparator) -> None:
        super().__init__(ItemComparator(int, lambda item: -item.arrival))


class AsksAgain(PriorityQueue):
    def __init__(self, comparator: ItemComparator) -> None:
        super().__init__(comparator)
        self._asks = comparator.key

    def add(self, item: Any) -> None:
        super().add(item)
        with suppress(Exception):
            self._asks(item)


class KeepsItems(ListQueue):
    kept: ClassVar[list[object]] = []

    def remove(self, item: Any) -> None:
        super().remove(item)
        self.kept.append(item)


class Compares(ListQueue):
    """It looks through all to find one."""

    def __init__(self, comparator: ItemComparator) -> None:
        super().__init__(comparator)
        self._key = comparator.key

    def add(self, item: Any) -> None:
        sorted([self._key(other) for other in (*self, item)], key=lambda key: key) if len(self) > 4_000 else None
        super().add(item)


QUEUES = [
    ("test_is_a_safe_queue", lambda comparator: NotAQueue()),
    ("test_only_item_is_both_ends", LosesBytes),
    ("test_bytes_cannot_drift", LosesBytes),
    ("test_no_item_is_added_twice", TakesTwice),
    ("test_keeps_its_order", OldestLast),
    ("test_ties_go_by_arrival", OldestLast),
    ("test_items_without_a_key_go_last", OldestLast),
    ("test_key_is_taken_once", AsksAgain),
    ("test_holds_nothing_once_empty", KeepsItems),
]


@pytest.mark.parametrize(("promise", "make_queue"), QUEUES)
def test_queues_that_break_a_promise_are_caught(promise: str, make_queue: Callable[..., Any]) -> None:
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        getattr(suites.SafeQueueSuite(), promise)(make_queue)


def test_slow_queues_are_caught() -> None:
    with pytest.raises(AssertionError, match="comparisons of keys in a queue of 4,096"):
        suites.SafeQueueSuite().test_operations_are_cheap(Compares, "head")


def dispatch(**parts: Any) -> Any:
    return type("Broken", (), {"name": "broken", **{name: getattr(Fcfs(), name) for name in PARTS}, **parts})()


PARTS = ("comparator", "required_queue_capabilities", "select_item")
UNKEYED = ItemComparator(float, lambda item: "text")


@pytest.mark.parametrize(
    ("promise", "policy", "says"),
    [
        ("test_is_a_dispatch_policy", object(), "select_item"),
        ("test_is_a_dispatch_policy", dispatch(name=" "), "broken|assert"),
        ("test_comparator_answers_for_a_plain_item", dispatch(comparator=UNKEYED), "float"),
        ("test_selects_nothing_from_an_empty_queue", dispatch(select_item=lambda self, queue: 1), "1 is None"),
        ("test_serves_every_item_once", dispatch(select_item=lambda self, queue: None), "named no item while 10 wait"),
        ("test_serves_every_item_once", dispatch(select_item=lambda self, queue: 7), "named 7, which does not wait"),
    ],
)
def test_dispatch_policies_that_break_a_promise_are_caught(promise: str, policy: Any, says: str) -> None:
    with pytest.raises(AssertionError, match=says):
        getattr(suites.DispatchPolicySuite(), promise)(policy)


def test_a_policy_that_no_queue_fits_is_told_so() -> None:
    impossible = dispatch(required_queue_capabilities=frozenset({*QueueCapability, "telepathy"}))
    with pytest.raises(LookupError, match="telepathy"):
        suites.DispatchPolicySuite().test_selects_nothing_from_an_empty_queue(impossible)


def test_a_policy_that_takes_what_it_selects_is_caught() -> None:
    def take(self: object, queue: Any) -> Any:
        head = queue.peek_head()
        queue.remove(head)
        return head

    with pytest.raises(AssertionError):
        suites.DispatchPolicySuite().test_selection_changes_nothing(dispatch(select_item=take))


class Frozen(StaticPodLocator):
    """It never sees a change."""

    def set_pods(self, pods: Any) -> None: ...


class Silent(StaticPodLocator):
    """It says that it announces, and does not."""

    def subscribe(self, callback: Any) -> Any:
        return lambda: None


class Deaf(StaticPodLocator):
    """Who took a subscription back is called all the same."""

    def subscribe(self, callback: Any) -> Any:
        super().subscribe(callback)
        return lambda: None


class OneList:
    """It answers with its own list, changed later."""

    def __init__(self, pods: Sequence[Pod]) -> None:
        self.pods = list(pods)

    def locate(self, metadata: Any) -> Sequence[Pod]:
        return self.pods

    def set_pods(self, pods: Sequence[Pod]) -> None:
        self.pods[:] = pods


class Writes(StaticPodLocator):
    def locate(self, metadata: Any) -> tuple[Pod, ...]:
        metadata["seen"] = True
        return super().locate(metadata)


class OneLane(StaticPodLocator):
    """One lane for all, whose candidates differ."""

    def locate(self, metadata: Any) -> tuple[Pod, ...]:
        return super().locate(metadata)[: 1 if metadata else None]


class NoParts:
    subscribe = 7


class ChangesNow(StaticPodLocator):
    def next_change(self) -> float:
        return 1000.0


LOCATORS = [
    ("test_is_a_locator", lambda pods: NoParts(), "locate"),
    ("test_finds_what_is_there", lambda pods: StaticPodLocator(sorted(pods, key=lambda pod: pod.name)), None),
    ("test_follows_every_change", Frozen, None),
    ("test_gives_the_newest_metrics_and_labels", Frozen, None),
    ("test_answers_are_snapshots", OneList, None),
    ("test_takes_any_metadata_and_changes_none", Writes, None),
    ("test_equal_keys_have_equal_candidates", OneLane, None),
    ("test_announces_each_change_when_it_can_be_seen", Silent, "not announced"),
    ("test_announces_of_which_pods_the_metrics_changed", Silent, "not announced"),
    ("test_announces_to_nobody_who_left", Deaf, "took the subscription back was called"),
    ("test_announces_to_nobody_who_left", Silent, "stayed subscribed was not called"),
    ("test_next_change_lies_ahead", ChangesNow, None),
]


@pytest.mark.parametrize(("promise", "make_locator", "says"), LOCATORS)
def test_locators_that_break_a_promise_are_caught(promise: str, make_locator: Any, says: str | None) -> None:
    def make_rig(pods: Sequence[Pod]) -> suites.LocatorRig:
        locator = make_locator(pods)
        return suites.LocatorRig(locator, getattr(locator, "set_pods", print))

    with pytest.raises(AssertionError, match=says):
        getattr(suites.PodLocatorSuite(), promise)(make_rig)


def test_a_locator_that_never_looks_again_is_caught() -> None:
    """Time passes for one that announces nothing: as much as it asks for."""

    class NeverLooks(OneList):
        def locate(self, metadata: Any) -> Sequence[Pod]:
            self.seen = getattr(self, "seen", tuple(self.pods))
            return self.seen

        def next_change(self) -> None:
            return None

    def make_rig(pods: Sequence[Pod]) -> suites.LocatorRig:
        locator = NeverLooks(pods)
        return suites.LocatorRig(locator, locator.set_pods)

    with pytest.raises(AssertionError):
        suites.PodLocatorSuite().test_follows_every_change(make_rig)


class KeepsTheSlot(LegacyAdmissionController):
    def release_ticket(self, ticket: Ticket, result: Any) -> None: ...


class NeverMoves(LegacyAdmissionController):
    def assign_ticket(self, ticket: Ticket, pod: Pod) -> None: ...


class Charges(LegacyAdmissionController):
    """Nobody: each pod looks as idle as ever."""

    async def admit(self, request: Any) -> Ticket:
        ticket = await super().admit(request)
        self._pods.release(ticket, "ignored", 0.0)
        return ticket


class LetsErrorsThrough(LegacyAdmissionController):
    async def admit(self, request: Any) -> Ticket:
        request.byte_size()
        return await super().admit(request)


class WaitsForEver(LegacyAdmissionController):
    async def admit(self, request: Any) -> Ticket:
        if not tuple(self._locator.locate({})):
            await anyio.sleep(1000)
        return await super().admit(request)


class CountsReleases(LegacyAdmissionController):
    """A second release frees another's slot."""

    async def admit(self, request: Any) -> Any:
        self.held = getattr(self, "held", [])
        self.held.append(await super().admit(request))
        return Wrapped(self.held)


class Wrapped:
    def __init__(self, held: list[Ticket]) -> None:
        self._ticket, self._held = held[-1], held

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ticket, name)

    def release(self, result: Any = "ok") -> None:
        for ticket in self._held:
            ticket.release(result)


CONTROLLERS = [
    ("test_is_an_admission_controller", lambda locator, detector: object()),
    ("test_a_ticket_is_charged_until_its_release", KeepsTheSlot),
    ("test_a_ticket_is_charged_until_its_release", Charges),
    ("test_a_second_release_does_nothing", CountsReleases),
    ("test_requests_go_to_the_least_full_pod", Charges),
    ("test_a_charge_can_be_moved", NeverMoves),
    ("test_nobody_is_held_beyond_his_time", WaitsForEver),
    ("test_a_caller_who_gives_up_leaves_nothing_behind", KeepsTheSlot),
    ("test_a_crowd_gets_through", KeepsTheSlot),
]


def checking(make_controller: Any) -> Any:
    """Make the suite's `check` fixture by hand."""
    return Check(make_controller, "asyncio")


@pytest.mark.parametrize(("promise", "make_controller"), CONTROLLERS)
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_controllers_that_break_a_promise_are_caught(promise: str, make_controller: Any) -> None:
    with pytest.raises(AssertionError):
        getattr(suites.AdmissionControllerSuite(), promise)(checking(make_controller))
    gc.collect()  # the tickets it left behind complain here, not in another test


def test_a_controller_that_lets_a_bad_request_s_error_through_is_caught() -> None:
    with pytest.raises(RuntimeError, match="no answer"):
        suites.AdmissionControllerSuite().test_a_bad_request_hurts_itself_alone(
            checking(LetsErrorsThrough), "byte_size", RuntimeError("no answer")
        )


@pytest.mark.parametrize("missing", ["pytest", "hypothesis"])
def test_without_its_packages_the_suites_say_what_to_install(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    monkeypatch.delitem(sys.modules, "flowgate.testing.suites")
    with pytest.raises(ImportError, match=rf"needs {missing}: pip install 'flowgate-admission\[testing\]'"):
        importlib.import_module("flowgate.testing.suites")


def test_all_is_sorted_and_complete() -> None:
    for module in (suites, importlib.import_module("flowgate.testing")):
        assert list(module.__all__) == sorted(module.__all__, key=lambda name: (name[0].islower(), name))
        assert all(hasattr(module, name) for name in module.__all__)


def test_fakes_and_virtual_time_need_neither_pytest_nor_hypothesis_nor_trio(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        plain="""
        import sys
        for name in ("pytest", "hypothesis", "trio"):
            sys.modules[name] = None
        import anyio
        from flowgate import FlowController, Request
        from flowgate.saturation import ConcurrencyDetector
        from flowgate.testing import Callers, PodPool, VirtualClock, run_in_virtual_time

        async def main():
            controller = FlowController(locator=(pods := PodPool()), detector=ConcurrencyDetector(1))
            async with controller, Callers(controller) as callers:
                caller = await callers.start(Request("a"))
                await VirtualClock().advance(30)
                pods.add()
                print((await caller.admitted()).queue_wait)

        run_in_virtual_time(main)
        """
    )
    result = pytester.runpython("plain.py")
    result.stdout.fnmatch_lines(["30.0"])
    assert result.ret == 0


pytest_plugins = ["pytester"]
