"""Who got least for its weight goes next: the state that policies between flows share.

Each flow has a *level*: what it was charged, per weight. The waiting flow with the least level goes next, and what it
is charged lifts it. So the levels of waiting flows stay within a request of each other, if a flow that begins to wait
is put among them. Two rules see to that.

The *floor* is the least level among those waiting, and never sinks. A flow that begins to wait is lifted to it, so
nobody banks credit; a level above the floor is kept while its flow does not wait, so nobody sheds a debt by leaving.

At the floor itself an endless stream of new flows would hold the floor, and with it everyone who is ahead of it, for
ever. So they enter at the *fluid time*: as far as each flow would be if all had been served at once, in proportion to
their weights (the virtual time of Parekh and Gallager's generalized processor sharing, 1993). It grows with every
charge. It may run ahead of the floor, but none enters more than its own first request above the floor.
"""

from typing import Final

import attrs

from flowgate.contracts import FlowKey, FlowQueueView, QueueItem
from flowgate.policies._order import Order
from flowgate.policies._shares import UNIT_BITS, share

__all__ = ["MAX_IDLE_FLOWS", "Account", "Levels"]

MAX_IDLE_FLOWS: Final = 4_096


# Slotted and not frozen: its level changes with every charge.
@attrs.define(eq=False)
class Account:
    """What a group knows of one flow: its name, weight and level, and itself while it waits."""

    key: FlowKey
    weight: float
    level: int = 0
    flow: FlowQueueView | None = None


class Levels:
    """The levels of the flows of one group. Every call is O(log n), amortised, in the flows that it knows.

    Args:
        max_idle_flows: How many flows that do not wait it remembers; beyond it, the one served longest ago goes first.
    """

    __slots__ = ("_accounts", "_floor", "_fluid", "_idle", "_max_idle", "_order", "_total", "_waiting")

    def __init__(self, max_idle_flows: int) -> None:
        self._max_idle = max_idle_flows
        self._accounts: dict[FlowKey, Account] = {}
        self._waiting: dict[FlowQueueView, Account] = {}
        self._order: Order[Account] = Order()
        self._idle: Order[Account] = Order()
        self._floor = 0
        self._fluid = 0
        self._total = 0

    # -- what the engine tells

    def activated(self, flow: FlowQueueView) -> None:
        self._begin()
        account = self._accounts.get(flow.flow_key)
        if account is None or account.flow is not None:  # two flows of one name are two
            account = self._accounts[flow.flow_key] = Account(flow.flow_key, flow.weight)
        account.weight = flow.weight
        self._idle.discard(account)
        account.level = max(account.level, self._entry(flow.head, flow.weight))
        account.flow = flow
        self._waiting[flow] = account
        self._order.put(account, account.level)
        self._total += share(flow.weight, 1)

    def head_changed(self, flow: FlowQueueView) -> None:
        """Nothing: levels do not depend on what waits."""

    def charged(self, flow: FlowQueueView, item: QueueItem) -> None:
        account = self._waiting.get(flow)
        if account is None:
            return self._charge_idle(flow, item.cost)
        self._begin()
        # Rounded up, so that it grows with each charge, however small beside all weights.
        self._fluid = max(self._fluid, self._floor) - (-self._share(item.cost, 1) << UNIT_BITS) // self._total
        return self._lift(account, item.cost)

    def settled(self, flow: FlowQueueView, delta: float) -> None:
        account = self._waiting.get(flow) or self._account(flow)
        self._begin()
        if account.flow is None:
            account.level = max(account.level, self._ground)
        self._lift(account, delta)

    def emptied(self, flow: FlowQueueView) -> None:
        account = self._waiting.pop(flow, None)
        if account is None:
            return
        self._order.discard(account)
        self._total -= share(account.weight, 1)
        account.flow = None
        self._keep(account)
        if not self._waiting:
            self._rest()

    def select(self) -> FlowQueueView:
        flow = self._order.least().flow
        assert flow is not None  # noqa: S101 - only those that wait are in order
        return flow

    # -- what policies differ in

    @property
    def _ground(self) -> int:
        """The level up to which a flow that does not wait is not worth remembering: a new one begins there."""
        return self._floor

    def _begin(self) -> None:
        """Bring the floor up to date, before a level changes."""
        if self._order:
            self._floor = max(self._floor, self._order.least().level)
        self._forget_the_grounded()

    def _share(self, amount: float, weight: float) -> int:
        return share(amount, weight)

    def _charge_idle(self, flow: FlowQueueView, cost: float) -> None:
        """Charge a flow that does not wait: where nobody does, as if it had been the only one."""
        account = self._account(flow)
        self._begin()
        account.level = max(account.level, self._ground)
        if not self._waiting:
            self._floor = account.level
        self._lift(account, cost)

    def _rest(self) -> None:
        """Note that nobody waits any longer."""
        self._fluid = self._floor

    # -- accounts

    def _account(self, flow: FlowQueueView) -> Account:
        account = self._accounts.get(flow.flow_key)
        if account is None:
            account = Account(flow.flow_key, flow.weight)
        return account

    def _entry(self, head: QueueItem | None, weight: float) -> int:
        first = 0 if head is None else self._share(head.cost, weight)
        return max(self._floor, min(self._fluid, self._floor + first))

    def _lift(self, account: Account, amount: float) -> None:
        account.level += self._share(amount, account.weight)
        if account.flow is None:
            self._keep(account)
        else:
            self._order.put(account, account.level)

    def _keep(self, account: Account) -> None:
        """Remember a flow that does not wait."""
        if self._accounts.setdefault(account.key, account) is account:
            self._idle.put(account, account.level)
            self._forget_the_grounded()
            while len(self._idle) > self._max_idle:
                self._forget(self._idle.stalest())

    def _forget_the_grounded(self) -> None:
        while self._idle and (account := self._idle.least()).level <= self._ground:
            self._forget(account)

    def _forget(self, account: Account) -> None:
        self._idle.discard(account)
        del self._accounts[account.key]
