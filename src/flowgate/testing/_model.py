"""What a naive observer believes of an engine: lists of requests and tickets, and answers found by scanning them."""

import math
from collections import Counter
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

import attrs

from flowgate.config import FlowControlConfig, PriorityBandConfig
from flowgate.contracts import (
    FlowKey,
    ItemComparator,
    Pod,
    PodLoad,
    PodLocator,
    QueueCapability,
    QueueItem,
    SaturationDetector,
    UsageLimitPolicy,
)
from flowgate.items import Item
from flowgate.outcomes import QueueOutcome
from flowgate.queues import PriorityQueue, take_key
from flowgate.testing._model_parts import MovableRequest

if TYPE_CHECKING:
    from flowgate.ticket import Ticket

__all__ = ["Charge", "Group", "Model"]

Group = tuple[object, int]
"""A lane's name, and a priority."""


@attrs.define
class Charge:
    """What a live ticket counts for.

    Attributes:
        pod: Where it is charged.
        at: Since when, in seconds.
        group: Where its request waited, or would have.
        flow: Its flow in fairness.
        cost: What fairness charged, corrected by settlements; None where it does not share by cost.
        is_overcommitted: Whether it was moved to a pod that was full or no candidate.
    """

    pod: Pod
    at: float
    group: Group
    flow: FlowKey
    cost: float | None
    is_overcommitted: bool = False


