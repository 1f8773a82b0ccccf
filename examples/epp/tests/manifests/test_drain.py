"""What an Envoy that is told to go does first, by the script that is shipped, with the real Envoy."""

import asyncio
import os
import sys
from pathlib import Path

import pytest

# The stage lives beside the package, not in it.
ROOT = str(Path(__file__).parents[4])
if ROOT not in sys.path:
    sys.path.append(ROOT)

from examples.stage import Stage  # noqa: E402 - what is above must come first
from examples.stage.gateway import Gateway  # noqa: E402 - what is above must come first

pytestmark = pytest.mark.anyio

DEADLINE = 30.0
DETECTOR = {"name": "concurrency", "max_concurrency": 8}


@pytest.fixture
def anyio_backend():
    return "asyncio"


async def test_a_request_that_is_held_is_waited_for(manifests, tmp_path):
    """Two signs: the script has not ended while the request waits, and ends once it is answered."""
    config = {"flow_control": {"detector": DETECTOR}, "scraper": "none"}
    async with Stage(tmp_path) as stage, Gateway.open(stage, config) as gateway, asyncio.timeout(DEADLINE):
        call = gateway.call()
        await gateway.holds(1)
        script = await asyncio.create_subprocess_exec(
            *("bash", str(manifests / "components/envoy/drain.sh"), "0"),
            env={"PATH": os.environ["PATH"], "ENVOY_ADMIN_PORT": str(gateway.settings.admin_port)},
            stderr=asyncio.subprocess.PIPE,
        )
        ended = asyncio.ensure_future(script.communicate())
        await asyncio.wait([ended], timeout=2.5)
        assert not ended.done()
        await gateway.announce(await gateway.start_pod())
        assert (await call.answer()).status == 200
        _, errors = await ended
        assert (script.returncode, errors) == (0, b"")


async def test_an_envoy_that_is_gone_already_is_not_waited_for(manifests, tmp_path):
    async with Stage(tmp_path) as stage, asyncio.timeout(DEADLINE):
        script = await asyncio.create_subprocess_exec(
            *("bash", str(manifests / "components/envoy/drain.sh")),
            env={"PATH": os.environ["PATH"], "ENVOY_ADMIN_PORT": str(stage.port())},
            stderr=asyncio.subprocess.DEVNULL,
        )
        assert await script.wait() == 0
