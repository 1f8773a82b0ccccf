"""The story: a gateway without pods, two waves of clients, and what it all came to."""

import asyncio
import json
import sys
from asyncio.subprocess import DEVNULL, PIPE

import anyio
import httpx
from rich.console import Console

from examples.demo.autoscaler import Autoscaler
from examples.demo.checks import PodReport, RunReport, problems
from examples.demo.clients import WAVES, Answer
from examples.demo.gateway import Gateway
from examples.demo.journal import Journal
from examples.demo.ledger import Ledger
from examples.demo.lines import show_lines
from examples.demo.live import show_live
from examples.demo.scene import Scene
from examples.demo.serving import serving
from examples.demo.settings import FLOW_CONTROL, SLOTS, TIME_LIMIT
from examples.demo.summary import print_summary
from flowgate import FlowController
from flowgate.locators import StaticPodLocator
from flowgate.saturation import ConcurrencyDetector

__all__ = ["conclude", "play"]


async def play(console: Console) -> int:
    """Play the whole story, and print the summary; returns the exit status."""
    journal = Journal(asyncio.get_running_loop().time)
    ledger = Ledger(journal)
    locator = StaticPodLocator()
    detector = ConcurrencyDetector(SLOTS)
    async with (
        FlowController(FLOW_CONTROL, locator=locator, detector=detector, observers=[ledger]) as controller,
        httpx.AsyncClient(limits=httpx.Limits(keepalive_expiry=1.0), timeout=TIME_LIMIT, trust_env=False) as http,
    ):
        gateway = Gateway(controller, locator, http)
        autoscaler = Autoscaler(
            locator,
            waiting=lambda: controller.stats().queued_requests,
            in_flight=ledger.in_flight,
            journal=journal,
        )
        answers: list[Answer] = []
        async with serving(gateway) as url, anyio.create_task_group() as tasks:
            tasks.start_soon(autoscaler.run)
            tasks.start_soon(show, Scene(ledger, autoscaler, journal), console)
            for wave in WAVES:
                answers += await make_calls(url, wave)
                await autoscaler.wait_for_zero()
            tasks.cancel_scope.cancel()
        report = report_of(gateway, controller, ledger, autoscaler, answers)
    return conclude(console, report, ledger)


def conclude(console: Console, report: RunReport, ledger: Ledger) -> int:
    """Print the summary; returns the exit status: 1 if anything was lost or a limit broken."""
    found = problems(report)
    print_summary(console, report, ledger, found)
    return 1 if found else 0


async def show(scene: Scene, console: Console) -> None:
    """Show what happens: in a frame where the terminal can, else in lines."""
    if console.is_terminal and not console.is_dumb_terminal:
        await show_live(scene, console)
    else:
        await show_lines(scene)


async def make_calls(url: str, wave: str) -> list[Answer]:
    """Let the clients, a process of their own, make the calls of one wave; returns how each ended."""
    command = [sys.executable, "-m", "examples.demo.clients", "--url", url, "--wave", wave]
    process = await asyncio.create_subprocess_exec(*command, stdin=DEVNULL, stdout=PIPE, start_new_session=True)
    try:
        said, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            with anyio.CancelScope(shield=True):
                await process.wait()
    return [Answer(**json.loads(line)) for line in said.splitlines()]


def report_of(
    gateway: Gateway, controller: FlowController, ledger: Ledger, autoscaler: Autoscaler, answers: list[Answer]
) -> RunReport:
    """Gather what each side has counted."""
    stats = controller.stats()
    return RunReport(
        called=[f"{wave}-{number}" for wave, calls in WAVES.items() for number, _ in enumerate(calls())],
        answers=answers,
        submitted=gateway.submitted,
        outcomes=ledger.outcomes,
        left_waiting=stats.queued_requests,
        left_in_flight=stats.in_flight,
        inversions=ledger.inversions,
        plugin_failures=sum(stats.plugin_failures.values()),
        unserved=gateway.unserved,
        pods=[pod_report(pod.name, pod.counts, ledger) for pod in autoscaler.pods],
    )


def pod_report(name: str, counts: dict[str, int] | None, ledger: Ledger) -> PodReport:
    """Put a pod's last words beside what flowgate knew of it."""
    said = counts or {}
    return PodReport(
        name=name,
        limit=SLOTS,
        most_by_flowgate=ledger.most_in_flight[name],
        most_by_pod=said.get("most_in_flight"),
        served=said.get("served", 0),
        refused=said.get("refused", 0),
    )
