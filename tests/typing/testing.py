"""Never run: the type checkers see here that the fakes keep the contracts they stand for."""

from flowgate.contracts import (
    FlowQueueView,
    Observer,
    PodLocator,
    QueueItem,
    SaturationDetector,
    SelectionKeyed,
    Watchable,
)
from flowgate.queues import ListQueue
from flowgate.testing import Flow, Item, ManualDetector, PodPool, Recorder, run_in_virtual_time

pool: PodLocator = PodPool(["a", "b"])
pool_is_keyed: SelectionKeyed = PodPool(3)
pool_is_watchable: Watchable = PodPool()
detector: SaturationDetector = ManualDetector()
detector_is_watchable: Watchable = ManualDetector()
observer: Observer = Recorder()
item: QueueItem = Item()
flow: FlowQueueView = Flow(ListQueue())


async def main(count: int, name: str) -> list[str]:
    return [name] * count


names: list[str] = run_in_virtual_time(main, 3, "a", backend="trio")
