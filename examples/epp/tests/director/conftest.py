import asyncio
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import pytest

from flowgate import FlowControlConfig, FlowController, Pod
from flowgate.admission import FlowControlAdmissionController
from flowgate.contracts import Dispatched, PodLocator, Released
from flowgate.locators import SubsetPodLocator
from flowgate.saturation import ConcurrencyDetector
from flowgate.testing import PodPool, Recorder, assert_idle
from flowgate_epp.contracts import Decision, DecisionListener, Inbound, Refusal, Reservation
from flowgate_epp.director import Director, DirectorSettings, GatewayRequest, Objectives
from flowgate_epp.scheduling import Scheduler, Schedules


class Rig:
    """A director with all that is behind it: a pool, flow control, a scheduler; and what was said."""

    def __init__(
        self,
        pods: int | Sequence[str] | Sequence[Pod] = 1,
        *,
        slots: int = 100,
        config: FlowControlConfig | None = None,
        settings: DirectorSettings | None = None,
        objectives: Objectives | None = None,
        scheduler: Schedules | None = None,
        listeners: Sequence[DecisionListener] = (),
        locator: Callable[[PodLocator], PodLocator] = lambda inner: inner,
    ) -> None:
        settings = settings or DirectorSettings()
        self.pods = PodPool(pods)
        self.recorder = Recorder()
        self.decisions: list[Decision] = []
        found = SubsetPodLocator(self.pods, settings.empty_subset)
        self.controller = FlowController(
            config, locator=found, detector=ConcurrencyDetector(slots), observers=[self.recorder]
        )
        self.admission = FlowControlAdmissionController(self.controller)
        self.scheduler = scheduler or Scheduler()
        self.director = Director(
            self.admission,
            locator(found),
            self.scheduler,
            settings,
            objectives,
            [self.decisions.append, *listeners],
        )

    async def __aenter__(self) -> Self:
        await self.controller.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.controller.__aexit__(kind, error, trace)
        if kind is None:
            assert_idle(self.controller)

    async def decide(
        self, headers: Mapping[str, str] | None = None, body: bytes | None = None, metadata: Any = None
    ) -> Reservation | Refusal:
        return await self.director.decide(Inbound(headers or {}, metadata or {}, body))

    async def reserve(self, *args: Any, **kwargs: Any) -> Reservation:
        answer = await self.decide(*args, **kwargs)
        assert not isinstance(answer, Refusal), answer
        return answer

    async def refuse(self, *args: Any, **kwargs: Any) -> Refusal:
        answer = await self.decide(*args, **kwargs)
        assert isinstance(answer, Refusal), answer
        return answer

    async def read(self, *args: Any, **kwargs: Any) -> GatewayRequest:
        """Let a request pass, and return what flow control saw of it."""
        (await self.reserve(*args, **kwargs)).close(is_complete=False)
        request = self.recorder.of(Dispatched)[-1].request
        assert isinstance(request, GatewayRequest)
        return request

    def start(self, *args: Any, **kwargs: Any) -> asyncio.Task[Reservation | Refusal]:
        return asyncio.create_task(self.decide(*args, **kwargs))

    @property
    def results(self) -> list[str]:
        """How tickets were released, in that order."""
        return [event.result for event in self.recorder.of(Released)]


@pytest.fixture
def new_rig() -> type[Rig]:
    return Rig


@pytest.fixture
def read_one() -> Callable[..., GatewayRequest]:
    """Read one request in a rig of its own."""

    def read(
        headers: Mapping[str, str] | None = None, body: bytes | None = None, metadata: Any = None, **rig: Any
    ) -> GatewayRequest:
        async def main() -> GatewayRequest:
            async with Rig(**rig) as made:
                return await made.read(headers, body, metadata)

        return asyncio.run(main())

    return read


@pytest.fixture
def refuse_one() -> Callable[..., tuple[Refusal, Decision]]:
    """Have one request refused in a rig of its own."""

    def refuse(
        headers: Mapping[str, str] | None = None, body: bytes | None = None, metadata: Any = None, **rig: Any
    ) -> tuple[Refusal, Decision]:
        async def main() -> tuple[Refusal, Decision]:
            async with Rig(**rig) as made:
                refusal = await made.refuse(headers, body, metadata)
                return refusal, made.decisions[-1]

        return asyncio.run(main())

    return refuse
