"""What is measured: an Envoy each, and what it asks, if anything."""

import sys
from collections.abc import Mapping
from functools import partial
from typing import Any

import attrs
import psutil

from examples.epp.benchmarks.envoys import answering, straight
from examples.epp.benchmarks.load import run_load
from examples.stage import Spawned, Stage
from flowgate_epp.envoy_config import EnvoySettings

__all__ = ["ALONE", "BARE", "EPP", "LEGACY", "UNDECIDED", "Contestant", "Round", "enter"]

ALONE = "Envoy alone"
BARE = "bare ext_proc server"
UNDECIDED = "ours, nothing to decide"
EPP = "endpoint picker"
LEGACY = "endpoint picker, legacy admission"

_SLOTS = 100_000


@attrs.frozen
class Round:
    """What one round took.

    Attributes:
        throughput: Requests a second.
        median: Of the requests' times, in seconds.
        slow: The time that one request in a hundred exceeds, in seconds.
        picker: CPU time of the process that Envoy asks, in seconds for each request.
        envoy: CPU time of Envoy, in seconds for each request.
    """

    throughput: float
    median: float
    slow: float
    picker: float
    envoy: float


@attrs.frozen
class Contestant:
    """An Envoy, and what it asks.

    Args:
        name: As the report shows it.
        port: Where clients find Envoy.
        envoy: Its process.
        picker: The process that it asks; None when it asks nobody.
    """

    name: str
    port: int
    envoy: Spawned
    picker: Spawned | None = None

    async def run(self, requests: int, connections: int) -> Round:
        """Send requests, and see what they take.

        Raises:
            Wrong: One is not answered with 200.
        """
        processes = [None if each is None else psutil.Process(each.pid) for each in (self.picker, self.envoy)]
        before = [_seconds(process) for process in processes]
        taken = await run_load(self.port, requests, connections)
        picker, envoy = (
            (_seconds(process) - began) / requests for process, began in zip(processes, before, strict=True)
        )
        return Round(requests / taken.seconds, taken.median, taken.slow, picker, envoy)


async def enter(stage: Stage) -> list[Contestant]:
    """Start everything that is measured; the stage ends it."""
    pod = EnvoySettings(listen_port=stage.port(), admin_port=stage.port())
    await stage.start_envoy(pod, "pod", edit=answering)
    alone = EnvoySettings(listen_port=stage.port(), admin_port=stage.port())
    envoy = await stage.start_envoy(alone, "alone", edit=partial(straight, port=pod.listen_port))
    contestants = [Contestant(ALONE, alone.listen_port, envoy.process)]
    for name, module in ((BARE, "bare"), (UNDECIDED, "undecided")):
        settings = _settings(stage)
        target = ("--port", str(settings.epp_port), "--pod", f"127.0.0.1:{pod.listen_port}")
        picker = await stage.spawn(module, sys.executable, "-m", f"examples.epp.benchmarks.{module}", *target)
        envoy = await stage.start_envoy(settings, f"envoy-{module}")
        contestants.append(Contestant(name, settings.listen_port, envoy.process, picker))
    for name, admission in ((EPP, "flow-control"), (LEGACY, "legacy")):
        settings = _settings(stage)
        epp = await stage.start_epp(_config(admission, pod.listen_port), f"epp-{admission}", port=settings.epp_port)
        envoy = await stage.start_envoy(settings, f"envoy-{admission}")
        contestants.append(Contestant(name, settings.listen_port, envoy.process, epp.process))
    for each in contestants:
        await each.envoy.ready(partial(stage.answers, f"http://127.0.0.1:{each.port}"))
    return contestants


def _settings(stage: Stage) -> EnvoySettings:
    return EnvoySettings(listen_port=stage.port(), admin_port=stage.port(), epp_port=stage.port())


def _config(admission: str, port: int) -> Mapping[str, Any]:
    """Let one pod have room for everybody: what is measured is the way there, not a wait."""
    return {
        "pods": {"name": "static-pods", "pods": [{"name": "pod", "address": "127.0.0.1", "port": port}]},
        "admission": admission,
        "flow_control": {"detector": {"name": "concurrency", "max_concurrency": _SLOTS}},
        "scraper": "none",
        "telemetry": {"log": {"requests": "refused"}},
    }


def _seconds(process: psutil.Process | None) -> float:
    if process is None:
        return 0.0
    times = process.cpu_times()
    return float(times.user + times.system)
