"""PollingPodLocator: one question at a time, the last good answer, and a clean way out."""

import logging
import math
from collections.abc import Sequence
from typing import Any

import anyio
import attrs
import pytest

from flowgate.contracts import Pod, PodMetrics
from flowgate.locators import CachedPodLocator, PollingPodLocator, SubsetPodLocator

pytestmark = pytest.mark.anyio

A = Pod("a", "10.0.0.1", 80)
B = Pod("b", "10.0.0.2", 80)


class Source:
    """An async source to steer: what it answers, how long it takes, and whether it fails."""

    def __init__(self, *pods: Pod) -> None:
        self.pods: Any = list(pods)
        self.error: BaseException | None = None
        self.takes = 0.0
        self.asked_at: list[float] = []
        self.running = 0
        self.cancelled = 0

    def __repr__(self) -> str:
        return "Source()"

    async def __call__(self) -> Sequence[Pod]:
        self.asked_at.append(anyio.current_time())
        self.running += 1
        assert self.running == 1
        try:
            await anyio.sleep(self.takes)
        except anyio.get_cancelled_exc_class():
            self.cancelled += 1
            raise
        finally:
            self.running -= 1
        if self.error is not None:
            raise self.error
        answer: Sequence[Pod] = self.pods
        return answer


async def test_it_asks_as_it_is_entered_and_at_each_interval() -> None:
    """The interval counts from the end of one call to the next; nothing is asked before or after the context."""
    source = Source(A)
    source.takes = 1
    locator = PollingPodLocator(source, interval=10)
    await anyio.sleep(5)
    async with locator:
        assert locator.locate({}) == ()
        await anyio.sleep(2)
        assert locator.locate({}) == (A,)
        await anyio.sleep(28)
    assert source.asked_at == [5, 16, 27]
    await anyio.sleep(100)
    assert len(source.asked_at) == 3
    assert locator.locate({}) == (A,)


async def test_changes_are_announced_and_repetitions_are_not() -> None:
    """A new pod is a change of anything, new metrics one of that pod; the same answer is none."""
    source = Source()
    locator = PollingPodLocator(source, interval=1)
    heard: list[Sequence[Pod] | None] = []
    unsubscribe = locator.subscribe(lambda pods=None: heard.append(pods))
    async with locator:
        await anyio.sleep(2.5)
        assert heard == []
        source.pods = [A]
        await anyio.sleep(3)
        assert heard == [None]
        source.pods = [attrs.evolve(A, metrics=PodMetrics(1, 1, 0.5, 1.0))]
        await anyio.sleep(3)
        assert heard == [None, (A,)]
        unsubscribe()
        source.pods = []
        await anyio.sleep(1)
    assert len(heard) == 2
    assert locator.locate({}) == ()
    assert locator.selection_key({"x": 1}) == locator.selection_key({})


@pytest.mark.parametrize("nonsense", [None, [7], [A, A], 7], ids=repr)
async def test_nonsense_is_a_failure(nonsense: object) -> None:
    """An answer that is no sequence of different pods counts as none."""
    source = Source(A)
    async with PollingPodLocator(source, interval=1) as locator:
        await anyio.sleep(0.5)
        source.pods = nonsense
        await anyio.sleep(1)
        assert locator.locate({}) == (A,)
        assert locator.failures == 1


async def test_the_last_good_answer_survives_failures(caplog: pytest.LogCaptureFixture) -> None:
    """While the source fails its last answer stands, ages and is not announced; each outage is logged once."""
    source = Source(A)
    async with PollingPodLocator(source, interval=1) as locator:
        await anyio.sleep(0.5)
        source.error = OSError("no route")
        await anyio.sleep(3)
        assert locator.locate({}) == (A,)
        assert (locator.failures, locator.staleness) == (3, 3.5)
        source.error, source.pods = None, [B]
        await anyio.sleep(1)
        assert locator.locate({}) == (B,)
        assert locator.staleness == 0.5
        source.error = OSError("again")
        await anyio.sleep(2)
    assert locator.failures == 5
    records = [(record.levelno, record.name, str(record.exc_info and record.exc_info[1])) for record in caplog.records]
    assert records == [
        (logging.WARNING, "flowgate.locators", "no route"),
        (logging.WARNING, "flowgate.locators", "again"),
    ]


async def test_a_hanging_source_is_cancelled_and_asked_again() -> None:
    """A call ends at `timeout`, counts as a failure, and never overlaps with the next."""
    source = Source(A)
    source.takes = math.inf
    async with PollingPodLocator(source, interval=1, timeout=3) as locator:
        await anyio.sleep(9.5)
        assert source.asked_at == [0, 4, 8]
        assert (locator.failures, source.cancelled, source.running) == (2, 2, 1)
        source.takes = 0
        await anyio.sleep(3)
        assert locator.locate({}) == (A,)


@pytest.mark.parametrize(("interval", "longest"), [(1, 5), (60, 60)])
async def test_the_default_timeout_is_the_interval_or_five_seconds(interval: float, longest: float) -> None:
    """A short interval does not make the source fail."""
    source = Source()
    source.takes = math.inf
    async with PollingPodLocator(source, interval) as locator:
        await anyio.sleep(longest - 0.5)
        assert locator.failures == 0
        await anyio.sleep(1)
        assert locator.failures == 1


