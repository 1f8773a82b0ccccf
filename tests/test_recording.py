"""The recording of the demo shows what came to a terminal, and is a picture that needs nothing else."""

import re
from pathlib import Path
from runpy import run_path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from examples.demo.scene import INTRODUCTION, TITLE

DOCS = Path(__file__).parents[1] / "docs"
DRAWN = (DOCS / "demo.svg").read_text("utf-8")
RECORDING: Any = SimpleNamespace(**run_path(str(DOCS / "recording.py")))

AGAIN = "\r\x1b[2K\x1b[1A\x1b[2K"
"""What rich writes before it draws a frame of two lines anew."""


def frame(text: str) -> str:
    return f"╭ {text}\r\n╰──╯\x1b[0m"


def came(*written: tuple[float, str]) -> list[Any]:
    return [RECORDING.Screen(*each) for each in written]


def parse(svg: str) -> ET.Element:
    return ET.fromstring(svg)  # noqa: S314 - our own


def texts(svg: str) -> list[str]:
    return ["".join(node.itertext()) for node in parse(svg).iter("{http://www.w3.org/2000/svg}text")]


STORY = came(
    (0.5, "heading\r\n\x1b[?25l" + frame("0 wait")),
    (1.0, AGAIN + frame("\x1b[32m■\x1b[0m 1 waits")[:9]),
    (1.5, frame("\x1b[32m■\x1b[0m 1 waits")[9:] + AGAIN + frame("2 wait")),
    (2.5, "\x1b[?25h\r\nOK: a < b\r\n"),
)


def test_what_came_is_taken_apart_into_screens_with_the_time_of_their_last_piece() -> None:
    shown = [(screen.time, screen.text) for screen in RECORDING.screens(STORY)]
    assert [time for time, _ in shown] == [0.5, 1.5, 1.5, 2.5]
    assert ["heading" in text for _, text in shown] == [True] * 4
    assert [re.findall(r"\d waits?", text) for _, text in shown] == [["0 wait"], ["1 waits"], ["2 wait"], ["2 wait"]]
    assert shown[-1][1].endswith("OK: a < b\r\n")


def test_each_text_is_shown_from_its_screen_on_and_no_longer() -> None:
    svg = RECORDING.svg(RECORDING.screens(STORY))
    assert {"heading", "0 wait", "2 wait", "OK: a < b"} <= {text.removeprefix("╭ ") for text in texts(svg)}
    times = dict(re.findall(r"@keyframes (s\d+-\d+)\{(.*?\})\} ", svg))
    at = {"".join(text.itertext()): group.get("class") for group in parse(svg) for text in group}
    assert at["heading"] is None  # always
    assert times[at["╭ 0 wait"]].startswith("0.000%{visibility:visible}")
    assert times[at["OK: a < b"]].startswith("0.000%{visibility:hidden}")
    assert times[at["OK: a < b"]].endswith("{visibility:visible}")


def test_where_nothing_moves_one_screen_is_shown() -> None:
    root = parse(RECORDING.svg(RECORDING.screens(STORY)))
    still = ["".join(text.itertext()) for group in root if group.get("visibility") != "hidden" for text in group]
    assert "■" in still
    assert "1 waits" in still
    assert "OK: a < b" not in still


def test_a_program_is_recorded_in_a_terminal() -> None:
    program = "import sys; print(sys.stdout.isatty(), flush=True); print('end')"
    written = "".join(piece.text for piece in RECORDING.record(("-c", program)))
    assert written == "True\r\nend\r\n"


def test_a_program_that_fails_is_not_drawn() -> None:
    with pytest.raises(SystemExit, match="ended with 3"):
        RECORDING.record(("-c", "raise SystemExit(3)"))


def test_the_picture_is_of_the_demo_as_it_is_and_everything_added_up() -> None:
    shown = texts(DRAWN)
    assert TITLE in shown
    assert INTRODUCTION in shown
    assert any(text.startswith("OK: ") for text in shown)
    assert not any(text.startswith("PROBLEM") for text in shown)


def test_the_picture_fetches_nothing_and_runs_nothing() -> None:
    names = {node.tag.rpartition("}")[2] for node in parse(DRAWN).iter()}
    assert names == {"g", "rect", "style", "svg", "text", "title"}
    assert not re.search(r"href|url\(|@import|@font-face|\son\w+=", re.sub(r">[^<]*</text>", "></text>", DRAWN))


def test_no_text_leaves_the_picture() -> None:
    width = float(parse(DRAWN).get("viewBox", "").split()[2])
    for node in parse(DRAWN).iter("{http://www.w3.org/2000/svg}text"):
        assert float(node.get("x", "")) + float(node.get("textLength", "")) <= width, node.text
