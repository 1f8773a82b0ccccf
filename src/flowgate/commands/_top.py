"""``flowgate top``: a live view of a running Endpoint Picker."""

import argparse
import math
import time
from typing import TYPE_CHECKING, cast

from flowgate.commands._outcome import CommandError, Commands
from flowgate.commands._remote import DEFAULT_URL, Answer, ask

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

__all__ = ["add_top"]

_LEAST_INTERVAL = 0.1
_OK = 200


def add_top(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "top",
        help="show a running Endpoint Picker, live",
        description="Show what waits in a running Endpoint Picker, live; Ctrl-C ends it. Without a terminal, frames "
        "are printed one after another. NO_COLOR is honoured. Needs the extra 'top'.",
        epilog="example: flowgate top --url http://127.0.0.1:9090 --interval 2",
    )
    parser.add_argument("--url", default=DEFAULT_URL, help="the picker's admin port (default: %(default)s)")
    parser.add_argument("--interval", type=_seconds, default=1.0, help="seconds between frames (default: %(default)s)")
    parser.add_argument("--once", action="store_true", help="print one frame and end")
    parser.set_defaults(run=_run)


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not _LEAST_INTERVAL <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds of {_LEAST_INTERVAL} or more")
    return value


def _run(given: argparse.Namespace) -> str:
    try:
        from flowgate.commands._frame import Terminal  # noqa: PLC0415 - needs an extra; other commands do without it
    except ImportError as error:
        raise CommandError(
            "top needs the package rich, which is not installed: pip install 'flowgate-admission[top]'"
        ) from error
    url, console = cast("str", given.url), Terminal()
    picture = _look(url)
    if given.once:
        console.print(_frame(url, picture))
        return ""
    _watch(url, picture, console, cast("float", given.interval))
    return ""


def _watch(url: str, picture: Answer, console: "Console", interval: float) -> None:
    from rich.live import Live  # noqa: PLC0415 - the same

    notice = ""
    try:
        if not console.is_terminal:
            while True:
                console.print(_frame(url, picture))
                time.sleep(interval)
                picture = _look(url)
        with Live(console=console, screen=True, auto_refresh=False) as live:
            while True:
                live.update(_frame(url, picture, notice), refresh=True)
                time.sleep(interval)
                try:
                    picture, notice = _look(url), ""
                except CommandError as error:  # it may come back: the last picture stays
                    notice = str(error)
    except KeyboardInterrupt:
        return


def _look(url: str) -> Answer:
    status, picture = ask(url, "/state")
    if status != _OK:
        raise CommandError(f"{url!r} answers with status {status}: is its page switched on ([admin] page = true)?")
    return picture


def _frame(url: str, picture: Answer, notice: str = "") -> "RenderableType":
    from flowgate.commands._frame import frame  # noqa: PLC0415 - the same

    try:
        return frame(picture, notice)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise CommandError(f"what answers at {url!r} is no Endpoint Picker of flowgate, or a much older one") from error
