import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import attrs
import pytest
from prometheus_client.parser import text_string_to_metric_families

from flowgate import FlowControlConfig, FlowController, Pod, PriorityBandConfig, QueueOutcome, Request
from flowgate.contracts import FlowControlRequest
from flowgate.saturation import ConcurrencyDetector
from flowgate.testing import Callers, PodPool
from flowgate_epp.contracts import Decision
from flowgate_epp.telemetry import Exposition, FlowMetrics, MetricsSettings, PodReading, Readings

Samples = Mapping[tuple[str, frozenset[tuple[str, str]]], float]
CONFIG = FlowControlConfig(
    bands=[PriorityBandConfig(10, "premium", max_requests=40), PriorityBandConfig(0), PriorityBandConfig(-5)],
    max_requests=100,
    max_bytes=10_000,
)


@attrs.define
class Scene:
    """A real controller with its metrics, and callers to drive it."""

    controller: FlowController
    pool: PodPool
    callers: Callers
    metrics: FlowMetrics
    settings: MetricsSettings
    failures: dict[Pod, int]

    def scrape(self) -> Samples:
        text = Exposition(self.metrics, self.settings).render().decode()
        samples: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                key = sample.name, frozenset(sample.labels.items())
                assert key not in samples, f"{key} is told twice"
                samples[key] = sample.value
        return samples

    def value(self, name: str, /, **labels: str) -> float:
        return self.scrape()[name, frozenset(labels.items())]


@asynccontextmanager
async def _scene(
    settings: MetricsSettings | None = None,
    config: FlowControlConfig = CONFIG,
    *,
    pods: int = 0,
    model_of: Callable[[FlowControlRequest], str] | None = None,
) -> AsyncIterator[Scene]:
    settings = settings or MetricsSettings(process=False)
    metrics = FlowMetrics(settings, model_of=model_of, clock=asyncio.get_running_loop().time)
    pool, failures = PodPool(pods), dict[Pod, int]()
    async with FlowController(config, locator=pool, detector=ConcurrencyDetector(2), observers=[metrics]) as controller:

        def read() -> list[PodReading]:
            return [PodReading(each.pod, each.in_flight, each.saturation) for each in controller.pod_stats(pool)]

        metrics.connect(Readings(controller.stats, read, lambda: failures))
        async with Callers(controller) as callers:
            yield Scene(controller, pool, callers, metrics, settings, failures)


@pytest.fixture
def scene() -> Callable[..., AbstractAsyncContextManager[Scene]]:
    return _scene


POD = Pod("pod-1", "10.0.0.1", 8_000)


def _decision(**changed: object) -> Decision:
    went = Decision(
        request_id="r-1",
        headers={},
        flow_id="alice",
        priority=10,
        model="llama",
        arrived_at=1_700_000_000.25,
        queue_wait=1.5,
        pick_seconds=0.000_02,
        outcome=QueueOutcome.DISPATCHED,
        status=200,
        reason=None,
        message="",
        pod=POD,
    )
    return went._replace(**changed)


def _refusal(**changed: object) -> Decision:
    told = {
        "pick_seconds": 0.0,
        "outcome": QueueOutcome.EVICTED_TTL,
        "status": 429,
        "reason": "ttl-expired",
        "message": "it waited 1.500 s",
        "pod": None,
    }
    return _decision(**(told | changed))


@pytest.fixture
def decision() -> Callable[..., Decision]:
    return _decision


@pytest.fixture
def refusal() -> Callable[..., Decision]:
    return _refusal


class ModelRequest(Request):
    """A request that says which model it asks for."""

    __slots__ = ("model",)

    def __init__(self, flow_id: str, priority: int = 0, *, model: str = "", byte_size: int = 0) -> None:
        super().__init__(flow_id, priority, byte_size=byte_size)
        self.model = model


@pytest.fixture
def model_request() -> type[ModelRequest]:
    return ModelRequest
