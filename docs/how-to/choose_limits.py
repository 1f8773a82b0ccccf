"""Limits computed from a few figures, and what they are worth under twice the load."""

from collections import Counter

import anyio

from flowgate import FlowControlConfig, FlowControlError, FlowController, Pod, PriorityBandConfig, Request
from flowgate.locators import StaticPodLocator
from flowgate.saturation import ConcurrencyDetector
from flowgate.testing import run_in_virtual_time

# What you know, or measure.
PODS = 4
SLOTS = 8  # requests that a pod serves well at the same time
SERVICE_TIME = 2.0  # seconds that it works on one
COLD_START = 90.0  # seconds from nothing to a pod that is ready
PATIENCE = 10.0  # seconds that people wait
BATCH_PATIENCE = 600.0  # seconds that machines wait
MEMORY = 400_000_000  # bytes that may be spent on bodies of requests that wait

# What follows.
RATE = PODS * SLOTS / SERVICE_TIME  # requests a second, with every slot in use


def limits() -> FlowControlConfig:
    people = round(RATE * PATIENCE)
    chat = PriorityBandConfig(10, name="chat", max_requests=people, max_flow_requests=people // 4)
    batch = PriorityBandConfig(0, name="batch", max_requests=round(RATE * BATCH_PATIENCE))
    return FlowControlConfig(
        [chat, batch],
        default_band=None,
        max_bytes=MEMORY,
        default_ttl=PATIENCE,
        no_pods_ttl=COLD_START + PATIENCE,
    )


async def overload(config: FlowControlConfig) -> None:
    """Let people ask for a minute, twice as often as the pods can answer, and tell how they fared."""
    locator = StaticPodLocator(Pod(f"pod-{n}", f"10.0.0.{n}", 8000) for n in range(PODS))
    controller = FlowController(config, locator=locator, detector=ConcurrencyDetector(SLOTS))
    ends = Counter[str]()
    longest = dict.fromkeys(("DISPATCHED", "REJECTED_CAPACITY", "EVICTED_TTL"), 0.0)

    async def ask(tenant: str) -> None:
        try:
            async with controller.admitted(Request(tenant, priority=10)) as ticket:
                await anyio.sleep(SERVICE_TIME)
            name, wait = "DISPATCHED", ticket.queue_wait
        except FlowControlError as error:
            name, wait = error.outcome.name, error.queue_wait
        ends[name] += 1
        longest[name] = max(longest[name], wait)

    async with controller, anyio.create_task_group() as people:
        for number in range(round(2 * RATE * 60)):
            people.start_soon(ask, f"tenant-{number % 8}")
            await anyio.sleep(1 / (2 * RATE))
    for name, seconds in longest.items():
        print(f"  {ends[name]:4d} {name}, after {seconds:.0f} s at most")


async def main() -> None:
    config = limits()
    print(f"{RATE:.0f} requests a second")
    for band in config.bands:
        print(f"{band.name}: {band.max_requests} may wait")
    print("a minute of twice the load, with these limits:")
    await overload(config)
    print("with a limit of 5,000:")
    await overload(FlowControlConfig([PriorityBandConfig(10)], default_ttl=PATIENCE))


if __name__ == "__main__":
    run_in_virtual_time(main)
