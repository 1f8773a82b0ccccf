"""What is printed, and how: a frame where the terminal can, else lines."""

from rich.console import Console

from examples.demo.lines import show_lines
from examples.demo.live import show_live
from examples.demo.scene import Scene
from examples.demo.settings import BANDS, INTERACTIVE, MODEL, TENANTS

__all__ = ["Screen", "introduce", "invite", "show"]


class Screen(Console):
    """A console that leaves it to others what happens when nobody reads any more."""

    def on_broken_pipe(self) -> None:
        """Raise the BrokenPipeError that is being handled."""
        self.quiet = True
        raise  # noqa: PLE0704 - called in a handler


def introduce(scene: Scene, console: Console) -> None:
    """Say what the demo is, and where to look."""
    _print(console, *scene.heading, "")


async def show(scene: Scene, console: Console) -> None:
    """Show what happens, until cancelled."""
    if console.is_terminal and not console.is_dumb_terminal:
        await show_live(scene, console)
    else:
        await show_lines(scene)


def invite(scene: Scene, console: Console) -> None:
    """Say that everything goes on, and how to take part."""
    _print(
        console,
        "",
        "Everything keeps running until Ctrl-C, and the pool is at zero. Watch the page:",
        f"    {scene.page}/",
        "and send a request, which is held until there is a pod:",
        f"    curl {scene.envoy}/v1/completions -H 'x-gateway-inference-objective: {BANDS[INTERACTIVE]}' \\",
        f"      -H 'x-gateway-inference-fairness-id: {TENANTS[0]}' \\",
        f"""      -d '{{"model": "{MODEL}", "prompt": "Tell me a story.", "max_tokens": 20, "stream": true}}'""",
        "",
    )


def _print(console: Console, *lines: str) -> None:
    for line in lines:
        console.print(line, soft_wrap=True, highlight=False, markup=False)
