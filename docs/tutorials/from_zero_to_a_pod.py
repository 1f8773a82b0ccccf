"""A pool at zero: the first request that waits wakes a pod, and when nobody asks any more, the pod sleeps."""

import anyio

from flowgate import FlowControlConfig, FlowControlError, FlowController, Pod, Request
from flowgate.admission import http_response
from flowgate.contracts import Enqueued, Observer
from flowgate.locators import StaticPodLocator
from flowgate.saturation import ConcurrencyDetector
from flowgate.testing import run_in_virtual_time


class Alarm(Observer):
    """Rings when a request has to wait and there are no pods."""

    def __init__(self) -> None:
        self.rings = anyio.Event()

    def on_enqueued(self, event: Enqueued) -> None:
        if not event.has_pods:
            self.rings.set()

    def reset(self) -> None:
        self.rings = anyio.Event()


async def scale(controller: FlowController, locator: StaticPodLocator, alarm: Alarm) -> None:
    """Stand for the autoscaler: from zero to one when somebody waits, and back when nobody is left."""
    while True:
        await alarm.rings.wait()
        say("pod-1 starts")
        await anyio.sleep(90)
        say("pod-1 is ready")
        locator.set_pods([Pod("pod-1", "10.0.0.1", 8000)])
        while controller.stats().queued_requests or controller.stats().in_flight:
            await anyio.sleep(10)
        locator.set_pods([])
        alarm.reset()
        say("nobody asks: back to zero")


async def ask(controller: FlowController, request: Request) -> None:
    """Stand for one caller: the pod takes two seconds to answer."""
    name = request.request_id()
    try:
        async with controller.admitted(request) as ticket:
            say(f"{name} goes to {ticket.candidates[0].endpoint}")
            await anyio.sleep(2)
    except FlowControlError as error:
        answer = http_response(error)
        say(f"{name} leaves: {answer.status} {answer.reason}")


def say(text: str) -> None:
    print(f"{anyio.current_time():3.0f} s  {text}")


async def main() -> None:
    locator = StaticPodLocator()
    alarm = Alarm()
    controller = FlowController(
        FlowControlConfig(default_ttl=30.0, no_pods_ttl=300.0),
        locator=locator,
        detector=ConcurrencyDetector(1),
        observers=[alarm],
    )
    async with controller, anyio.create_task_group() as autoscaler:
        autoscaler.start_soon(scale, controller, locator, alarm)
        async with anyio.create_task_group() as callers:
            callers.start_soon(ask, controller, Request("tenant-a", request_id="batch job"))
            callers.start_soon(ask, controller, Request("tenant-b", ttl=45.0, request_id="hasty"))
            await anyio.sleep(20)
            callers.start_soon(ask, controller, Request("tenant-c", priority=10, request_id="chat"))
        await anyio.sleep(60)
        await ask(controller, Request("tenant-a", request_id="latecomer"))
        autoscaler.cancel_scope.cancel()


run_in_virtual_time(main)
