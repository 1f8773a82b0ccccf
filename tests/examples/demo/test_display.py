"""What the demo shows: a frame in a terminal, plain lines everywhere else, and each note once."""

import asyncio
import io
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from rich.console import Console

from examples.demo.autoscaler import Autoscaler
from examples.demo.background import running
from examples.demo.decisions import DecisionLog
from examples.demo.feed import Feed, Picture
from examples.demo.journal import Journal
from examples.demo.ledger import Ledger
from examples.demo.lines import status
from examples.demo.live import frame
from examples.demo.model_pod import ModelPod
from examples.demo.scene import Scene
from examples.demo.showing import Screen, introduce, invite, show
from examples.stage import Stage, wait_until

PICTURE = Picture(
    queued=45,
    in_flight=3,
    waiting={10: {"acme": 1}, 0: {"acme": 40, "globex": 4}},
    pods={"pod-1": 3},
    running={"pod-1": 2},
)


async def make_scene(folder: Path, http: aiohttp.ClientSession) -> Scene:
    """Make a scene in which nothing moves: one pod of each phase."""
    journal = Journal(asyncio.get_running_loop().time)
    feed = Feed("http://127.0.0.1:1", http, lambda _picture: None)
    feed.now = PICTURE
    autoscaler = Autoscaler(Stage(folder), feed, journal)
    for number, phase in enumerate(("stopped", "ready", "starting", "stopping")):
        pod = ModelPod(f"pod-{number}", asyncio.get_running_loop().time())
        pod.phase = phase
        autoscaler.pods.append(pod)
    autoscaler.pods[0].counts = {"served": 17}
    ledger = Ledger(DecisionLog(folder / "epp.log"), lambda _decision: None)
    ledger.gone.update({"went on": 5, "no-pods": 2})
    return Scene("http://127.0.0.1:1", "http://127.0.0.1:2", feed, ledger, autoscaler, journal)


def with_scene(folder: Path, look: Any) -> Any:
    async def run() -> Any:
        async with aiohttp.ClientSession() as http:
            found = look(await make_scene(folder, http))
            return await found if isinstance(found, Coroutine) else found

    return asyncio.run(run())


def test_a_line_says_what_waits_where_requests_are_and_how_many_have_gone(tmp_path: Path) -> None:
    assert with_scene(tmp_path, status) == (
        " 1 interactive, 44 standard,  0 batch wait | pod-1 3/4, pod-2 starting, pod-3 stopping | 5 went on, 2 no-pods"
    )


def test_a_line_says_that_there_are_no_pods(tmp_path: Path) -> None:
    def look(scene: Scene) -> str:
        scene.autoscaler.pods.clear()
        return status(scene)

    assert "| no pods |" in with_scene(tmp_path, look)


def drawn(scene: Scene) -> list[str]:
    output = io.StringIO()
    Console(file=output, width=100).print(frame(scene))
    return output.getvalue().splitlines()


def test_the_frame_shows_bars_slots_and_the_last_notes(tmp_path: Path) -> None:
    def look(scene: Scene) -> list[str]:
        for number in range(9):
            scene.journal.note(f"note {number}")
        return drawn(scene)

    text = "\n".join(with_scene(tmp_path, look))
    assert "██████████ 40" in text
    assert "█ 4 " in text
    assert "■■■□ 3 of 4 slots   2 by its own metrics" in text
    assert "▱▱▱▱▱▱▱▱▱▱ 0.0 s" in text
    assert "5 went on   2 no-pods" in text
    assert "note 8" in text
    assert "note 1" not in text


def test_the_frame_keeps_its_height(tmp_path: Path) -> None:
    def look(scene: Scene) -> tuple[int, int]:
        full = len(drawn(scene))
        scene.autoscaler.pods.clear()
        scene.feed.now = Picture()
        return full, len(drawn(scene))

    full, empty = with_scene(tmp_path, look)
    assert full == empty


def test_a_terminal_gets_the_frame(tmp_path: Path) -> None:
    output = io.StringIO()
    console = Screen(file=output, force_terminal=True, width=110, height=50, _environ={"TERM": "xterm"})

    async def look(scene: Scene) -> None:
        async with running(show(scene, console)):
            await wait_until(lambda: output.getvalue().count("what happened") > 2, 10, "frames are drawn")

    with_scene(tmp_path, look)


def test_a_pipe_gets_ascii_each_note_once_and_a_status_only_when_it_changes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    console = Screen(force_terminal=False, width=110)
    said = ""

    async def show_until(scene: Scene, text: str) -> None:
        def is_said() -> bool:
            nonlocal said
            said += capsys.readouterr().out
            return text in said

        async with running(show(scene, console)):
            await wait_until(is_said, 10, text)

    async def look(scene: Scene) -> None:
        scene.journal.note("the first note")
        await show_until(scene, "the first note")
        scene.journal.note("the second note")
        await show_until(scene, "| pod-1 3/4")
        asyncio.get_running_loop().call_later(2.5, scene.autoscaler.pods.clear)
        await show_until(scene, "| no pods |")

    with_scene(tmp_path, look)
    said += capsys.readouterr().out
    assert said.isascii()
    assert [said.count(text) for text in ("first note", "second note", "| no pods |")] == [1, 1, 1]
    assert said.count("| pod-1 3/4") == 2  # once in each display


def test_a_dumb_terminal_gets_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    console = Screen(file=io.StringIO(), force_terminal=True, _environ={"TERM": "dumb"})

    async def look(scene: Scene) -> None:
        scene.journal.note("a note")
        async with running(show(scene, console)):
            await asyncio.sleep(0)  # what is left is printed when the display ends

    with_scene(tmp_path, look)
    assert "* a note" in capsys.readouterr().out


def test_the_heading_says_where_to_look_and_the_invitation_how_to_take_part(tmp_path: Path) -> None:
    output = io.StringIO()
    console = Screen(file=output, width=40)

    def look(scene: Scene) -> None:
        introduce(scene, console)
        invite(scene, console)

    with_scene(tmp_path, look)
    said = output.getvalue()
    assert said.isascii()
    assert "live page of the Endpoint Picker: http://127.0.0.1:1/\n" in said
    assert "curl http://127.0.0.1:2/v1/completions -H 'x-gateway-inference-objective: interactive' \\\n" in said