class Model:
    """The model's own state, and what follows from it. No answer is remembered: each is found anew.

    Attributes:
        config: The configuration in force.
        now: Seconds.
        waiting: Requests that wait, in order of arrival, with the engine's records of them.
        tickets: Those that live.
        submitted: Requests, by priority.
        ended: Outcomes, by priority.
        regimes: Of each lane, whether it has pods, and since when.
        rebudgeted_at: When budgets last became others than those that requests came with.
        most_flows: The largest `max_flows` that was ever in force.
    """

    def __init__(
        self,
        config: FlowControlConfig,
        locator: PodLocator,
        detector: SaturationDetector,
        usage_limit: UsageLimitPolicy | None,
    ) -> None:
        self.config: FlowControlConfig = config
        self.now: float = 0.0
        self.waiting: dict[MovableRequest, Item] = {}
        self.tickets: dict[Ticket, Charge] = {}
        self.submitted: Counter[int] = Counter()
        self.ended: Counter[tuple[int, QueueOutcome]] = Counter()
        self.regimes: dict[object, tuple[bool, float]] = {}
        self.rebudgeted_at: float = 0.0
        self.most_flows: int = config.max_flows
        self._locator = locator
        self._detector = detector
        self._usage_limit = usage_limit
        self._selection_key = getattr(locator, "selection_key", None)
        self._constant_ceiling: float | None = (
            1.0 if usage_limit is None else getattr(usage_limit, "constant_ceiling", None)
        )

    # -- pods

    def candidates(self, request: MovableRequest) -> list[Pod]:
        """Return the pods that a request may go to; none where the locator fails."""
        try:
            return list(self._locator.locate(request.get_metadata()))
        except Exception:  # it may raise anything
            return []

    def saturation(self, pod: Pod) -> float:
        """Return how full a pod is, by the tickets that the model counts; full where the detector fails."""
        charges = [charge for charge in self.tickets.values() if charge.pod == pod]
        updated_at = -math.inf if pod.metrics is None else pod.metrics.updated_at
        load = PodLoad(len(charges), sum(charge.at >= updated_at for charge in charges))
        try:
            saturation = self._detector.saturation(pod, load)
        except Exception:  # it may raise anything
            return 1.0
        return saturation if saturation >= 0.0 else 1.0  # NaN is not

    # -- ceilings

    @property
    def is_static(self) -> bool:
        """Whether the ceilings never change."""
        return self._constant_ceiling is not None

    def ceilings(self, requests: Collection[MovableRequest] | None = None) -> dict[int, float]:
        """Return the ceiling of each band with such requests; by default, with waiting ones."""
        requests = self.waiting if requests is None else requests
        priorities = sorted({request.priority for request in requests}, reverse=True)
        if self._usage_limit is None or self._constant_ceiling is not None:
            return dict.fromkeys(priorities, self._constant_ceiling or 0.0)
        named = {pod for request in requests if self.speaks_for_lane(request) for pod in self.candidates(request)}
        values = [min(1.0, self.saturation(pod)) for pod in named]
        saturation = sum(values) / len(values) if values else 1.0
        return dict(zip(priorities, self._usage_limit.ceilings(saturation, priorities), strict=True))

    # -- lanes and flows

    @property
    def is_keyed(self) -> bool:
        """Whether requests share lanes; else each flow is a lane of its own, and its head's candidates are all's."""
        return self._selection_key is not None

    def lane(self, request: MovableRequest) -> object:
        """Return what names the request's lane."""
        return request.flow_key() if self._selection_key is None else self._selection_key(request.get_metadata())

    def group(self, request: MovableRequest) -> Group:
        """Return its lane and band."""
        return self.lane(request), request.priority

    def flow(self, request: MovableRequest) -> FlowKey:
        """Return the flow in which a request waits: its own, or the one that ids without a place share."""
        return self.waiting[request].queue.flow.key

    def band(self, request: MovableRequest) -> PriorityBandConfig:
        """Return the settings that hold for a waiting request: its band may be gone from the configuration."""
        return self.waiting[request].queue.flow.band.config

    def settings(self, priority: int) -> PriorityBandConfig:
        """Return the settings of a band that takes requests."""
        band = self.config.band(priority)
        assert band is not None, f"a request of band {priority} was taken, and there is no such band"
        return band

    def in_flow(self, request: MovableRequest) -> list[MovableRequest]:
        """Return the waiting requests of a waiting request's flow and lane, in its queue's order."""
        place = (*self.group(request), self.flow(request))
        mine = [other for other in self.waiting if (*self.group(other), self.flow(other)) == place]
        mine.sort(key=lambda other: self.waiting[other].arrival)
        if QueueCapability.PRIORITY in self.waiting[request].queue.queue.capabilities:
            order = self.band(request).dispatch.comparator
            mine.sort(key=lambda other: take_key(order, self.waiting[other])[0])
        return mine

    def first_in_flow(self, request: MovableRequest) -> MovableRequest:
        """Return who goes next in a waiting request's flow and lane: whom its dispatch policy selects."""
        mine = self.in_flow(request)
        return mine[_select(self.band(request), [self.waiting[other] for other in mine])]

    def head_of_lane(self, request: MovableRequest) -> MovableRequest:
        """Return whose candidates are its lane's, where each flow is a lane of its own."""
        same = next((other for other in self.waiting if self.lane(other) == self.lane(request)), None)
        return request if same is None else self.first_in_flow(same)

    def speaks_for_lane(self, request: MovableRequest) -> bool:
        """Whether its lane's candidates are its own."""
        return self.is_keyed or self.head_of_lane(request) is request

    # -- time

    def due(self, request: MovableRequest) -> float:
        """Return when a waiting request must leave, in seconds."""
        arrived = self.waiting[request].enqueue_time
        if request.ttl is not None:
            return arrived + request.ttl
        has_pods, since = self.regimes[self.lane(request)]
        budgets = self.config.empty_pool_ttl, self.config.default_ttl
        return min(max(arrived, since) + budgets[has_pods], arrived + sum(budgets))

    def note_regime(self, request: MovableRequest) -> None:
        """Note whether its lane has pods now, as the engine does where it looks."""
        if not self.speaks_for_lane(request):
            return
        lane, has_pods = self.lane(request), bool(self.candidates(request))
        known = self.regimes.get(lane)
        if known is None:
            self.regimes[lane] = has_pods, -math.inf
        elif known[0] is not has_pods:
            self.regimes[lane] = has_pods, self.now

    # -- counts

    def outcomes(self) -> Counter[QueueOutcome]:
        """Return how often each outcome came."""
        total: Counter[QueueOutcome] = Counter()
        for (_, outcome), count in self.ended.items():
            total[outcome] += count
        return total

    def newest(self, requests: Iterable[MovableRequest]) -> MovableRequest:
        """Return the one of several waiting requests that came last."""
        return max(requests, key=lambda request: self.waiting[request].arrival)


def _select(band: PriorityBandConfig, items: list[Item]) -> int:
    """Ask a dispatch policy which of several items goes first; the one that came first, where it names none of them."""
    order: dict[QueueItem, int] = {item: place for place, item in enumerate(items)}
    queue = PriorityQueue(ItemComparator(int, order.__getitem__))
    for item in items:
        queue.add(item)
    try:
        return order[band.dispatch.select_item(queue)]  # type: ignore[index] # pyright: ignore[reportArgumentType]
    except Exception:  # it may raise anything, and None or a stranger has no place
        return order[min(items, key=lambda item: item.arrival)]
