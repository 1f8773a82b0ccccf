"""Between flows: by turns."""

from collections import OrderedDict
from typing import ClassVar

import attrs

from flowgate.contracts import FlowGroup, FlowQueueView, QueueItem

__all__ = ["RoundRobin"]


@attrs.frozen
class RoundRobin:
    """Flows take turns, one request each. Every call is O(1), whatever the number of flows.

    Over any interval in which two flows both wait in a group, the numbers of their requests that it dispatches differ
    by at most 1, whatever comes, leaves or is cancelled meanwhile. A flow that comes back goes to the end of the line.

    >>> from flowgate.policies import RoundRobin
    >>> RoundRobin().bound()
    1
    """

    memoryless: ClassVar[bool] = True
    """It remembers nothing of flows that do not wait, and need not be told of requests that did not."""

    @property
    def name(self) -> str:
        """``"round-robin"``."""
        return "round-robin"

    def bound(
        self,
        max_cost: tuple[float, float] = (1, 1),  # noqa: ARG002 - a turn is a request, whatever it costs
        weights: tuple[float, float] = (1, 1),  # noqa: ARG002 - and nobody weighs more
    ) -> int:
        """Largest difference, in requests, between two flows over any interval in which both wait.

        Args:
            max_cost: As for policies that share by cost; it makes no difference.
            weights: The same.
        """
        return 1

    def new_group(self) -> FlowGroup:
        """Make an empty ring."""
        return _Ring()


class _Ring:
    """The waiting flows of one group, the next to go first."""

    __slots__ = ("_flows",)

    def __init__(self) -> None:
        self._flows: OrderedDict[FlowQueueView, None] = OrderedDict()

    def activated(self, flow: FlowQueueView) -> None:
        self._flows[flow] = None

    def head_changed(self, flow: FlowQueueView) -> None:
        """Nothing: turns do not depend on what waits."""

    def charged(self, flow: FlowQueueView, item: QueueItem) -> None:  # noqa: ARG002 - the contract's
        if flow in self._flows:
            self._flows.move_to_end(flow)

    def settled(self, flow: FlowQueueView, delta: float) -> None:
        """Nothing: a turn is a request, whatever it costs."""

    def emptied(self, flow: FlowQueueView) -> None:
        self._flows.pop(flow, None)

    def select(self) -> FlowQueueView:
        return next(iter(self._flows))
