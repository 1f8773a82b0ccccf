"""any_of and all_of: several detectors as one, with as many parts as is right."""

import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowgate.contracts import ClockBound, Pod, PodLoad, ReleaseAware, TimeVarying, Watchable
from flowgate.saturation import ConcurrencyDetector, all_of, any_of
from tests.saturation.detectors import (
    Clock,
    EnteredDetector,
    LearningDetector,
    SilentDetector,
    TimedDetector,
    WatchableDetector,
)

POD = Pod("a", "10.0.0.1", 80)
LOAD = PodLoad(1, 1)
Combine = Callable[..., Any]

both = pytest.mark.parametrize("combine", [any_of, all_of])


@given(answers=st.lists(st.floats(0, 10), min_size=1, max_size=5))
def test_any_takes_the_fullest_and_all_the_emptiest(answers: list[float]) -> None:
    """So a pod is full if any says so, or only if all do."""
    detectors = [SilentDetector(answer) for answer in answers]
    assert any_of(*detectors).saturation(POD, LOAD) == max(answers)
    assert all_of(*detectors).saturation(POD, LOAD) == min(answers)


@both
def test_one_detector_at_least(combine: Combine) -> None:
    """A combination of nothing would have no answer."""
    with pytest.raises(ValueError, match=f"{combine.__name__} needs at least one detector, and got none"):
        combine()


@both
@pytest.mark.parametrize("wrong", [None, 1.0, ConcurrencyDetector])
def test_only_detectors_are_combined(combine: Combine, wrong: Any) -> None:
    """A class is no detector either."""
    with pytest.raises(TypeError, match=r"detector must have a saturation method; .* has none"):
        combine(ConcurrencyDetector(1), wrong)


@both
@pytest.mark.parametrize("wrong_first", [True, False])
def test_an_answer_that_is_no_number_is_never_hidden(combine: Combine, wrong_first: bool) -> None:
    """NaN comes out wherever it went in; the engine then counts the pod as full."""
    answers = [math.nan, 0.5] if wrong_first else [0.5, math.nan]
    assert math.isnan(combine(*map(SilentDetector, answers)).saturation(POD, LOAD))
    with pytest.raises(TypeError):
        combine(SilentDetector(0.5), SilentDetector(None)).saturation(POD, LOAD)


@both
def test_beside_a_silent_detector_the_combination_is_silent(combine: Combine) -> None:
    """It must be polled for that one, and it is, only if it offers neither announcements nor times."""
    combined = combine(WatchableDetector(), TimedDetector(), SilentDetector())
    assert not isinstance(combined, Watchable)
    assert not isinstance(combined, TimeVarying)


@both
def test_it_announces_what_any_of_them_does(combine: Combine) -> None:
    """Until the subscription is taken back, from each."""
    detectors = [WatchableDetector(), WatchableDetector()]
    heard: list[object] = []
    unsubscribe = combine(*detectors, TimedDetector()).subscribe(lambda pods=None: heard.append(pods))
    detectors[0].announce()
    detectors[1].announce([POD])
    assert heard == [None, [POD]]
    unsubscribe()
    assert detectors[0].callbacks == detectors[1].callbacks == []


@both
def test_it_changes_when_the_first_of_them_does(combine: Combine) -> None:
    """Those that name no time do not count; without any there is none."""
    first, second = TimedDetector(), TimedDetector()
    combined = combine(WatchableDetector(), first, second)
    assert combined.next_change() is None
    second.change_at = 7.0
    assert combined.next_change() == 7.0
    first.change_at = 5.0
    assert combined.next_change() == 5.0
    second.change_at = math.nan
    assert math.isnan(combined.next_change())


@both
def test_a_part_that_none_of_them_has_is_absent(combine: Combine) -> None:
    """None stands for absent, in the engine and for `isinstance`."""
    combined = combine(WatchableDetector(), WatchableDetector())
    assert isinstance(combined, Watchable)
    assert not isinstance(combined, TimeVarying)
    assert not isinstance(combined, ClockBound)
    assert not isinstance(combined, ReleaseAware)
    assert not isinstance(combine(TimedDetector()), Watchable)


@both
def test_the_clock_and_each_release_reach_whoever_wants_them(combine: Combine) -> None:
    """However many others do not."""
    clock, timed, learning = Clock(), TimedDetector(), [LearningDetector(), LearningDetector()]
    combined = combine(SilentDetector(), timed, *learning)
    combined.bind(clock)
    combined.released(POD, LOAD, 0.5, "dropped")
    assert timed.clock is clock
    assert [detector.heard for detector in learning] == [[(POD, LOAD, 0.5, "dropped")]] * 2


@pytest.mark.anyio
@both
async def test_contexts_are_entered_in_order_and_left_in_reverse(combine: Combine) -> None:
    """Those that are none are passed over."""
    journal: list[str] = []
    async with combine(EnteredDetector("a", journal), SilentDetector(), EnteredDetector("b", journal)):
        journal.append("in")
    assert journal == ["enter a", "enter b", "in", "leave b", "leave a"]


@pytest.mark.anyio
async def test_what_was_entered_is_left_when_the_next_one_fails() -> None:
    """Nobody else would leave it."""
    journal: list[str] = []
    combined: Any = any_of(EnteredDetector("a", journal), EnteredDetector("b", journal, fails=True))
    with pytest.raises(OSError, match="no connection"):
        await combined.__aenter__()
    assert journal == ["enter a", "enter b", "leave a"]


@both
def test_it_says_what_it_is_made_of(combine: Combine) -> None:
    """The repr is the call, and the name in logs the function's."""
    combined = combine(ConcurrencyDetector(4), SilentDetector(1))
    assert repr(combined) == f"{combine.__name__}(ConcurrencyDetector(4), SilentDetector(1))"
    assert combined.name == combine.__name__
