"""The demo in plain lines, for pipes, logs and dumb terminals: no escape codes, nothing but ASCII."""

import asyncio

from examples.demo.model_pod import ModelPod
from examples.demo.scene import Scene
from examples.demo.settings import BANDS, SLOTS

__all__ = ["show_lines", "status"]

PERIOD = 0.1
STATUS_PERIOD = 1.0


async def show_lines(scene: Scene) -> None:
    """Print each note as it is written, and every second a status line if there is news, until cancelled."""
    said = ""
    next_status = scene.journal.age + STATUS_PERIOD
    try:
        while True:
            await asyncio.sleep(PERIOD)
            print_notes(scene)
            if scene.journal.age >= next_status:
                next_status += STATUS_PERIOD
                if said != (said := status(scene)):
                    print(f"{scene.journal.age:5.1f} s | {said}", flush=True)
    finally:
        print_notes(scene)


def print_notes(scene: Scene) -> None:
    """Print the notes that were not printed yet."""
    for note in scene.journal.news():
        print(f"{note.time:5.1f} s   * {note.text}", flush=True)


def status(scene: Scene) -> str:
    """Say in one line what waits, where requests are served, and how many have gone."""
    waits = ", ".join(f"{scene.feed.now.waiting_in(priority):2} {name}" for priority, name in BANDS.items())
    pods = ", ".join(pod_status(scene, pod) for pod in scene.autoscaler.alive) or "no pods"
    gone = ", ".join(f"{count} {how}" for how, count in scene.ledger.gone.items())
    return f"{waits} wait | {pods} | {gone}"


def pod_status(scene: Scene, pod: ModelPod) -> str:
    """Say how busy a pod is, or where else it stands."""
    busy = scene.feed.now.pods.get(pod.name, 0)
    return f"{pod.name} {busy}/{SLOTS}" if pod.phase == "ready" else f"{pod.name} {pod.phase}"
