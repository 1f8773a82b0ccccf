"""What every test shares: both event loops on a virtual clock, and Hypothesis profiles."""

import os
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from flowgate.testing import virtual_backend

# Async tests with @given share one clock among their examples; it only ever goes on.
_FIXTURE_PER_TEST = (HealthCheck.function_scoped_fixture,)

settings.register_profile("default", max_examples=60, deadline=None, suppress_health_check=_FIXTURE_PER_TEST)
settings.register_profile(
    "ci", max_examples=300, deadline=None, derandomize=True, suppress_health_check=_FIXTURE_PER_TEST
)
settings.register_profile(
    "thorough", max_examples=5_000, deadline=None, suppress_health_check=(*_FIXTURE_PER_TEST, HealthCheck.too_slow)
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """Run each async test on both backends, in virtual time that starts at 0.0 seconds."""
    return virtual_backend(request.param)
