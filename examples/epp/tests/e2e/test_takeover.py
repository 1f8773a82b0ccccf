"""Two Endpoint Pickers behind one Envoy: one leads, the other stands by and takes over."""

import asyncio
import contextlib
import json
import sys
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import attrs
import pytest

from examples.stage import Epp, Stage
from examples.stage.gateway import Gateway
from examples.stage.kubernetes import FakeApiServer
from flowgate_epp.envoy_config import EnvoySettings

pytestmark = pytest.mark.anyio

LEASES = "/apis/coordination.k8s.io/v1/namespaces/default/leases"
UNUSED = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "flowgate-epp"}}
DURATION = 2.0


@attrs.define
class Pair:
    """A gateway whose `epp` is the one that leads."""

    gateway: Gateway
    server: FakeApiServer
    epps: list[Epp]

    async def leader(self, seconds: float = 10.0) -> Epp:
        """Wait until one is ready, and make it the gateway's."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            for epp in self.epps:
                if epp.process.returncode is None and await self.gateway.stage.answers(f"{epp.admin_url}/readyz"):
                    self.gateway.epp = epp
                    return epp
            await asyncio.sleep(0.01)
        raise TimeoutError("nobody leads")


@contextlib.asynccontextmanager
async def pair(stage: Stage, config: dict[str, Any]) -> AsyncIterator[Pair]:
    async with FakeApiServer() as server:
        await server.create(LEASES, UNUSED)
        kubeconfig = stage.folder / "kubeconfig"
        server.write_kubeconfig(kubeconfig)
        epps = [await start(stage, config, str(kubeconfig), f"epp-{number}") for number in (1, 2)]
        settings = EnvoySettings(
            listen_port=stage.port(),
            admin_port=stage.port(),
            epp_endpoints=tuple(f"127.0.0.1:{epp.port}" for epp in epps),
        )
        envoy = await stage.start_envoy(settings)
        both = Pair(Gateway(stage, config, settings, envoy, epps[0]), server, epps)
        await both.leader()
        await both.gateway.finds_epp()
        try:
            yield both
        finally:
            for epp in epps:
                await epp.process.stop()


async def start(stage: Stage, config: dict[str, Any], kubeconfig: str, name: str) -> Epp:
    port, admin_port = stage.port(), stage.port()
    tables = {
        "pods": {"name": "file-pods", "path": str(stage.pods_file)},
        "kubernetes": {"kubeconfig": kubeconfig, "namespace": "default"},
        "leadership": {"duration": DURATION, "renew_deadline": 1.4, "retry_interval": 0.3},
        **config,
        "server": {"host": "127.0.0.1", "port": port, **config.get("server", {})},
        "admin": {"host": "127.0.0.1", "port": admin_port},
    }
    path = stage.folder / f"{name}.yaml"
    path.write_text(json.dumps(tables), "utf-8")  # JSON is YAML
    process = await stage.spawn(name, sys.executable, "-m", "flowgate_epp", "--config", str(path))
    epp = Epp(process, port, f"http://127.0.0.1:{admin_port}")
    # One that stands by is alive, and not ready.
    await process.ready(lambda: stage.answers(f"{epp.admin_url}/healthz"))
    return epp


async def served_again(gateway: Gateway, seconds: float) -> float:
    """Ask until one is served; each that is not is told when to come again. Returns how long that took."""
    began = time.monotonic()
    while True:
        answer = await gateway.ask()
        if answer.status == 200:
            return time.monotonic() - began
        assert (answer.status, "retry-after" in answer.headers) == (503, True)
        assert time.monotonic() - began < seconds
        await asyncio.sleep(0.05)


async def test_a_leader_that_is_killed_costs_those_it_held_503_and_the_other_serves(
    stage: Stage, slots: Callable[..., dict[str, Any]]
) -> None:
    """Nobody hangs: 503 with Retry-After within a second; new requests are served once the lease has run out."""
    async with pair(stage, slots(8)) as both:
        gateway = both.gateway
        calls = [gateway.call() for _ in range(20)]
        await gateway.holds(20)
        killed_at = time.monotonic()
        gateway.epp.process.kill()
        answers = await asyncio.gather(*[call.answer() for call in calls])
        assert time.monotonic() - killed_at < 1.0
        assert {(answer.status, answer.headers.get("retry-after")) for answer in answers} == {(503, "2")}
        stage.set_pods([await gateway.start_pod()])
        # The lease's time, a look of the other's, and one of Envoy's.
        assert await served_again(gateway, DURATION + 1.5) < DURATION + 1.5
        await both.leader()
        assert (await gateway.state())["ready"]


async def test_a_leader_that_is_stopped_serves_what_it_holds_and_the_other_takes_over_at_once(
    stage: Stage, slots: Callable[..., dict[str, Any]]
) -> None:
    """No request fails: those that wait are served by the old one, those that come by either.

    Envoy may notice that the one leaves before it notices that the other leads, unless it is given time for each.
    """
    async with pair(stage, {**slots(8), "server": {"drain_timeout": 10}}) as both:
        gateway = both.gateway
        await gateway.announce(await gateway.start_pod(slots=64, ttft=0.3))
        calls = [gateway.call() for _ in range(20)]
        await gateway.holds(12)
        leader = gateway.epp
        leader.process.terminate()
        later = []
        for _ in range(100):  # for longer than the old one takes any
            later.append(gateway.call())
            await asyncio.sleep(0.05)
        answers = await asyncio.gather(*[call.answer() for call in (*calls, *later)])
        assert [answer.status for answer in answers] == [200] * 120
        assert await leader.process.wait() == 0
        assert (await both.leader()) is not leader


async def test_a_leader_without_an_api_server_gives_up_and_ends(
    stage: Stage, slots: Callable[..., dict[str, Any]]
) -> None:
    """It cannot be sure any more: who waits is told to come again, and it ends so that it is started anew."""
    async with pair(stage, slots(4)) as both:
        gateway = both.gateway
        calls = [gateway.call() for _ in range(20)]
        await gateway.holds(20)
        await both.server.stop()
        answers = await asyncio.gather(*[call.answer() for call in calls])
        assert {answer.status for answer in answers} == {503}
        assert all(int(answer.headers["retry-after"]) in {1, 2, 3} for answer in answers)
        assert await gateway.epp.process.wait() not in {0, 1, 2}
        await both.server.start()
        await both.leader()