async def test_staleness_is_told_by_the_bound_clock() -> None:
    """Infinite before the first answer; a clock bound later takes over without a jump."""
    source = Source(A)
    locator = PollingPodLocator(source, interval=100)
    assert locator.staleness == math.inf
    locator.bind(lambda: 50 + 2 * anyio.current_time())
    assert locator.staleness == math.inf
    async with locator:
        await anyio.sleep(3)
        assert locator.staleness == 6
        locator.bind(lambda: 1000 + anyio.current_time())
        assert locator.staleness == 6
        await anyio.sleep(1)
        assert locator.staleness == 7


async def test_leaving_cancels_a_call_in_flight() -> None:
    """The context ends at once, whatever the source is doing."""
    source = Source()
    source.takes = 1000
    async with PollingPodLocator(source, interval=1, timeout=2000):
        await anyio.sleep(1)
    assert anyio.current_time() == 1
    assert (source.cancelled, source.running) == (1, 0)


async def test_the_bodys_error_comes_out_as_it_is() -> None:
    """No exception group wraps it, and polling has ended."""
    source = Source()
    error = KeyError("body")

    async def fail_inside() -> None:
        async with PollingPodLocator(source, interval=1):
            await anyio.sleep(1.5)
            raise error

    with pytest.raises(KeyError) as caught:
        await fail_inside()
    assert caught.value is error
    await anyio.sleep(10)
    assert len(source.asked_at) == 2


async def test_cancellation_of_the_host_ends_both() -> None:
    """A cancelled body leaves through its own scope, with no error, and the call in flight is cancelled too."""
    source = Source()
    source.takes = 1000
    with anyio.move_on_after(2) as scope:
        async with PollingPodLocator(source, interval=1, timeout=2000):
            await anyio.sleep(100)
    assert scope.cancelled_caught
    assert anyio.current_time() == 2
    assert (source.cancelled, source.running) == (1, 0)


async def test_cancellation_while_leaving_waits_for_the_source_to_end() -> None:
    """The window between leaving and left: a source slow to stop is waited for, and the cancellation goes on."""
    ended: list[float] = []

    async def slow_to_stop() -> Sequence[Pod]:
        try:
            await anyio.sleep(1000)
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(5)
            ended.append(anyio.current_time())
        return []

    with anyio.move_on_after(3) as scope:
        async with PollingPodLocator(slow_to_stop, interval=1, timeout=2000):
            await anyio.sleep(1)
        pytest.fail("the cancellation was swallowed")  # pragma: no cover
    assert scope.cancelled_caught
    assert ended == [6]


async def test_it_can_be_entered_again_but_not_twice() -> None:
    """One task polls, or none; leaving what was not entered does nothing."""
    source = Source(A)
    locator = PollingPodLocator(source, interval=1)
    await locator.__aexit__(None, None, None)
    async with locator:
        await anyio.sleep(0.5)
        with pytest.raises(RuntimeError, match="polls already"):
            await locator.__aenter__()
    source.pods = [B]
    async with locator:
        assert locator.locate({}) == (A,)
        await anyio.sleep(0.5)
        assert locator.locate({}) == (B,)
    assert len(source.asked_at) == 2


async def test_wrappers_enter_and_leave_it() -> None:
    """Whoever enters the outermost locator starts the polling inside, and sees and hears its changes."""
    source = Source(A)
    locator = CachedPodLocator(SubsetPodLocator(PollingPodLocator(source, interval=1)))
    heard: list[Sequence[Pod] | None] = []
    assert locator.subscribe is not None
    locator.subscribe(lambda pods=None: heard.append(pods))
    async with locator as entered:
        assert entered is locator
        assert locator.locate({}) == ()
        await anyio.sleep(0.5)
        assert locator.locate({}) == (A,)
    await anyio.sleep(10)
    assert len(source.asked_at) == 1
    assert heard == [None]


async def test_wrappers_of_no_context_can_be_entered_too() -> None:
    """Entering is harmless where there is nothing to enter."""
    async with SubsetPodLocator(CachedPodLocator(PollingPodLocator(Source(A), interval=1)._pool)) as locator:
        assert locator.locate({}) == ()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"fetch": [A]}, TypeError, "fetch must be an async callable, not "),
        ({"interval": 0}, ValueError, "interval must be finite and more than 0 seconds, not 0"),
        ({"interval": -1}, ValueError, "not -1"),
        ({"interval": math.nan}, ValueError, "not nan"),
        ({"interval": math.inf}, ValueError, "not inf"),
        ({"interval": None}, TypeError, "interval must be a number of seconds, not None"),
        ({"timeout": 0}, ValueError, "timeout must be finite and more than 0 seconds, not 0"),
        ({"timeout": "1"}, TypeError, "timeout must be a number of seconds, not '1'"),
    ],
)
def test_bad_arguments_are_refused(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    """Each error names the value and the rule."""
    good: dict[str, Any] = {"fetch": Source(), "interval": 1}
    with pytest.raises(error, match=message):
        PollingPodLocator(**(good | arguments))


def test_repr_shows_the_source_and_the_times() -> None:
    """The repr is the call that makes it."""
    assert repr(PollingPodLocator(Source(), 7)) == "PollingPodLocator(Source(), interval=7.0, timeout=7.0)"
