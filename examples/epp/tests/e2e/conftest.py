"""What every end-to-end test stands on: an event loop, a stage of its own or its module's, and logs when it fails."""

import contextlib
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

# The stage lives beside the package, not in it.
ROOT = str(Path(__file__).parents[4])
if ROOT not in sys.path:
    sys.path.append(ROOT)

from examples.stage import Stage  # noqa: E402 - what is above must come first
from examples.stage.gateway import Gateway  # noqa: E402 - what is above must come first

GatewayFactory = Callable[..., contextlib.AbstractAsyncContextManager[Gateway]]

_on_stage: list[Stage] = []


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Run on asyncio, in one loop for as long as a shared gateway lives."""
    return "asyncio"


@contextlib.asynccontextmanager
async def entered(folder: Path) -> AsyncIterator[Stage]:
    # A slot that is given back by the garbage collector only is told of, if Python is asked to.
    async with Stage(folder, {"PYTHONWARNINGS": "default::ResourceWarning"}) as stage:
        _on_stage.append(stage)
        try:
            yield stage
        finally:
            _on_stage.remove(stage)


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    """A stage for one test."""
    async with entered(tmp_path) as stage:
        yield stage


@pytest.fixture
def open_gateway(stage: Stage) -> GatewayFactory:
    """Open gateways with a configuration of the test's; left, each must be at rest, without a word of complaint."""

    @contextlib.asynccontextmanager
    async def open_(config: dict[str, Any] | None = None, **envoy: Any) -> AsyncIterator[Gateway]:
        async with Gateway.open(stage, config or {}, **envoy) as gateway:
            yield gateway
        await at_rest(gateway)

    return open_


async def at_rest(gateway: Gateway) -> None:
    if gateway.epp.process.returncode is None:
        is_at_rest = "nothing waits, nothing is in flight"
        await gateway.until(lambda state: state["queued"] == state["in_flight"] == 0, is_at_rest)
    for line in gateway.epp.process.said():
        assert not any(word in line for word in ("Traceback", "ResourceWarning", '"level":"error"')), line


@pytest.fixture
def slots() -> Callable[..., dict[str, Any]]:
    """Write a configuration in which a pod has so many slots, and nothing else tells how full it is."""

    def write(number: int, **flow_control: Any) -> dict[str, Any]:
        detector = {"name": "concurrency", "max_concurrency": number}
        return {"flow_control": {"detector": detector, **flow_control}, "scraper": "none"}

    return write


@pytest.fixture(scope="module")
async def gateway(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Gateway]:
    """A gateway with one pod that has room, for tests of a module that leave nothing behind."""
    detector = {"name": "concurrency", "max_concurrency": 64}
    async with (
        entered(tmp_path_factory.mktemp("shared")) as stage,
        Gateway.open(stage, {"flow_control": {"detector": detector}, "scraper": "none"}) as gateway,
    ):
        await gateway.announce(await gateway.start_pod())
        yield gateway
        await at_rest(gateway)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    report = yield
    if report.failed:
        for stage in _on_stage:
            report.sections += [(f"the log of {process.name}", process.tail()) for process in stage.processes]
    return report
