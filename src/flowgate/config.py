"""What an operator decides: limits, budgets and policies, checked when they are written down."""

from collections.abc import Callable, Sequence
from typing import Literal

import attrs

from flowgate.contracts import (
    InterFlowDispatchPolicy,
    IntraFlowDispatchPolicy,
    ItemComparator,
    QueueCapability,
    QueueSelector,
    SafeQueue,
)
from flowgate.forecast import RetryAfter
from flowgate.policies import Fcfs, RoundRobin
from flowgate.queues import ListQueue, PriorityQueue
from flowgate.shares import BandShares
from flowgate.validators import (
    an_int,
    at_least,
    finite_seconds,
    instance_of,
    limit,
    number_in,
    one_of,
    seconds,
)

__all__ = ["FlowControlConfig", "PriorityBandConfig", "QueueFactory"]

QueueFactory = Callable[[ItemComparator], SafeQueue]


def _only_bands(_config: object, _field: object, value: "Sequence[PriorityBandConfig]") -> None:
    for band in value:
        if not isinstance(band, PriorityBandConfig):
            raise TypeError(f"bands must hold PriorityBandConfigs, not {band!r}")


def _a_template(_config: object, _field: object, value: "PriorityBandConfig | None") -> None:
    if value is not None and not isinstance(value, PriorityBandConfig):
        raise TypeError(f"default_band must be a PriorityBandConfig or None, not {value!r}")


@attrs.frozen
class PriorityBandConfig:
    """One priority band: its limits, and its policies.

    Args:
        priority: Higher is served first; negative is sheddable.
        name: For people, in logs and metrics.
        max_requests: Most requests that may wait; None for no limit. It bounds the backlog alone: 0 still lets a
            request through that can go at once.
        max_bytes: Most bytes that may wait; None for no limit.
        dispatch: Chooses within a flow.
        fairness: Chooses between flows: an `InterFlowDispatchPolicy`, or an object with `select_queue` alone.
        mode: ``"queue"``, or ``"shed"``: never queue, reject what cannot go at once.
        displace: Whether a higher band's arrival may push requests of this band out of a full controller.
        queue: Makes the queue of one flow from the policy's comparator, a class such as `ListQueue`; None for the one
            that the dispatch policy asks for.
        max_flow_requests: Most requests of one flow that may wait; None for no limit.
        max_flow_bytes: Most bytes of one flow that may wait; None for no limit.
        when_full: What an arrival meets where the band, or the controller, is full: ``"reject"``, or
            ``"longest-flow"``: the newest requests of the band's longest flow make room, if that flow stays at least as
            long as the arrival's own becomes. So no flow can keep others out by flooding.
        reject_infeasible: Reject an arrival whose predicted wait exceeds its deadline, where that is at least as sure
            as this, 0.5..1; None for never.

    Raises:
        ValueError: A value is out of range, or the queue does not promise what the dispatch policy requires.
        TypeError: A value is of the wrong type.
    """

    priority: int = attrs.field(validator=an_int)
    name: str = attrs.field(default="", validator=instance_of(str))
    max_requests: int | None = attrs.field(default=5_000, validator=limit)
    max_bytes: int | None = attrs.field(default=1_000_000_000, validator=limit)
    dispatch: IntraFlowDispatchPolicy = attrs.field(factory=Fcfs)
    fairness: InterFlowDispatchPolicy | QueueSelector = attrs.field(factory=RoundRobin)
    mode: Literal["queue", "shed"] = attrs.field(default="queue", validator=one_of("queue", "shed"))
    displace: bool = attrs.field(default=True, validator=instance_of(bool))
    queue: QueueFactory | None = attrs.field(default=None)
    max_flow_requests: int | None = attrs.field(default=None, validator=limit)
    max_flow_bytes: int | None = attrs.field(default=None, validator=limit)
    when_full: Literal["reject", "longest-flow"] = attrs.field(
        default="reject", validator=one_of("reject", "longest-flow")
    )
    reject_infeasible: float | None = attrs.field(
        default=None, validator=attrs.validators.optional(number_in(0.5, 1.0))
    )

    def __attrs_post_init__(self) -> None:
        _check_policies(self)
        _check_queue(self)

    @property
    def queue_factory(self) -> QueueFactory:
        """What makes the queue of one flow."""
        return self.own_queue_factory if self.queue is None else self.queue

    @property
    def own_queue_factory(self) -> QueueFactory:
        """The one of flowgate's own queues that the dispatch policy asks for."""
        return PriorityQueue if QueueCapability.PRIORITY in self.dispatch.required_queue_capabilities else ListQueue


def _check_policies(band: PriorityBandConfig) -> None:
    dispatch: object = band.dispatch
    for role, policy in (("dispatch", band.dispatch), ("fairness", band.fairness)):
        if isinstance(policy, type):
            raise TypeError(f"band {band.priority}: {role} must be an object, not the class {policy.__name__} itself")
    if not isinstance(dispatch, IntraFlowDispatchPolicy):
        raise TypeError(f"band {band.priority}: dispatch must be an IntraFlowDispatchPolicy, not {dispatch!r}")
    if not isinstance(dispatch.comparator, ItemComparator):  # plug-ins may be untyped
        raise TypeError(f"band {band.priority}: {dispatch.name}.comparator must be an ItemComparator")
    fairness: object = band.fairness
    if not isinstance(fairness, InterFlowDispatchPolicy | QueueSelector):
        raise TypeError(f"band {band.priority}: fairness must have new_group or select_queue, {fairness!r} has neither")


