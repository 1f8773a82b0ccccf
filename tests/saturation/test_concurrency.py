"""ConcurrencyDetector: fullness by tickets in flight."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowgate.contracts import Pod, PodLoad, PodMetrics
from flowgate.saturation import ConcurrencyDetector

POD = Pod("a", "10.0.0.1", 80, labels={"slots": "4"})
BUSY = Pod("b", "10.0.0.2", 80, metrics=PodMetrics(99, 99, 1.0, 0.0))


@given(limit=st.integers(1, 1000), in_flight=st.integers(0, 2000))
def test_a_pod_is_full_at_exactly_its_limit(limit: int, in_flight: int) -> None:
    """Below the limit the answer is less than 1.0, from the limit on 1.0 or more; metrics play no part."""
    for pod in (POD, BUSY):
        answer = ConcurrencyDetector(limit).saturation(pod, PodLoad(in_flight, in_flight))
        assert answer == in_flight / limit
        assert (answer >= 1.0) == (in_flight >= limit)


def test_a_function_gives_each_pod_its_own_limit() -> None:
    """The limit is asked of the pod as it is now."""
    detector = ConcurrencyDetector(lambda pod: int(pod.labels["slots"]))
    assert detector.saturation(POD, PodLoad(3, 0)) == 0.75
    assert detector.saturation(Pod("a", "10.0.0.1", 80, labels={"slots": "2"}), PodLoad(3, 0)) == 1.5


@pytest.mark.parametrize("limit", [0, -1, 1.5, None, True, "4"])
def test_a_function_that_gives_no_limit_is_an_error_that_names_the_pod(limit: Any) -> None:
    """No division by zero and no negative fullness: the engine learns that the pod cannot be judged."""
    with pytest.raises(ValueError, match=f"max_concurrency of pod 'a' must be an int of 1 or more, not {limit!r}"):
        ConcurrencyDetector(lambda pod: limit).saturation(POD, PodLoad(0, 0))


def test_it_announces_nothing() -> None:
    """It takes a subscription, which says that it need not be polled, and can take it back."""
    heard: list[object] = []
    detector = ConcurrencyDetector(1)
    unsubscribe = detector.subscribe(lambda pods=None: heard.append(pods))
    detector.saturation(POD, PodLoad(1, 1))
    unsubscribe()
    unsubscribe()
    assert heard == []


@pytest.mark.parametrize(
    ("limit", "error", "message"),
    [
        (0, ValueError, "max_concurrency must be 1 or more, not 0"),
        (-3, ValueError, "not -3"),
        (1.5, TypeError, r"max_concurrency must be an int or a function of the pod, not 1\.5"),
        (True, TypeError, "not True"),
        (None, TypeError, "not None"),
    ],
)
def test_bad_limits_are_refused(limit: Any, error: type[Exception], message: str) -> None:
    """Each error names the value and the rule."""
    with pytest.raises(error, match=message):
        ConcurrencyDetector(limit)


def test_repr_shows_the_limit() -> None:
    """The repr is the call that makes it."""
    assert repr(ConcurrencyDetector(4)) == "ConcurrencyDetector(4)"
    assert repr(ConcurrencyDetector(len)) == "ConcurrencyDetector(<built-in function len>)"  # type: ignore[arg-type]
