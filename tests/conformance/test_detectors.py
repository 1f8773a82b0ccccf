"""Our detectors keep the promises of every detector."""

import functools

import pytest

from flowgate.contracts import Pod
from flowgate.saturation import ConcurrencyDetector, UtilizationDetector
from flowgate.testing._detector_suite import DetectorFactory, SaturationDetectorSuite


def slots(pod: Pod) -> int:
    return pod.port - 79


@pytest.fixture(
    params=[
        functools.partial(ConcurrencyDetector, 1),
        functools.partial(ConcurrencyDetector, 100),
        functools.partial(ConcurrencyDetector, slots),
        UtilizationDetector,
        functools.partial(UtilizationDetector, on_stale="ignore"),
        functools.partial(UtilizationDetector, on_stale="last"),
    ],
    ids=["one", "hundred", "by_pod", "full", "ignore", "last"],
)
def make_detector(request: pytest.FixtureRequest) -> DetectorFactory:
    factory: DetectorFactory = request.param
    return factory


class TestDetectors(SaturationDetectorSuite):
    """All of them, made alike."""
