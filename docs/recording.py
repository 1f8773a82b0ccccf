"""Draws demo.svg, what the demo prints in a terminal: ``python docs/recording.py``, in an environment for the demo.

It plays the demo once, reads what arrives at the terminal, and draws that at the speed at which it came. The picture
fetches nothing and runs no script. Where pictures do not move, it shows the moment at which most slots are in use.
"""

import os
import pty
import re
import subprocess
import sys
import time
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Sequence
from html import escape
from itertools import accumulate, pairwise
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.segment import Segment
from rich.style import Style
from rich.terminal_theme import SVG_EXPORT_THEME as THEME
from rich.text import Text

__all__ = ["Screen", "record", "screens", "svg"]

COMMAND = ("-m", "examples.demo")
COLUMNS, ROWS = 108, 26
CELL, LINE, MARGIN = 8, 18, 14
"""Of a character, and around all: pixels."""

PERIOD = 0.5
"""Seconds between two pictures."""

LAST = 8.0
"""Seconds for which the end is shown."""

REDRAW = re.compile(r"\r\x1b\[2K(?:\x1b\[1A\x1b\[2K)+")
WORDS = re.compile(r"\S+(?: \S+)*")
CURSOR = re.compile(r"\x1b\[\?25[lh]")


class Screen(NamedTuple):
    """What the terminal shows from a moment on."""

    time: float
    """Seconds."""
    text: str
    """With the terminal's codes for colours."""


class Piece(NamedTuple):
    """Text of one style, somewhere on the screen."""

    row: int
    column: int
    text: str
    colour: str
    is_bold: bool

    def drawn(self) -> str:
        x, y = MARGIN + CELL * self.column, MARGIN + LINE * self.row + 13
        bold = ' font-weight="bold"' if self.is_bold else ""
        size = f'x="{x}" y="{y}" textLength="{CELL * Segment(self.text).cell_length}"'
        return f'<text {size} fill="{self.colour}"{bold}>{escape(self.text)}</text>'


def record(command: Sequence[str]) -> list[Screen]:
    """Run a program of Python's in a terminal, and return the pieces that it wrote, as they came.

    Raises:
        SystemExit: The program failed.
    """
    ours, its = pty.openpty()
    terminal = {"TERM": "xterm-256color", "COLUMNS": str(COLUMNS), "LINES": str(2 * ROWS)}
    process = subprocess.Popen([sys.executable, *command], stdin=its, stdout=its, stderr=its, env=os.environ | terminal)  # noqa: S603 - our own
    os.close(its)
    began = time.monotonic()
    came: list[Screen] = []
    try:
        while written := os.read(ours, 1 << 16):
            came.append(Screen(time.monotonic() - began, written.decode(errors="replace")))
    except OSError:  # how a terminal says that nobody writes any more
        pass
    os.close(ours)
    if process.wait():
        raise SystemExit(f"python {' '.join(command)} ended with {process.returncode}")
    return came


def screens(came: Sequence[Screen]) -> list[Screen]:
    """Find what stood on the screen, from what came: what was there before, the frames, and what came after."""
    everything = "".join(piece.text for piece in came)
    ends = list(accumulate(len(piece.text) for piece in came))
    found: list[Screen] = []
    start, before = 0, everything[: everything.find("╭")]
    for redraw in (*REDRAW.finditer(everything), None):
        end = redraw.start() if redraw else everything.rfind("╯") + 1 + len("\x1b[0m")
        shown = everything[start:end] if found else everything[:end]
        found.append(Screen(came[bisect_left(ends, end)].time, shown if not found else before + shown))
        start = redraw.end() if redraw else end
    found.append(Screen(came[-1].time, found[-1].text + everything[start:]))
    return found


