"""How many turns of trio's loop queued requests take: callers of one pass resume in order, and not one in each turn."""

import pytest
import trio

from flowgate import FlowController, Request
from flowgate.locators import StaticPodLocator
from flowgate.saturation import ConcurrencyDetector
from flowgate.testing import make_pods

_CALLERS, _SLOTS, _EACH = 200, 20, 20


class _Turns(trio.abc.Instrument):
    def __init__(self) -> None:
        self.count = 0

    def before_io_wait(self, timeout: float) -> None:
        self.count += 1


def test_callers_who_keep_coming_do_not_bring_trio_to_one_caller_a_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Regression: a line that never emptied was served one by one for ever, once chance had been against it."""
    # As in a program: Hypothesis has trio shuffle its batches, where otherwise it reverses some.
    monkeypatch.setattr("trio._core._run._ALLOW_DETERMINISTIC_SCHEDULING", False)
    turns = _Turns()

    async def call(controller: FlowController) -> None:
        for _ in range(_EACH):
            async with controller.admitted(Request("flow")):
                await trio.lowlevel.checkpoint()

    async def work() -> None:
        locator = StaticPodLocator(make_pods(1))
        controller = FlowController(locator=locator, detector=ConcurrencyDetector(_SLOTS))
        async with controller, trio.open_nursery() as nursery:
            for _ in range(_CALLERS):
                nursery.start_soon(call, controller)

    trio.run(work, instruments=[turns])
    # At best three for each batch of as many as there are slots; trio's coin adds a few.
    assert turns.count < _CALLERS * _EACH / 2
