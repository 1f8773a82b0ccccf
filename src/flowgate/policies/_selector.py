"""Between flows: by an object that only looks."""

from collections.abc import Iterable
from typing import ClassVar, cast

import attrs

from flowgate.contracts import FlowGroup, FlowQueueView, InterFlowDispatchPolicy, QueueItem, QueueSelector

__all__ = ["QueueSelectorPolicy", "adapt_fairness"]


def adapt_fairness(policy: InterFlowDispatchPolicy | QueueSelector, priority: int) -> InterFlowDispatchPolicy:
    """Make a fairness policy of either form into one that the engine can tell what happens.

    Args:
        policy: What the user configured. One with `new_group` is returned as it is.
        priority: The band that it will serve, for the small form to see.

    Raises:
        TypeError: The policy is a class, or has neither `new_group` nor `select_queue`.

    >>> from flowgate.policies import RoundRobin, adapt_fairness
    >>> adapt_fairness(RoundRobin(), 0)
    RoundRobin()
    """
    if isinstance(policy, type):
        raise TypeError(f"a fairness policy must be an object, not the class {policy.__name__} itself")
    if callable(getattr(policy, "new_group", None)):
        return cast("InterFlowDispatchPolicy", policy)
    if callable(getattr(policy, "select_queue", None)):
        return QueueSelectorPolicy(cast("QueueSelector", policy), priority)
    raise TypeError(f"a fairness policy must have new_group() or select_queue(band), and {policy!r} has neither")


@attrs.frozen
class QueueSelectorPolicy:
    """A fairness policy made of a `QueueSelector`. A choice costs what the selector costs; all else is O(1).

    Args:
        selector: Names the queue to go next.
        priority: The band's priority, for the selector to see.

    >>> from flowgate.policies import QueueSelectorPolicy
    >>> class LongestQueue:
    ...     def select_queue(self, band):
    ...         return max(band.queues, key=len)
    >>> QueueSelectorPolicy(LongestQueue(), priority=0).name
    'LongestQueue'
    """

    selector: QueueSelector
    priority: int

    memoryless: ClassVar[bool] = True
    """A selector sees waiting flows only, and is not told of requests that did not wait."""

    @property
    def name(self) -> str:
        """The selector's name, else its type's."""
        name = getattr(self.selector, "name", None)
        return name if isinstance(name, str) else type(self.selector).__name__

    def new_group(self) -> FlowGroup:
        """Make an empty view."""
        return _Watched(self)


@attrs.frozen(eq=False)
class _View:
    """What the selector sees of a group; it stays the same while flows come and go."""

    priority: int
    queues: Iterable[FlowQueueView]


class _Watched:
    """The waiting flows of one group, in the order in which they began to wait."""

    __slots__ = ("_flows", "_name", "_selector", "_view")

    def __init__(self, policy: QueueSelectorPolicy) -> None:
        self._name = policy.name
        self._selector = policy.selector
        self._flows: dict[FlowQueueView, None] = {}
        self._view = _View(policy.priority, self._flows.keys())

    def activated(self, flow: FlowQueueView) -> None:
        self._flows[flow] = None

    def head_changed(self, flow: FlowQueueView) -> None:
        """Nothing: the selector looks at the flow itself."""

    def charged(self, flow: FlowQueueView, item: QueueItem) -> None:
        """Nothing: a selector is told of no events."""

    def settled(self, flow: FlowQueueView, delta: float) -> None:
        """Nothing: a selector is told of no events."""

    def emptied(self, flow: FlowQueueView) -> None:
        self._flows.pop(flow, None)

    def select(self) -> FlowQueueView:
        flow = self._selector.select_queue(self._view)
        if flow is None:
            raise ValueError(f"{self._name} named no queue, though {len(self._flows)} wait")
        if flow not in self._flows:
            raise ValueError(f"{self._name} named {flow!r}, which does not wait here")
        return flow
