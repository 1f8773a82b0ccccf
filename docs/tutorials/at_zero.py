"""A pool at zero, and nobody who wakes it."""

from flowgate import FlowControlError, FlowController, Request
from flowgate.admission import http_response
from flowgate.locators import StaticPodLocator
from flowgate.saturation import ConcurrencyDetector
from flowgate.testing import run_in_virtual_time


async def main() -> None:
    controller = FlowController(locator=StaticPodLocator(), detector=ConcurrencyDetector(1))
    async with controller:
        try:
            await controller.enqueue_and_wait(Request("tenant-a", request_id="chat"))
        except FlowControlError as error:
            answer = http_response(error)
            print(f"after {error.queue_wait:.0f} s: {answer.status} {answer.reason}")


run_in_virtual_time(main)
