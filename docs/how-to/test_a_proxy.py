"""Tests of a proxy that embeds flowgate, as its authors would write them."""

from collections.abc import Awaitable, Callable
from typing import Self

import anyio
import pytest

from flowgate import FlowControlError, FlowController, Pod, Request
from flowgate.admission import http_response
from flowgate.contracts import Released
from flowgate.saturation import ConcurrencyDetector
from flowgate.testing import PodPool, Recorder, VirtualClock, assert_idle


class Proxy:
    """The code under test: it sends each prompt to a pod, once one has room."""

    def __init__(self, controller: FlowController, send: Callable[[Pod, str], Awaitable[str]]) -> None:
        self._controller = controller
        self._send = send

    async def __aenter__(self) -> Self:
        await self._controller.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._controller.__aexit__(None, None, None)

    async def ask(self, tenant: str, prompt: str) -> tuple[int, str]:
        """Answer with a status and a text."""
        request = Request(tenant, byte_size=len(prompt), ttl=20.0)
        try:
            async with self._controller.admitted(request) as ticket:
                return 200, await self._send(ticket.candidates[0], prompt)
        except FlowControlError as error:
            return http_response(error).status, ""
        except ConnectionError:
            return 502, ""


async def model(pod: Pod, prompt: str) -> str:
    """Stand for the pods."""
    await anyio.sleep(5)
    if prompt == "crash":
        raise ConnectionError
    return f"{pod.name} says {prompt.upper()}"


async def test_a_prompt_waits_until_a_pod_appears(
    flow_controller: FlowController, pods: PodPool, virtual_clock: VirtualClock
) -> None:
    answers = []

    async def ask() -> None:
        answers.append(await proxy.ask("tenant-a", "hello"))

    async with Proxy(flow_controller, model) as proxy, anyio.create_task_group() as tasks:
        tasks.start_soon(ask)
        await virtual_clock.advance(15)
        assert answers == []
        pods.add("a")
        await virtual_clock.advance(5)
        assert answers == [(200, "a says HELLO")]


async def test_a_prompt_is_given_up_after_twenty_seconds(
    flow_controller: FlowController, virtual_clock: VirtualClock
) -> None:
    async with Proxy(flow_controller, model) as proxy:
        assert await proxy.ask("tenant-a", "hello") == (503, "")
        assert virtual_clock.time() == 20.0


@pytest.mark.usefixtures("virtual_clock")
async def test_a_crash_gives_the_slot_back(
    flow_controller: FlowController, flow_events: Recorder, pods: PodPool
) -> None:
    pods.add()
    async with Proxy(flow_controller, model) as proxy:
        assert await proxy.ask("tenant-a", "crash") == (502, "")
        assert_idle(flow_controller)
    assert [event.result for event in flow_events.of(Released)] == ["dropped"]


class TestTwoSlots:
    """What a pod can take, and everything else, is overridden by a fixture of the same name."""

    @pytest.fixture
    def saturation_detector(self) -> ConcurrencyDetector:
        return ConcurrencyDetector(2)

    async def test_a_pod_works_on_two_prompts_at_once(
        self, flow_controller: FlowController, pods: PodPool, virtual_clock: VirtualClock
    ) -> None:
        pods.add()
        async with Proxy(flow_controller, model) as proxy, anyio.create_task_group() as tasks:
            for number in range(3):
                tasks.start_soon(proxy.ask, f"tenant-{number}", "hello")
            await virtual_clock.advance(1)
            stats = flow_controller.stats()
            assert (stats.in_flight, stats.queued_requests) == (2, 1)
