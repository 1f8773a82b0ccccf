"""What each side has counted, gathered when the story is over."""

from collections.abc import Sequence

from examples.demo.calls import CALLS
from examples.demo.checks import PodReport, RunReport
from examples.demo.clients import Answer
from examples.demo.counts import read_counts
from examples.demo.figures import inversions
from examples.demo.model_pod import ModelPod
from examples.demo.scene import Scene
from examples.demo.settings import SLOTS
from examples.stage import Stage

__all__ = ["pod_report", "report_of"]


async def report_of(stage: Stage, scene: Scene, answers: Sequence[Answer]) -> RunReport:
    """Gather what the clients, the Endpoint Picker's log and metrics, and the pods say."""
    scene.ledger.catch_up()
    async with stage.http.get(f"{scene.page}/metrics") as response:
        counts = read_counts(await response.text())
    return RunReport(
        called=list(CALLS),
        answers=answers,
        decisions=scene.ledger.decisions,
        counted=counts.outcomes,
        left_waiting=counts.waiting,
        left_in_flight=counts.in_flight,
        inversions=inversions(scene.ledger.decisions),
        faults=[*counts.faults, *scene.ledger.errors],
        pods=[pod_report(pod, scene.feed.most_in_flight[pod.name]) for pod in scene.autoscaler.pods],
    )


def pod_report(pod: ModelPod, most_by_epp: int) -> PodReport:
    """Put a pod's last words beside what the Endpoint Picker knew of it."""
    said = pod.counts or {}
    return PodReport(
        name=pod.name,
        limit=SLOTS,
        most_by_epp=most_by_epp,
        most_by_pod=said.get("most_running"),
        most_waiting=said.get("most_waiting", 0),
        served=said.get("served", 0),
        aborted=said.get("aborted", 0),
        refused=said.get("refused", 0),
    )
