"""Our admission controllers keep the promises of every admission controller."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

from flowgate import FlowControlConfig, FlowController
from flowgate.admission import FlowControlAdmissionController, LegacyAdmissionController
from flowgate.contracts import AdmissionController, PodLocator, SaturationDetector
from flowgate.testing.suites import AdmissionControllerSuite, AdmissionFactory


def lazy(config: FlowControlConfig) -> AdmissionFactory:
    @asynccontextmanager
    async def make(locator: PodLocator, detector: SaturationDetector) -> AsyncGenerator[AdmissionController]:
        async with FlowController(config, locator=locator, detector=detector) as controller:
            yield FlowControlAdmissionController(controller)

    return make


@pytest.fixture(
    params=[
        LegacyAdmissionController,
        lazy(FlowControlConfig()),
        lazy(FlowControlConfig(hol_scope="pool", max_dispatch_batch=1)),
    ],
    ids=["legacy", "flow_control", "pool_scope"],
)
def make_controller(request: pytest.FixtureRequest) -> AdmissionFactory:
    factory: AdmissionFactory = request.param
    return factory


class TestAdmissionControllers(AdmissionControllerSuite):
    """All of them, made alike."""
