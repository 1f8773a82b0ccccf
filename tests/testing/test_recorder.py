"""A recorder keeps what happened."""

import pytest

from flowgate import FlowController, QueueOutcome, Request
from flowgate.contracts import Dispatched, Enqueued, PassEnded, PluginFailed, PodsChanged, Released
from flowgate.saturation import ConcurrencyDetector
from flowgate.testing import Callers, PodPool, Recorder, VirtualClock


class FailingOnce:
    """A locator that raises when it is first asked."""

    def __init__(self, pods: PodPool) -> None:
        self.pods = pods
        self.asked = 0

    def locate(self, metadata: object) -> object:
        self.asked += 1
        if self.asked == 1:
            raise RuntimeError("not yet")
        return self.pods.locate({})


@pytest.mark.anyio
async def test_every_event_is_kept_in_order() -> None:
    recorder = Recorder()
    controller = FlowController(locator=FailingOnce(PodPool(1)), detector=ConcurrencyDetector(1), observers=[recorder])
    async with controller, Callers(controller) as callers:
        caller = await callers.start(Request("a"))
        await VirtualClock().advance(1)
        await callers.start(Request("late", ttl=0.5))
        await VirtualClock().advance(1)
        caller.release()
    assert recorder.outcomes() == [QueueOutcome.DISPATCHED, QueueOutcome.EVICTED_TTL]
    assert [event.item.flow_key.id for event in recorder.of(Enqueued)] == ["a", "late"]
    assert [event.result for event in recorder.of(Released)] == ["ok"]
    assert [event.waited for event in recorder.of(Dispatched)] == [True]
    assert [str(event.error) for event in recorder.of(PluginFailed)] == ["not yet"]
    assert len(recorder.of(PodsChanged)[-1].pods) == 1
    assert recorder.of(PassEnded)
    assert [event.time for event in recorder.events] == sorted(event.time for event in recorder.events)
