"""A locator of one's own: each model has its pods, and requests name a model."""

from collections.abc import Callable, Iterable, Mapping

import anyio

from flowgate import FlowController, Pod, Request
from flowgate.contracts import ChangeCallback
from flowgate.saturation import ConcurrencyDetector


class ModelPodLocator:
    """Finds the pods of the model that a request's metadata names."""

    def __init__(self) -> None:
        self._pods: dict[str, tuple[Pod, ...]] = {}
        self._callbacks: list[ChangeCallback] = []

    def set_pods(self, model: str, pods: Iterable[Pod]) -> None:
        """Replace the pods of one model, and announce it."""
        self._pods[model] = tuple(pods)
        for callback in self._callbacks:
            callback()

    def locate(self, metadata: Mapping[str, object]) -> tuple[Pod, ...]:
        """Answer from memory: no I/O here."""
        return self._pods.get(self.selection_key(metadata), ())

    def selection_key(self, metadata: Mapping[str, object]) -> str:
        """Requests for one model have the same candidates: they share a lane."""
        return str(metadata.get("model"))

    def subscribe(self, callback: ChangeCallback) -> Callable[[], None]:
        """Promise to announce every change, so that nobody need poll."""
        self._callbacks.append(callback)
        return lambda: self._callbacks.remove(callback)


async def ask(controller: FlowController, model: str) -> None:
    async with controller.admitted(Request("tenant-a", metadata={"model": model})) as ticket:
        print(f"{model} goes to {ticket.candidates[0].name}")


async def main() -> None:
    locator = ModelPodLocator()
    controller = FlowController(locator=locator, detector=ConcurrencyDetector(1))
    async with controller, anyio.create_task_group() as tasks:
        tasks.start_soon(ask, controller, "large")
        await anyio.wait_all_tasks_blocked()
        tasks.start_soon(ask, controller, "small")
        await anyio.wait_all_tasks_blocked()
        locator.set_pods("small", [Pod("small-1", "10.0.0.1", 8000)])
        await anyio.wait_all_tasks_blocked()
        print(f"{controller.stats().queued_requests} request waits")
        locator.set_pods("large", [Pod("large-1", "10.0.0.2", 8000)])


if __name__ == "__main__":
    anyio.run(main)
