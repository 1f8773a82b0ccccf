"""Draws one picture of an Endpoint Picker for a terminal. What clients chose goes in escaped, and never as markup."""

from collections.abc import Sequence
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from flowgate.commands._plain import printable
from flowgate.commands._remote import Answer

__all__ = ["Terminal", "frame"]

_MOST_DECISIONS = 10
_MOST_PODS = 16
_OK = 200


class Terminal(Console):
    """Rich's, which leaves it to us what happens when nobody reads on: by itself it ends the process with 1."""

    def on_broken_pipe(self) -> None:
        """Let the caller know.

        Raises:
            BrokenPipeError: Always.
        """
        raise BrokenPipeError


def frame(picture: Answer, notice: str = "") -> RenderableType:
    """Draw a picture.

    Args:
        picture: What ``/state`` answers.
        notice: A sentence to be shown above it: that it is an old one, say.

    Raises:
        KeyError, TypeError, ValueError, AttributeError: It is no such picture.
    """
    parts: list[RenderableType] = [_head(picture), _numbers(picture)]
    if notice:
        parts.insert(0, Text(printable(notice), style="bold red"))
    parts.append(_bands(picture["bands"], int(picture["more_bands"])))
    parts.append(_pods(picture["pods"], int(picture["pod_count"])))
    parts.append(_decisions(picture["decisions"]))
    return Group(*parts)


def _head(picture: Answer) -> Text:
    ready = bool(picture["ready"])
    reasons = "; ".join(map(_text, picture["reasons"]))
    head = Text.assemble(("flowgate ", "bold"), _text(picture["pool"]), "  ")
    head.append("ready" if ready else f"not ready: {reasons}", style="green" if ready else "bold red")
    head.append(f"  up {float(picture['time']) - float(picture['since']):.0f} s", style="dim")
    return head


def _numbers(picture: Answer) -> Text:
    room = picture["max_requests"]
    limit = "" if room is None else f" of {int(room):,}"
    admitted = int(picture["outcomes"].get("dispatched", 0))
    return Text(
        f"waiting {int(picture['queued']):,}{limit}   at pods {int(picture['in_flight']):,}   "
        f"pods {int(picture['pod_count']):,}   saturation {float(picture['saturation']):.0%}   "
        f"admitted {admitted:,}   refused {int(picture['dropped']):,}"
    )


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, padding=(0, 2))
    for column in columns:
        is_figure = column.startswith("#")
        table.add_column(
            column.removeprefix("#"), justify="right" if is_figure else "left", no_wrap=True, overflow="ellipsis"
        )
    return table


def _bands(bands: Sequence[Answer], more: int) -> Table:
    table = _table("Bands", "#priority", "name", "#waiting", "#at pods", "longest flows")
    for band in bands:
        flows = ", ".join(f"{_text(flow['flow'])} {int(flow['queued']):,}" for flow in band["flows"])
        table.add_row(
            _cell(band["priority"]), _cell(band["name"]), _cell(band["queued"]), _cell(band["in_flight"]), Text(flows)
        )
    if more:
        table.caption = f"and {more} more bands"
    return table


def _pods(pods: Sequence[Answer], count: int) -> Table:
    table = _table("Pods" if pods else "Pods: none; requests wait until one appears", "name", "endpoint", "#in flight")
    table.add_column("saturation", justify="right")
    for pod in pods[:_MOST_PODS]:
        full = f"{float(pod['saturation']):.0%}"
        style = "green" if pod["is_open"] else "red"
        table.add_row(_cell(pod["name"]), _cell(pod["endpoint"]), _cell(pod["in_flight"]), Text(full, style=style))
    if count > len(pods[:_MOST_PODS]):
        table.caption = f"and {count - len(pods[:_MOST_PODS])} more pods"
    return table


def _decisions(decisions: Sequence[Answer]) -> Table:
    table = _table("Recent decisions", "request", "flow", "#priority", "outcome", "#waited", "pod")
    for decision in decisions[:_MOST_DECISIONS]:
        went = decision["status"] == _OK
        said = "went" if went else f"{_text(decision['status'])} {_text(decision['reason'] or decision['outcome'])}"
        table.add_row(
            _cell(decision["request_id"]),
            _cell(decision["flow"]),
            _cell(decision["priority"]),
            Text(said, style="green" if went else "red"),
            Text(f"{float(decision['queue_wait']):.3f} s"),
            _cell(decision["pod"] or ""),
        )
    return table


def _cell(value: Any) -> Text:
    return Text(_text(value))


def _text(value: Any) -> str:
    return printable(f"{value:,}" if isinstance(value, int) else str(value))
