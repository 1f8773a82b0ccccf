"""Draws design.svg, the picture in the README: ``python docs/design.py``."""

from html import escape
from pathlib import Path

HEAD = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 760 372" font-family="sans-serif" font-size="14">
<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto-start-reverse">
<path d="M0 0L8 4L0 8z" fill="#5b6673"/></marker></defs>
<rect width="760" height="372" rx="10" fill="#ffffff"/>
"""


def box(x: int, y: int, width: int, height: int, fill: str, title: str, *lines: str) -> str:
    """Draw a box with a bold title and lines of text below it."""
    middle = x + width // 2
    top = y + (height - 20 * len(lines)) // 2 + 5
    text = [
        f'<text x="{middle}" y="{top}" text-anchor="middle" font-weight="bold" fill="#1b2733">{escape(title)}</text>'
    ]
    text += [
        f'<text x="{middle}" y="{top + 20 * row}" text-anchor="middle" fill="#3d4a57">{escape(line)}</text>'
        for row, line in enumerate(lines, 1)
    ]
    frame = f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="8" fill="{fill}" stroke="#5b6673"/>'
    return "\n".join([frame, *text])


def arrow(x: int, y: int, to_x: int, to_y: int, label: str, label_x: int, label_y: int, anchor: str = "start") -> str:
    """Draw an arrow, and its label where there is room."""
    return (
        f'<path d="M{x} {y}L{to_x} {to_y}" stroke="#5b6673" stroke-width="1.5" marker-end="url(#tip)"/>\n'
        f'<text x="{label_x}" y="{label_y}" text-anchor="{anchor}" font-size="13" fill="#5b6673">{escape(label)}</text>'
    )


def svg() -> str:
    """Return the whole picture."""
    parts = [
        box(20, 20, 130, 76, "#eef1f4", "callers", "one task for", "each request"),
        box(290, 20, 450, 76, "#e3eefb", "FlowController", "asynchronous shell: parked callers, one timer, wake-ups"),
        box(20, 150, 520, 76, "#dff3e4", "ShardProcessor", "synchronous core: lanes, bands, flows, load of pods"),
        box(20, 286, 130, 66, "#fdf3dc", "PodLocator", "which pods?"),
        box(170, 286, 170, 66, "#fdf3dc", "SaturationDetector", "how full?"),
        box(360, 286, 180, 66, "#fdf3dc", "policies", "who goes next?"),
        box(560, 286, 180, 66, "#eef1f4", "observers", "told what happened"),
        arrow(150, 46, 290, 46, "request", 220, 38, "middle"),
        arrow(290, 72, 150, 72, "ticket, or error", 220, 90, "middle"),
        arrow(330, 96, 330, 150, "steps, with the time", 322, 127, "end"),
        arrow(430, 150, 430, 96, "what happened", 438, 127),
        arrow(650, 96, 650, 286, "events", 658, 195),
        arrow(85, 226, 85, 286, "asks, during a step", 93, 260),
        arrow(255, 226, 255, 286, "", 0, 0),
        arrow(450, 226, 450, 286, "", 0, 0),
    ]
    return HEAD + "\n".join(parts) + "\n</svg>\n"


if __name__ == "__main__":
    Path(__file__).with_name("design.svg").write_text(svg(), encoding="utf-8")
