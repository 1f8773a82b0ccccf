from collections.abc import Callable, Mapping
from types import MappingProxyType

import pytest

from flowgate import FlowKey, Pod, PodMetrics
from flowgate_epp.scheduling import InferenceRequest

NO_HEADERS: Mapping[str, str] = MappingProxyType({})

NewRequest = Callable[..., InferenceRequest]
NewPod = Callable[..., Pod]


@pytest.fixture
def new_request() -> NewRequest:
    def make(headers: Mapping[str, str] = NO_HEADERS, model: str = "", body: bytes | None = None) -> InferenceRequest:
        return InferenceRequest(FlowKey("tenant"), headers, model, len(body or b""), body)

    return make


@pytest.fixture
def new_pod() -> NewPod:
    def make(number: int, waiting: int | None = None, kv: float = 0.0, at: float = 0.0, **labels: str) -> Pod:
        metrics = None if waiting is None else PodMetrics(waiting, 0, kv, at)
        return Pod(f"pod-{number}", f"10.0.0.{number}", 8000, labels=labels, metrics=metrics)

    return make