def _check_queue(band: PriorityBandConfig) -> None:
    factory = band.queue_factory
    offered: object = getattr(factory, "capabilities", None)
    if not callable(factory) or not isinstance(offered, frozenset | set):
        raise TypeError(f"band {band.priority}: queue must be a queue class with capabilities, not {factory!r}")
    missing = band.dispatch.required_queue_capabilities - offered
    if missing:
        wanted = ", ".join(sorted(capability.name for capability in missing))
        name = getattr(factory, "__name__", repr(factory))
        raise ValueError(
            f"band {band.priority}: dispatch policy {band.dispatch.name!r} requires a queue that promises {wanted}, "
            f"and {name} does not"
        )


@attrs.frozen
class FlowControlConfig:
    """Everything an operator decides, valid once it exists.

    Args:
        bands: The bands that always exist, in any order; each priority once.
        default_band: The template for priorities not listed; its own priority and name are not used. None makes such
            requests invalid.
        max_requests: Most requests that may wait in all; None for no limit.
        max_bytes: Most bytes that may wait in all; None for no limit.
        default_ttl: Seconds that a request which states no TTL may wait while its lane has pods; ``math.inf`` for ever.
        no_pods_ttl: The same while its lane has none; None for as long as `default_ttl`.
        poll_interval: Seconds between two looks at a locator or detector that announces nothing, while requests wait.
        max_flows: Most flows kept. The longest idle goes first; when none is idle, new ids share one flow per band.
        max_bands: Most bands kept, the listed ones included.
        hol_scope: What a waiting request holds back: ``"candidates"``, only requests that need the pods it waits for;
            ``"pool"``, every lower band.
        max_dispatch_batch: Most requests that one dispatch pass releases before the event loop runs again.
        yield_every: Every how many requests that did not wait give the event loop a turn; 0 for never.
        band_shares: Least shares of dispatches that bands get, however much higher ones ask for; None for strict
            priority. It needs ``hol_scope="candidates"``.
        retry_after: How a caller that is sent away learns when to come back; None for never.
        explain_last: How many decisions `FlowController.explain` still knows of; 0 for none, which costs nothing.

    Raises:
        ValueError: A value is out of range, or a priority is listed twice.
        TypeError: A value is of the wrong type.
    """

    bands: Sequence[PriorityBandConfig] = attrs.field(
        default=(PriorityBandConfig(0),),
        converter=tuple[PriorityBandConfig, ...],
        validator=_only_bands,
    )
    default_band: PriorityBandConfig | None = attrs.field(
        default=PriorityBandConfig(0),
        validator=_a_template,
    )
    max_requests: int | None = attrs.field(default=None, validator=limit)
    max_bytes: int | None = attrs.field(default=None, validator=limit)
    default_ttl: float = attrs.field(default=60.0, validator=seconds)
    no_pods_ttl: float | None = attrs.field(default=None, validator=attrs.validators.optional(seconds))
    poll_interval: float = attrs.field(default=0.01, validator=finite_seconds)
    max_flows: int = attrs.field(default=100_000, validator=at_least(1))
    max_bands: int = attrs.field(default=1_000, validator=at_least(1))
    hol_scope: Literal["candidates", "pool"] = attrs.field(default="candidates", validator=one_of("candidates", "pool"))
    max_dispatch_batch: int = attrs.field(default=1_000, validator=at_least(1))
    yield_every: int = attrs.field(default=0, validator=at_least(0))
    band_shares: BandShares | None = attrs.field(
        default=None, validator=attrs.validators.optional(instance_of(BandShares))
    )
    retry_after: RetryAfter | None = attrs.field(
        factory=RetryAfter, validator=attrs.validators.optional(instance_of(RetryAfter))
    )
    explain_last: int = attrs.field(default=0, validator=at_least(0))

    def __attrs_post_init__(self) -> None:
        listed = [band.priority for band in self.bands]
        twice = sorted({priority for priority in listed if listed.count(priority) > 1})
        if twice:
            raise ValueError(f"bands lists the priorities {twice} more than once")
        if len(listed) > self.max_bands:
            raise ValueError(f"bands lists {len(listed)} priorities, and max_bands is {self.max_bands}")
        if self.band_shares is not None:
            self._check_shares(self.band_shares)
        if not listed and self.default_band is None:
            raise ValueError("bands is empty and default_band is None: every request would be invalid")

    def _check_shares(self, band_shares: BandShares) -> None:
        if self.hol_scope == "pool":
            raise ValueError(
                "band_shares must have hol_scope 'candidates', not 'pool': that dispatches the highest band alone"
            )
        for priority in band_shares.shares:
            if self.band(priority) is None:
                raise ValueError(f"band_shares names priority {priority}, which is no band and has no default_band")

    @property
    def empty_pool_ttl(self) -> float:
        """Seconds that a request which states no TTL may wait while its lane has no pods."""
        return self.default_ttl if self.no_pods_ttl is None else self.no_pods_ttl

    def band(self, priority: int) -> PriorityBandConfig | None:
        """Return the settings of a priority: its own, else the template's, else None."""
        for band in self.bands:
            if band.priority == priority:
                return band
        return self.default_band and attrs.evolve(self.default_band, priority=priority)