def svg(shown: Sequence[Screen]) -> str:
    """Draw screens one after the other, for ever."""
    sampled = sample(shown)
    lasting = [later.time - earlier.time for earlier, later in pairwise(sampled)] + [LAST]
    starts = [0.0, *accumulate(lasting)]
    still = max(range(len(sampled)), key=lambda index: sampled[index].text.count("■"))
    parts: dict[tuple[int, int], list[Piece]] = defaultdict(list)
    for piece, runs in sorted(presence(sampled).items()):
        for run in runs:
            parts[run].append(piece)
    styles, groups = [], []
    for (first, end), pieces in sorted(parts.items()):
        drawn = "\n".join(piece.drawn() for piece in pieces)
        if (first, end) == (0, len(sampled)):
            groups.append(f"<g>\n{drawn}\n</g>")
            continue
        name = f"s{first}-{end}"
        styles.append(moment(name, starts[first] / starts[-1], starts[end] / starts[-1]))
        hidden = "" if first <= still < end else ' visibility="hidden"'
        groups.append(f'<g class="{name}"{hidden}>\n{drawn}\n</g>')
    return "\n".join([head(starts[-1], styles), *groups, "</svg>", ""])


def sample(shown: Sequence[Screen]) -> list[Screen]:
    """Take one screen in each period, and the last two: the end of the story, and what is said after it."""
    taken = [shown[0]]
    for screen in shown[1:-2]:
        if screen.time >= taken[-1].time + PERIOD:
            taken.append(screen)
    return [*taken, shown[-2], Screen(max(shown[-1].time, shown[-2].time + 1.0), shown[-1].text)]


def presence(sampled: Sequence[Screen]) -> dict[Piece, list[tuple[int, int]]]:
    """Say for each piece from which screen to which, that one excluded, it is there."""
    runs: dict[Piece, list[tuple[int, int]]] = defaultdict(list)
    for index, screen in enumerate(sampled):
        for piece in pieces_of(screen.text):
            if runs[piece] and runs[piece][-1][1] == index:
                runs[piece][-1] = (runs[piece][-1][0], index + 1)
            else:
                runs[piece].append((index, index + 1))
    return runs


def pieces_of(text: str) -> Iterator[Piece]:
    """Take a screen apart: the last lines that fit, below the command."""
    console = Console(color_system="truecolor", force_terminal=True, width=2 * COLUMNS)
    lines = [f"$ python {' '.join(COMMAND)}", *CURSOR.sub("", text).rstrip().split("\n")]
    for row, line in enumerate(lines[-ROWS:]):
        column = 0
        for segment in Text.from_ansi(line.strip("\r")).render(console):
            style = segment.style or console.get_style("none")
            for words in WORDS.finditer(segment.text):  # SVG makes one space of many
                indent = Segment(segment.text[: words.start()]).cell_length
                yield Piece(row, column + indent, words[0], colour_of(style), bool(style.bold))
            column += segment.cell_length


def colour_of(style: Style) -> str:
    """Say in which colour a terminal writes: half of it where it is dim."""
    written = style.color.get_truecolor(THEME) if style.color else THEME.foreground_color
    if style.dim:
        written = [(one + other) // 2 for one, other in zip(written, THEME.background_color, strict=True)]
    return "#" + "".join(f"{part:02x}" for part in written)


def moment(name: str, start: float, end: float) -> str:
    """Write the style of what is there for a part of the time."""
    steps = [(0.0, "hidden")] * (start > 0) + [(start, "visible")] + [(end, "hidden")] * (end < 1)
    frames = " ".join(f"{100 * at:.3f}%{{visibility:{state}}}" for at, state in steps)
    return f"@keyframes {name}{{{frames}}} .{name}{{animation-name:{name}}}"


def head(seconds: float, styles: Sequence[str]) -> str:
    width, height = 2 * MARGIN + CELL * COLUMNS, 2 * MARGIN + LINE * ROWS
    background = "#" + "".join(f"{part:02x}" for part in THEME.background_color)
    moves = "\n".join(styles)
    return f"""\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-size="13"
 font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', 'Liberation Mono', monospace">
<title>The demo in a terminal</title>
<style>
@media (prefers-reduced-motion: no-preference) {{
g{{animation-duration:{seconds:.2f}s; animation-timing-function:step-end; animation-iteration-count:infinite}}
{moves}
}}
</style>
<rect width="{width}" height="{height}" rx="8" fill="{background}"/>"""


if __name__ == "__main__":
    Path(__file__).with_name("demo.svg").write_text(svg(screens(record(COMMAND))), encoding="utf-8")
