"""The demo in a terminal: one frame, redrawn while it runs."""

import asyncio

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from examples.demo.model_pod import ModelPod
from examples.demo.scene import Scene
from examples.demo.settings import BANDS, LOAD_SECONDS, MAX_PODS, SLOTS, TENANTS

__all__ = ["frame", "show_live"]

PERIOD = 0.1
NOTES = 7
BAR = 10
PER_CELL = 4
WIDTH = 92
COLOURS = dict(zip(BANDS, ("bright_green", "bright_yellow", "bright_blue"), strict=True))
PHASES = {"starting": "yellow", "ready": "green", "stopping": "magenta", "stopped": "bright_black"}


async def show_live(scene: Scene, console: Console) -> None:
    """Redraw the frame ten times a second, until cancelled."""
    with Live(frame(scene), console=console, auto_refresh=False) as live:
        try:
            while True:
                await asyncio.sleep(PERIOD)
                live.update(frame(scene), refresh=True)
        finally:
            live.update(frame(scene), refresh=True)


def frame(scene: Scene) -> Panel:
    """Draw everything as it is now."""
    parts = (heading("waiting"), waiting(scene), heading("pods"), pods(scene), heading("ended"), ended(scene))
    notes = (heading("what happened"), what_happened(scene))
    age = f"[dim]{scene.journal.age:.1f} s"
    return Panel(
        Group(*parts, *notes), title="flowgate", subtitle=age, border_style="cyan", width=WIDTH, padding=(0, 1)
    )


def heading(text: str) -> Text:
    """Name a part of the frame."""
    return Text(text, style="bold cyan")


def waiting(scene: Scene) -> Table:
    """Draw what waits: a row for each band, a column for each tenant."""
    table = Table(box=None, padding=(0, 1))
    table.add_column("", width=17)
    for tenant in TENANTS:
        table.add_column(tenant, header_style="dim", width=15)
    table.add_column("all", header_style="dim", justify="right", width=4)
    for priority, name in BANDS.items():
        counts = [scene.feed.now.waiting.get(priority, {}).get(tenant, 0) for tenant in TENANTS]
        bars = (bar(count, COLOURS[priority]) for count in counts)
        table.add_row(Text(f"{name:11} {priority:3d}", style=COLOURS[priority]), *bars, str(sum(counts)))
    return table


def bar(count: int, colour: str) -> Text:
    """Draw a count, one cell for each few."""
    cells = min(BAR, -(-count // PER_CELL))
    return Text.assemble(("█" * cells, colour), f" {count}" if cells else "·")


def pods(scene: Scene) -> Table:
    """Draw the pods: always the same number of rows, so that the frame does not jump."""
    table = Table(box=None, padding=(0, 1), show_header=False)
    shown = scene.autoscaler.pods[-MAX_PODS:]
    for pod in shown:
        table.add_row(pod.name, Text(pod.phase, style=PHASES[pod.phase]), load(scene, pod))
    for _ in range(MAX_PODS - len(shown)):
        table.add_row(Text("-", style="bright_black"))
    return table


def load(scene: Scene, pod: ModelPod) -> Text:
    """Draw how busy a pod is, or how far it has loaded."""
    if pod.phase == "starting":
        age = asyncio.get_running_loop().time() - pod.born
        done = min(BAR, int(BAR * age / LOAD_SECONDS))
        return Text.assemble(("▰" * done, "yellow"), ("▱" * (BAR - done), "bright_black"), f" {age:.1f} s")
    if pod.phase == "stopped":
        return Text(f"served {pod.counts['served']}" if pod.counts else "", style="bright_black")
    busy = scene.feed.now.pods.get(pod.name, 0)
    running = scene.feed.now.running.get(pod.name)
    by_the_pod = "" if running is None else f"   {running} by its own metrics"
    slots = (("■" * busy, "green"), ("□" * (SLOTS - busy), "bright_black"), f" {busy} of {SLOTS} slots")
    return Text.assemble(*slots, (by_the_pod, "bright_black"))


def ended(scene: Scene) -> Text:
    """Tell how many requests ended in each way."""
    return Text(" " + "   ".join(f"{count} {how}" for how, count in scene.ledger.gone.items()))


def what_happened(scene: Scene) -> Table:
    """Show the last notes, always in the same number of rows."""
    table = Table(box=None, padding=(0, 1), show_header=False)
    shown = scene.journal.notes[-NOTES:]
    for note in shown:
        table.add_row(Text(f"{note.time:5.1f} s", style="dim"), Text(note.text, no_wrap=True, overflow="ellipsis"))
    for _ in range(NOTES - len(shown)):
        table.add_row("")
    return table
