"""What must hold between any two steps of an engine: counts, charges, and nothing left undone."""

import math
from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from flowgate.processor import ShardProcessor
from flowgate.stats import ControllerStats
from flowgate.testing._model import Model

if TYPE_CHECKING:
    from flowgate.contracts import Pod
    from flowgate.outcomes import QueueOutcome

__all__ = ["Counts", "check_rest", "check_tickets", "check_work"]


class Counts:
    """Holds what an engine counts to the model's lists: no request without an outcome or with two, no byte lost."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._before: dict[object, Counter[QueueOutcome]] = {}

    def check(self, processor: ShardProcessor, stats: ControllerStats) -> None:
        """Check all counts, in all and by band."""
        model = self._model
        assert stats.queued_requests == len(model.waiting), (
            f"{stats.queued_requests} requests are counted as queued, and {len(model.waiting)} wait"
        )
        size = sum(request.size for request in model.waiting)
        assert stats.queued_bytes == size, f"{stats.queued_bytes} bytes are counted as queued, and {size} wait"
        counted = {outcome: count for outcome, count in stats.outcomes.items() if count}
        outcomes = model.outcomes()
        assert counted == dict(outcomes), f"outcomes are counted as {counted}, and were {dict(outcomes)}"
        submitted, accounted = sum(model.submitted.values()), len(model.waiting) + sum(outcomes.values())
        assert submitted == accounted, (
            f"{submitted} requests were submitted, and {accounted} wait or ended: one was lost or doubled"
        )
        done = [item for item in model.waiting.values() if item.outcome is not None]
        assert not done, f"{done} still wait, and have an outcome"
        self._check_waiting(stats)
        self._check_outcomes(processor)

    def _check_waiting(self, stats: ControllerStats) -> None:
        for priority, band in stats.bands.items():
            mine = [request.size for request in self._model.waiting if request.priority == priority]
            waiting, counted = (len(mine), sum(mine)), (band.queued_requests, band.queued_bytes)
            assert counted == waiting, f"band {priority} counts {counted} requests and bytes, and {waiting} wait"

    def _check_outcomes(self, processor: ShardProcessor) -> None:
        by_band: dict[int, Counter[QueueOutcome]] = defaultdict(Counter)
        for (priority, outcome), count in self._model.ended.items():
            by_band[priority][outcome] = count
        for priority, record in processor.shard.registry.bands.items():
            counted, ended = record.outcomes, by_band[priority]
            if record not in self._before:  # a band may be made again in between
                self._before[record] = Counter({outcome: ended[outcome] - count for outcome, count in counted.items()})
            were = {outcome: ended[outcome] - count for outcome, count in self._before[record].items()}
            assert were == counted, f"band {priority} counts the outcomes {counted}, and they were {were}"


def check_tickets(model: Model, stats: ControllerStats) -> None:
    """Check that each pod's load is the number of live tickets charged to it."""
    loads: Counter[Pod] = Counter(charge.pod for charge in model.tickets.values())
    assert stats.in_flight == len(model.tickets), (
        f"{stats.in_flight} tickets are counted as live, and {len(model.tickets)} are"
    )
    overcommitted = sum(charge.is_overcommitted for charge in model.tickets.values())
    assert stats.overcommitted == overcommitted, (
        f"{stats.overcommitted} tickets are counted as overcommitted, and {overcommitted} are"
    )
    for ticket, charge in model.tickets.items():
        assert ticket.pod == charge.pod, f"{ticket!r} should be charged to {charge.pod}"
        assert ticket.state is not None
        load = ticket.state.in_flight
        assert load == loads[charge.pod], f"{charge.pod.name} counts {load} tickets, and has {loads[charge.pod]}"


def check_work(model: Model, processor: ShardProcessor) -> None:
    """Check that, unless a pass is pending, no pod is open to a band in which a request waits for it."""
    if processor.pending:
        return
    ceilings = model.ceilings()
    top = max(ceilings, default=0)
    saturations: dict[Pod, float] = {}
    for request in model.waiting:
        is_held_back = model.config.hol_scope == "pool" and request.priority != top
        if is_held_back or not model.speaks_for_lane(request):
            continue
        for pod in model.candidates(request):
            if pod not in saturations:
                saturations[pod] = model.saturation(pod)
            saturation, ceiling = saturations[pod], ceilings[request.priority]
            assert saturation >= ceiling, (
                f"work was left undone: {request} waits for {pod.name}, which is full to {saturation:g} and open up to "
                f"{ceiling:g}, and no pass is pending"
            )


def check_rest(model: Model, processor: ShardProcessor) -> None:
    """Check that an idle engine rests, and that what it remembers follows what it holds."""
    if not model.waiting:
        assert not processor.pending, "nobody waits, and a pass is pending"
        due = processor.next_due
        assert due == math.inf, f"nobody waits, and the engine wants to be called at {due:g} s"
    cells, most = len(processor.shard.deadlines), 4 * (len(model.waiting) + len(processor.shard.lanes)) + 130
    assert cells <= most, f"{cells} deadlines are remembered for {len(model.waiting)} requests that wait"
    registry = processor.shard.registry
    most = model.most_flows + len(registry.bands)  # each band may have an overflow flow
    assert registry.flow_count <= most, f"{registry.flow_count} flows are kept, and at most {most} may be"
