"""pytest's door to flowgate: fixtures for the tests of a gateway or proxy.

A module of its own, outside the package: pytest loads it in every project of an environment, and one that does not ask
for a fixture shall not pay for importing flowgate. So everything is imported inside the fixtures.
"""

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowgate import FlowControlConfig, FlowController
    from flowgate.contracts import SaturationDetector
    from flowgate.testing import PodPool, Recorder, VirtualClock

__all__ = ["flow_control_config", "flow_controller", "flow_events", "pods", "saturation_detector", "virtual_clock"]

# The suites assert, and a broken promise should show its values.
pytest.register_assert_rewrite("flowgate.testing")


@pytest.fixture
def pods() -> "PodPool":
    """The pods of `flow_controller`, none to begin with: `add`, `remove` or `scale` them, and it hears at once."""
    from flowgate.testing import PodPool  # noqa: PLC0415 - see above

    return PodPool()


@pytest.fixture
def flow_control_config() -> "FlowControlConfig":
    """What `flow_controller` is configured with: the defaults, until you override this fixture."""
    from flowgate import FlowControlConfig  # noqa: PLC0415 - see above

    return FlowControlConfig()


@pytest.fixture
def saturation_detector() -> "SaturationDetector":
    """What tells `flow_controller` how full pods are: one slot each, until you override this fixture."""
    from flowgate.saturation import ConcurrencyDetector  # noqa: PLC0415 - see above

    return ConcurrencyDetector(1)


@pytest.fixture
def flow_events() -> "Recorder":
    """What happens at `flow_controller`, kept in order: ``flow_events.outcomes()``, ``flow_events.of(Released)``."""
    from flowgate.testing import Recorder  # noqa: PLC0415 - see above

    return Recorder()


@pytest.fixture
def flow_controller(
    flow_control_config: "FlowControlConfig",
    pods: "PodPool",
    saturation_detector: "SaturationDetector",
    flow_events: "Recorder",
) -> "FlowController":
    """A FlowController over `pods`, not entered: write ``async with flow_controller``, or let your gateway do it.

    Entering is left to the test because a gateway enters its controller itself, and because it works with any plugin
    that runs async tests.
    """
    from flowgate import FlowController  # noqa: PLC0415 - see above

    return FlowController(flow_control_config, locator=pods, detector=saturation_detector, observers=[flow_events])


@pytest.fixture
def virtual_clock(anyio_backend: Any) -> "Iterator[VirtualClock]":
    """Virtual time: anyio runs the test on your ``anyio_backend``, by a clock that jumps over every wait.

    An async fixture that is set up earlier has started the event loop in real time already, and then this one fails. To
    run all tests of a folder in virtual time, override ``anyio_backend`` there with `flowgate.testing.virtual_backend`.

    A test that waits for what never comes fails on asyncio, after 20 real seconds without a timer; on trio it hangs.
    """
    from anyio.pytest_plugin import get_runner  # noqa: PLC0415 - see above

    from flowgate.testing import VirtualClock, virtual_backend  # noqa: PLC0415

    clock = VirtualClock()

    async def is_virtual() -> bool:
        try:
            clock.time()
        except RuntimeError:
            return False
        return True

    # anyio's async fixtures, and its tests, share the runner that is open: as long as this one is, it is theirs.
    with get_runner(*virtual_backend(anyio_backend)) as runner:
        if not runner.run_fixture(is_virtual, {}):
            pytest.fail(
                "virtual_clock comes too late: an async fixture started the event loop in real time before it. "
                "Let that fixture ask for virtual_clock too, or override anyio_backend with "
                "flowgate.testing.virtual_backend",
                pytrace=False,
            )
        yield clock
