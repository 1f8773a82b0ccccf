"""The story: Envoy and an Endpoint Picker without pods, two waves of clients, and what it all came to."""

import asyncio
import tempfile
from pathlib import Path

from rich.console import Console

from examples.demo.accounts import report_of
from examples.demo.background import running
from examples.demo.calls import WAVES
from examples.demo.checks import RunReport, problems
from examples.demo.clients import Answer
from examples.demo.scene import Scene
from examples.demo.settings import TIME_LIMIT
from examples.demo.showing import Screen, introduce, invite, show
from examples.demo.summary import print_summary
from examples.demo.troupe import Troupe
from examples.demo.waves import make_calls
from examples.stage import Stage

__all__ = ["conclude", "play"]


async def play(*, holds: bool) -> int:
    """Play the whole story, and print the summary; returns the exit status.

    Args:
        holds: Whether everything is kept running after that, until this is cancelled.

    Raises:
        ExceptionGroup: A process has ended early, or the story takes too long.
        StartError: A process has ended before it was ready.
    """
    console = Screen()
    with tempfile.TemporaryDirectory(prefix="flowgate-demo-") as folder:
        async with Stage(Path(folder)) as stage:
            troupe = await Troupe.enter(stage)
            scene = Scene.set(stage, troupe)
            introduce(scene, console)
            async with running(troupe.must_live(), scene.feed.run(), scene.ledger.run(), scene.autoscaler.run()):
                async with running(show(scene, console)):
                    answers = await play_waves(scene)
                    report = await report_of(stage, scene, answers)
                status = conclude(console, report)
                if holds:
                    invite(scene, console)
                    await show(scene, console)
    return status


async def play_waves(scene: Scene) -> list[Answer]:
    """Let one wave of clients after the other come, and wait each time until the pool is back at zero.

    Raises:
        TimeoutError: That takes too long.
    """
    answers: list[Answer] = []
    try:
        async with asyncio.timeout(TIME_LIMIT):
            for wave in WAVES:
                answers += await make_calls(scene.envoy, wave)
                await scene.autoscaler.wait_for_zero()
    except TimeoutError:
        raise TimeoutError(f"the story did not end within {TIME_LIMIT:.0f} s") from None
    return answers


def conclude(console: Console, report: RunReport) -> int:
    """Print the summary; returns the exit status: 1 if anything was lost or a limit broken."""
    found = problems(report)
    print_summary(console, report, found)
    return 1 if found else 0
