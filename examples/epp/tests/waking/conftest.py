import asyncio
import shutil
import subprocess
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import grpc
import grpc_tools
import pytest

from flowgate import FlowControlConfig, FlowController, PriorityBandConfig
from flowgate.saturation import ConcurrencyDetector
from flowgate.testing import Callers, PodPool
from flowgate_epp.waking import DemandMeter, KedaScaler, KedaSettings

CONFIG = FlowControlConfig(
    bands=[PriorityBandConfig(10, max_requests=5), PriorityBandConfig(0), PriorityBandConfig(-5)],
    max_requests=8,
    max_bytes=10_000,
)


@pytest.fixture
def anyio_backend():
    return "asyncio"


class Ear:
    """An observer that keeps what it is told."""

    def __init__(self):
        self.told = []

    def demand_changed(self, demand):
        self.told.append(demand)


@pytest.fixture
def ear():
    return Ear()


@attrs.define
class Flow:
    """A real controller with a meter, and callers to drive it."""

    controller: FlowController
    meter: DemandMeter
    pool: PodPool
    callers: Callers


@asynccontextmanager
async def _flow(work="bytes", *, config=CONFIG, pods=0, slots=2):
    meter, pool = DemandMeter(work), PodPool(pods)
    detector = ConcurrencyDetector(slots)
    controller = FlowController(config, locator=pool, detector=detector, observers=[meter])
    async with controller, Callers(controller) as callers:
        yield Flow(controller, meter, pool, callers)


@pytest.fixture
def flow():
    return _flow


class Client:
    """KEDA's side of the connection, of stubs generated from a .proto file."""

    def __init__(self, pb, stubs, channel):
        self.pb = pb
        self._stub = stubs.ExternalScalerStub(channel)

    def ref(self, **metadata):
        return self.pb.ScaledObjectRef(name="llm", namespace="ai", scalerMetadata=metadata)

    async def is_active(self, **metadata):
        return (await self._stub.IsActive(self.ref(**metadata), timeout=10)).result

    async def spec(self, **metadata):
        (spec,) = (await self._stub.GetMetricSpec(self.ref(**metadata), timeout=10)).metricSpecs
        return spec

    async def value(self, name="flowgate-requests", **metadata):
        request = self.pb.GetMetricsRequest(scaledObjectRef=self.ref(**metadata), metricName=name)
        (value,) = (await self._stub.GetMetrics(request, timeout=10)).metricValues
        assert value.metricName == name
        return value

    def stream(self, **metadata):
        return self._stub.StreamIsActive(self.ref(**metadata))

    async def heard(self, call):
        """Wait until the server says that it has taken the stream."""
        await asyncio.wait_for(call.initial_metadata(), 10)
        return call


@pytest.fixture(scope="session")
def published(tmp_path_factory):
    """Stubs of KEDA's own file where Go's module cache has it, else of ours, which says the same."""
    found = sorted(Path.home().glob("go/pkg/mod/github.com/kedacore/keda/v2@*/pkg/scalers/externalscaler/*.proto"))
    source = found[-1] if found else Path(__file__).parent / "externalscaler.proto"
    folder = tmp_path_factory.mktemp("stubs")
    shutil.copyfile(source, folder / "externalscaler.proto")
    common = Path(grpc_tools.__file__).parent / "_proto"
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{folder}", f"-I{common}", f"--python_out={folder}"]
    subprocess.run([*command, f"--grpc_python_out={folder}", "externalscaler.proto"], check=True, timeout=60)
    sys.path.insert(0, str(folder))
    import externalscaler_pb2  # noqa: PLC0415 - it has just been made
    import externalscaler_pb2_grpc  # noqa: PLC0415

    sys.path.remove(str(folder))
    return externalscaler_pb2, externalscaler_pb2_grpc


@pytest.fixture
def keda(published):
    """A scaler that listens, and a client of it."""

    @asynccontextmanager
    async def opened(meter, *, is_leader=lambda: True, **options):
        scaler = KedaScaler(meter, KedaSettings(host="127.0.0.1", port=0, **options), is_leader=is_leader)
        await scaler.start()
        try:
            async with grpc.aio.insecure_channel(f"127.0.0.1:{scaler.port}") as channel:
                yield scaler, Client(*published, channel)
        finally:
            await scaler.stop()

    return opened
