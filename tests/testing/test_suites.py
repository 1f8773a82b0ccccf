"""Each suite catches a class that breaks a promise, in the test that is named after it."""

import gc
import importlib
import itertools
import math
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, ClassVar, cast

import anyio
import pytest

from flowgate import Pod, Ticket
from flowgate.admission import LegacyAdmissionController
from flowgate.contracts import ItemComparator, QueueCapability
from flowgate.locators import StaticPodLocator
from flowgate.policies import Fcfs
from flowgate.queues import LAST, ListQueue, PriorityQueue
from flowgate.testing import suites
from flowgate.testing._admission_suite import Check
from flowgate.testing._fairness_bounds import Step, check_bound


class NotAQueue:
    capabilities = frozenset({QueueCapability.FIFO})


class AnyCapability(ListQueue):
    capabilities = frozenset({cast("Any", "telepathy")})


class NoCapability(ListQueue):
    capabilities = frozenset()


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
    ("test_is_a_safe_queue", AnyCapability),
    ("test_is_a_safe_queue", NoCapability),
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
NO_KEY = ItemComparator(float, lambda item: LAST)
NUMBERS = itertools.count()
CHANGING = ItemComparator(int, lambda item: next(NUMBERS))


@pytest.mark.parametrize(
    ("promise", "policy", "says"),
    [
        ("test_is_a_dispatch_policy", object(), "object lacks: comparator, name, required_queue_cap.*, select_item"),
        ("test_is_a_dispatch_policy", dispatch(name=" "), "name is ' '"),
        ("test_is_a_dispatch_policy", dispatch(required_queue_capabilities={"fifo"}), r"has \['fifo'\]: its members"),
        ("test_is_a_dispatch_policy", dispatch(required_queue_capabilities=set()), "is set.*: it must be a frozenset"),
        ("test_comparator_answers_for_a_plain_item", dispatch(comparator=7), "comparator is 7"),
        ("test_comparator_answers_for_a_plain_item", dispatch(comparator=UNKEYED), "key failed for .* type float"),
        ("test_comparator_answers_for_a_plain_item", dispatch(comparator=NO_KEY), "has no key"),
        ("test_comparator_answers_for_a_plain_item", dispatch(comparator=CHANGING), "answered 0 for an item, .* 1 for"),
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


class MostlyFair:
    """It gives the next turn to whoever got least since it waits; a mistake in it is a keyword.

    Args:
        hears: What it makes of a settlement: 1 is all of it.
        bound: What it answers, where it is not what holds.
        shares: Whether all its groups are one.
        skips: Whether one flow that waits with another has no turn.
    """

    name = "mostly-fair"
    memoryless = True

    def __init__(
        self, *, hears: float = 1, bound: Any = None, weights: Any = None, shares: bool = False, skips: bool = False
    ) -> None:
        self.hears, self.skips = hears, skips
        self.weights: dict[str, float] = weights or {}
        self.says = bound
        self.shared = AllLevels(self) if shares else None

    def cost_of(self, item: Any) -> float:
        return float(item.byte_size)

    def weight_of(self, key: Any) -> float:
        return self.weights.get(key.id, 1.0)

    def bound(self, max_cost: tuple[float, float] = (1, 1), weights: tuple[float, float] = (1, 1)) -> Any:
        return max_cost[0] / weights[0] + max_cost[1] / weights[1] if self.says is None else self.says

    def new_group(self) -> Any:
        return self.shared or AllLevels(self)


class AllLevels:
    def __init__(self, policy: MostlyFair) -> None:
        self.policy = policy
        self.levels: dict[Any, float] = {}

    def activated(self, flow: Any) -> None:
        self.levels[flow] = min(self.levels.values(), default=0.0)

    def head_changed(self, flow: Any) -> None: ...

    def charged(self, flow: Any, item: Any) -> None:
        self.add(flow, item.cost)

    def settled(self, flow: Any, delta: float) -> None:
        self.add(flow, delta * self.policy.hears)

    def add(self, flow: Any, cost: float) -> None:
        if flow in self.levels:
            self.levels[flow] += cost / flow.weight

    def emptied(self, flow: Any) -> None:
        self.levels.pop(flow, None)

    def select(self) -> Any:
        # Of equal levels, the flow that came first.
        return (max if self.policy.skips else min)(self.levels, key=self.levels.__getitem__)


class Uncosted:
    """It promises turns, and none of them by cost."""

    name = "uncosted"

    def bound(self, max_cost: tuple[float, float] = (1, 1), weights: tuple[float, float] = (1, 1)) -> float:
        return 1.0

    def new_group(self) -> Any:
        raise NotImplementedError


WEIGHTS = [None, {"a": 3.0}, {"a": 1e-3, "b": 1e6}]


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("sign", [1, -1])
def test_policies_that_make_up_for_settlements_pass(sign: int, weights: Any) -> None:
    suites.BoundedFairnessSuite().test_settlements_are_made_up_for(MostlyFair(weights=weights), sign)


def test_policies_that_do_not_share_by_cost_are_not_asked_of_settlements() -> None:
    suites.BoundedFairnessSuite().test_settlements_are_made_up_for(Uncosted(), 1)


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("hears", [0, -1, 0.5, 2], ids=["deaf", "wrong sign", "half", "double"])
def test_policies_that_get_settlements_wrong_are_caught(hears: float, sign: int, weights: Any) -> None:
    policy = MostlyFair(hears=hears, weights=weights)
    with pytest.raises(
        AssertionError, match=r"requests of 'a' were settled at .* (more|less) per weight than they were"
    ):
        suites.BoundedFairnessSuite().test_settlements_are_made_up_for(policy, sign)


def test_groups_that_share_state_are_caught() -> None:
    with pytest.raises(AssertionError, match="one group twice"):
        suites.FairnessPolicySuite().test_groups_are_independent(MostlyFair(shares=True))


@pytest.mark.parametrize("skips", [False, True])
def test_groups_that_share_state_in_secret_are_caught(skips: bool) -> None:
    class SharesLevels(MostlyFair):
        levels: ClassVar[dict[Any, float]] = {}

        def new_group(self) -> Any:
            group = super().new_group()
            group.levels = self.levels
            return group

    with pytest.raises(AssertionError, match="the group of flow 'b' named <flow a>"):
        suites.FairnessPolicySuite().test_groups_are_independent(SharesLevels(skips=skips))


@pytest.mark.parametrize("bound", [math.inf, math.nan, -1, "wide"], ids=repr)
def test_bounds_that_are_no_bounds_are_caught(bound: Any) -> None:
    policy, suite = MostlyFair(bound=bound), suites.BoundedFairnessSuite()
    with pytest.raises(AssertionError, match=rf"bound\(\) is {bound!r}: it must be a finite number"):
        suite.test_bound_is_a_number_that_grows_with_cost(policy)
    with pytest.raises(AssertionError, match=rf"\) is {bound!r}: it must be a finite number"):
        suite.test_settlements_are_made_up_for(policy, 1)
    with pytest.raises(AssertionError, match=rf"\) is {bound!r}: it must be a finite number"):
        check_bound(policy, [Step("arrive", flow) for flow in "aabb"])


def test_bounds_that_sink_are_caught() -> None:
    class Sinks(MostlyFair):
        def bound(self, max_cost: tuple[float, float] = (1, 1), weights: tuple[float, float] = (1, 1)) -> Any:
            return 1 / max_cost[1]

    with pytest.raises(AssertionError, match="larger ones may not sink"):
        suites.BoundedFairnessSuite().test_bound_is_a_number_that_grows_with_cost(Sinks())


def test_the_bound_s_failure_says_who_got_more() -> None:
    history = [Step("arrive", flow) for flow in "aabb"] * 2
    with pytest.raises(AssertionError, match="'a' got 3 more per weight than 'b'"):
        check_bound(MostlyFair(skips=True), history)
    with pytest.raises(AssertionError, match="'b' got 3 more per weight than 'a'"):
        check_bound(MostlyFair(skips=True), [Step("arrive", flow) for flow in "bbaa"] * 2)


class Halves:
    """It halves the slots of a pod that dropped, and may do more with other news, or with loads."""

    def __init__(self, ignored: str = "ignored", *, most: float = 8, least: float = 1, plus: float = 0) -> None:
        self.ignored, self.most, self.least, self.plus = ignored, most, least, plus
        self.slots: dict[Pod, float] = {}

    def saturation(self, pod: Pod, load: Any) -> float:
        return float(load.in_flight + self.plus) / self.slots.get(pod, self.most)

    def released(self, pod: Pod, load: Any, held: float, result: str) -> None:
        slots = self.slots.get(pod, self.most)
        if (result := {"ignored": self.ignored}.get(result, result)) != "ignored":
            self.slots[pod] = max(self.least, slots / 2) if result == "dropped" else min(self.most, slots + 1)


class Sinking(Halves):
    def saturation(self, pod: Pod, load: Any) -> float:
        return 1.0 / float(1 + load.in_flight)


class NeverFull(Halves):
    def saturation(self, pod: Pod, load: Any) -> float:
        return 0.0


class Talks(Halves):
    """It calls whoever once subscribed, whenever it is asked."""

    callback: Any = None

    def saturation(self, pod: Pod, load: Any) -> float:
        if self.callback:
            self.callback()
        return super().saturation(pod, load)

    def subscribe(self, callback: Any) -> Callable[[], None]:
        self.callback = callback
        return lambda: None


DETECTORS: list[Any] = [
    ("test_is_a_detector", object, "object lacks: saturation"),
    ("test_a_subscription_can_be_taken_back", Talks, "took the subscription back was called"),
    ("test_an_ignored_release_teaches_nothing", lambda: Halves("ok"), r"\['ok', 'dropped'\] were taught before"),
    ("test_an_ignored_release_teaches_nothing", lambda: Halves("dropped"), r"\[\] were taught before"),
    ("test_answers_with_a_number", lambda: Halves(plus=-1), r"a pod is -0.125 full with PodLoad\(in_flight=0"),
    ("test_more_load_is_never_less_full", Sinking, "it sank"),
    ("test_a_herd_fills_every_pod", NeverFull, "^1,000,000 tickets leave the pod at 0.0: it never fills"),
    ("test_keeps_its_promises_whatever_releases_teach", Sinking, "after releases as ok, with 0 to 19 .*: it sank"),
    (
        "test_keeps_its_promises_whatever_releases_teach",
        NeverFull,
        "after releases as ok, 1,000,000 .*: it never fills",
    ),
]


@pytest.mark.parametrize(("promise", "make_detector", "says"), DETECTORS)
def test_detectors_that_break_a_promise_are_caught(promise: str, make_detector: Any, says: str) -> None:
    with pytest.raises(AssertionError, match=says):
        getattr(suites.SaturationDetectorSuite(), promise)(make_detector)


def test_a_detector_that_learns_as_it_should_passes() -> None:
    suites.SaturationDetectorSuite().test_an_ignored_release_teaches_nothing(Halves)
    suites.SaturationDetectorSuite().test_a_subscription_can_be_taken_back(Halves)


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


class SeventhPart(StaticPodLocator):
    next_change = 7


class Renames(StaticPodLocator):
    """Its key is another each time."""

    def selection_key(self, metadata: Any) -> object:
        return object()


class Stranger(StaticPodLocator):
    def locate(self, metadata: Any) -> tuple[Pod, ...]:
        return (Pod("stranger", "10.9.9.9", 80),)


class ByModel(StaticPodLocator):
    """Requests of a model find no pod, and its key does not say so."""

    def locate(self, metadata: Any) -> tuple[Pod, ...]:
        return () if metadata.get("model") else super().locate(metadata)


class AnnouncesTheOld(StaticPodLocator):
    def subscribe(self, callback: Any) -> Any:
        return super().subscribe(lambda pods=None: callback([]))


class ChangesNow(StaticPodLocator):
    def next_change(self) -> float:
        return 1000.0


LOCATORS = [
    ("test_is_a_locator", lambda pods: NoParts(), "NoParts lacks: locate"),
    ("test_is_a_locator", SeventhPart, "SeventhPart.next_change is 7: it must be a method"),
    ("test_finds_what_is_there", lambda pods: StaticPodLocator(sorted(pods, key=lambda pod: pod.name)), None),
    ("test_follows_every_change", Frozen, None),
    ("test_gives_the_newest_metrics_and_labels", Frozen, None),
    ("test_answers_are_snapshots", OneList, None),
    ("test_takes_any_metadata_and_changes_none", Writes, "must not be written to"),
    ("test_takes_any_metadata_and_changes_none", Stranger, "never there"),
    ("test_equal_keys_have_equal_candidates", OneLane, "locate found other pods for them: a, b, c and a"),
    ("test_equal_keys_have_equal_candidates", ByModel, "{'model': 'small'}, and locate .*: a, b, c and none"),
    ("test_equal_keys_have_equal_candidates", Renames, "for a copy of"),
    ("test_announces_of_which_pods_the_metrics_changed", AnnouncesTheOld, "no announcement named pod 'b'"),
    ("test_announces_each_change_when_it_can_be_seen", Silent, "not announced"),
    ("test_announces_of_which_pods_the_metrics_changed", Silent, "not announced"),
    ("test_announces_to_nobody_who_left", Deaf, "took the subscription back was called"),
    ("test_announces_to_nobody_who_left", Silent, "stayed subscribed was not called"),
    ("test_next_change_lies_ahead", ChangesNow, "next_change.. is 1000.0 at 1000.0: not later"),
]


@pytest.mark.parametrize(("promise", "make_locator", "says"), LOCATORS)
def test_locators_that_break_a_promise_are_caught(promise: str, make_locator: Any, says: str | None) -> None:
    def make_rig(pods: Sequence[Pod]) -> suites.LocatorRig:
        locator = make_locator(pods)
        return suites.LocatorRig(locator, getattr(locator, "set_pods", print), metadata=[{"model": "small"}])

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
