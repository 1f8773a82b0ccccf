"""Our detectors keep the promises of every detector."""

import functools

import pytest

from flowgate.contracts import Pod, SaturationDetector
from flowgate.saturation import (
    AdaptiveDetector,
    Aimd,
    ConcurrencyDetector,
    Gradient2,
    UtilizationDetector,
    all_of,
    any_of,
    slow_start,
)
from flowgate.testing._detector_suite import DetectorFactory, SaturationDetectorSuite


def slots(pod: Pod) -> int:
    return pod.port - 79


def several() -> list[SaturationDetector]:
    return [ConcurrencyDetector(8), AdaptiveDetector(), UtilizationDetector(on_stale="ignore")]


@pytest.fixture(
    params=[
        functools.partial(ConcurrencyDetector, 1),
        functools.partial(ConcurrencyDetector, 100),
        functools.partial(ConcurrencyDetector, slots),
        UtilizationDetector,
        functools.partial(UtilizationDetector, on_stale="ignore"),
        functools.partial(UtilizationDetector, on_stale="last"),
        functools.partial(AdaptiveDetector, Aimd(latency_threshold=1.0)),
        functools.partial(AdaptiveDetector, Gradient2(probe_interval=2, min_samples=1)),
        lambda: any_of(*several()),
        lambda: all_of(*several()),
        lambda: slow_start(ConcurrencyDetector(8)),
        lambda: slow_start(UtilizationDetector(), window=1.0, forget_after=0.5),
        lambda: slow_start(AdaptiveDetector(), initial=1.0),
    ],
    ids=[
        "one",
        "hundred",
        "by_pod",
        "full",
        "ignore",
        "last",
        "aimd",
        "gradient",
        "any_of",
        "all_of",
        "slow_concurrency",
        "slow_utilization",
        "slow_adaptive",
    ],
)
def make_detector(request: pytest.FixtureRequest) -> DetectorFactory:
    factory: DetectorFactory = request.param
    return factory


class TestDetectors(SaturationDetectorSuite):
    """All of them, made alike."""
