"""What every test on a real API server stands on: the cluster, a namespace in it with a pool, and a gateway."""

import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

# The stage lives beside the package, not in it.
ROOT = str(Path(__file__).parents[3])
if ROOT not in sys.path:
    sys.path.append(ROOT)

from examples.stage import Epp, Stage  # noqa: E402 - what is above must come first
from examples.stage.gateway import Gateway  # noqa: E402 - what is above must come first
from examples.stage.kubernetes import FaultyPath, RealCluster  # noqa: E402 - what is above must come first
from examples.stage.kubernetes.pool import Pool  # noqa: E402 - what is above must come first

GatewayFactory = Callable[..., contextlib.AbstractAsyncContextManager[Gateway]]

_on_stage: list[Stage] = []


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Run on asyncio, in one loop for as long as the cluster lives."""
    return "asyncio"


@pytest.fixture(scope="session")
def binaries() -> Path:
    """The folder with the programs; it must be named, for a test that skips itself is no test."""
    folder = os.environ.get("FLOWGATE_KUBERNETES")
    assert folder, "FLOWGATE_KUBERNETES must name the folder that `python -m examples.stage.kubernetes.binaries` prints"
    return Path(folder)


@pytest.fixture(scope="session")
async def cluster(binaries: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RealCluster]:
    """One API server for all tests, in which roles say who may do what."""
    async with RealCluster(binaries, tmp_path_factory.mktemp("cluster"), rbac=True) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def numbers() -> Iterator[int]:
    """Count tests, and pods: each has an address of its own."""
    return iter(range(1, 10_000))


@pytest.fixture
async def pool(cluster: RealCluster, numbers: Iterator[int]) -> AsyncIterator[Pool]:
    """An InferencePool without pods, in a namespace of its own."""
    async with Pool.make(cluster, f"test-{next(numbers)}", numbers) as pool:
        yield pool


@pytest.fixture
async def path(cluster: RealCluster) -> AsyncIterator[FaultyPath]:
    """A way to the API server that can break."""
    async with FaultyPath(cluster.port) as path:
        yield path


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    """A stage for one test."""
    async with Stage(tmp_path, {"PYTHONWARNINGS": "default::ResourceWarning"}) as stage:
        _on_stage.append(stage)
        try:
            yield stage
        finally:
            _on_stage.remove(stage)


@pytest.fixture
def open_gateway(stage: Stage, pool: Pool, path: FaultyPath) -> GatewayFactory:
    """Open gateways whose Endpoint Picker follows the pool, by the way that can break."""

    @contextlib.asynccontextmanager
    async def open_(
        slots: int = 1, *, user: str = "admin", kubernetes: Any = None, **tables: Any
    ) -> AsyncIterator[Gateway]:
        config = pool.config(stage.folder, slots, user=user, port=path.port, kubernetes=kubernetes or {})
        envoy = {"subset_header": "x-subset"}
        async with Gateway.open(stage, {**config, **tables}, **envoy) as gateway:
            yield gateway
        if gateway.epp.process.returncode is None:
            is_at_rest = "nothing waits, nothing is in flight"
            await gateway.until(lambda state: state["queued"] == state["in_flight"] == 0, is_at_rest)
        for line in gateway.epp.process.said():
            assert "Traceback" not in line, line

    return open_


@pytest.fixture
def start_picker(stage: Stage, pool: Pool, path: FaultyPath) -> Callable[..., Awaitable[Epp]]:
    """Start an Endpoint Picker alone, which may never get ready."""

    async def start(name: str, *, user: str = "admin", **tables: Any) -> Epp:
        config = pool.config(stage.folder, 8, user=user, port=path.port, kubernetes={}, name=name)
        port, admin = stage.port(), stage.port()
        listening = {"server": {"host": "127.0.0.1", "port": port}, "admin": {"host": "127.0.0.1", "port": admin}}
        file = stage.folder / f"{name}.yaml"
        file.write_text(json.dumps({**config, **listening, **tables}), "utf-8")
        process = await stage.spawn(name, sys.executable, "-m", "flowgate_epp", "--config", str(file))
        return Epp(process, port, f"http://127.0.0.1:{admin}")

    return start


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    report = yield
    if report.failed:
        for stage in _on_stage:
            report.sections += [(f"the log of {process.name}", process.tail()) for process in stage.processes]
    return report
