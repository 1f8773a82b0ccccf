"""The demo in plain lines, for pipes, logs and dumb terminals: no escape codes, nothing but ASCII."""

import anyio

from examples.demo.scene import INTRODUCTION, TITLE, Scene
from examples.demo.settings import BANDS, SLOTS

__all__ = ["show_lines"]

PERIOD = 0.1
STATUS_PERIOD = 1.0


async def show_lines(scene: Scene) -> None:
    """Print each note as it is written, and a status line every second, until cancelled."""
    print(f"{TITLE}\n{INTRODUCTION}\n", flush=True)
    printed = 0
    next_status = STATUS_PERIOD
    try:
        while True:
            await anyio.sleep(PERIOD)
            printed = print_notes(scene, printed)
            if scene.journal.age >= next_status:
                next_status += STATUS_PERIOD
                print(f"{scene.journal.age:5.1f} s | {status(scene)}", flush=True)
    finally:
        print_notes(scene, printed)


def print_notes(scene: Scene, printed: int) -> int:
    """Print the notes that were not printed yet; returns how many there are now."""
    notes = scene.journal.notes
    for note in notes[printed:]:
        print(f"{note.time:5.1f} s   * {note.text}", flush=True)
    return len(notes)


def status(scene: Scene) -> str:
    """Say in one line what waits, where requests are served, and how many have gone."""
    waits = ", ".join(f"{scene.ledger.waiting_in(priority):2} {name}" for priority, name in BANDS.items())
    pods = ", ".join(pod_status(scene, pod.name, pod.phase) for pod in scene.autoscaler.alive) or "no pods"
    gone = ", ".join(f"{count} {how}" for how, count in scene.gone().items())
    return f"{waits} wait | {pods} | {gone}"


def pod_status(scene: Scene, name: str, phase: str) -> str:
    """Say how busy a pod is, or where else it stands."""
    return f"{name} {scene.ledger.in_flight[name]}/{SLOTS}" if phase == "ready" else f"{name} {phase}"
