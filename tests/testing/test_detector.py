"""A detector that a test sets says what the test said."""

import pytest

from flowgate import FlowController, PodLoad, Request
from flowgate.testing import Callers, ManualDetector, PodPool, make_pods, until_blocked

A, B = make_pods(2)
LOAD = PodLoad(7, 7)


def test_says_what_was_set_whatever_the_load() -> None:
    detector = ManualDetector(default=0.5)
    detector.set(A, 0.9)
    assert (detector.saturation(A, LOAD), detector.saturation(B, LOAD)) == (0.9, 0.5)
    detector.set_all(0.1)
    assert (detector.saturation(A, LOAD), detector.saturation(B, LOAD)) == (0.1, 0.1)
    assert repr(detector) == "ManualDetector(default=0.1)"


def test_announces_each_change_until_told_not_to() -> None:
    detector, heard = ManualDetector(), []
    unsubscribe = detector.subscribe(lambda pods=None: heard.append(pods))
    detector.set(A, 1.0)
    detector.set_all(0.0)
    unsubscribe()
    detector.set(A, 1.0)
    assert heard == [None, None]


@pytest.mark.anyio
async def test_opening_a_pod_lets_waiting_requests_go() -> None:
    """The controller hears of it: nobody polls, and no time passes."""
    pods, detector = PodPool(["a"]), ManualDetector(default=1.0)
    controller = FlowController(locator=pods, detector=detector)
    async with controller, Callers(controller) as callers:
        callers.begin(Request("a"))
        callers.begin(Request("a"))
        await until_blocked()
        assert controller.stats().queued_requests == 2
        detector.set(pods["a"], 0.0)
        await until_blocked()
        assert [caller.ticket.queue_wait for caller in callers.all if caller.ticket] == [0.0, 0.0]
