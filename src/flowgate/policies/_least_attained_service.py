"""Between flows: by what each was served lately."""

import time
from collections.abc import Callable
from typing import Final

import attrs

from flowgate.contracts import FlowGroup, FlowKey, QueueItem
from flowgate.policies._levels import MAX_IDLE_FLOWS, Account, Levels
from flowgate.policies._shares import Cost, Weights, check_cost, check_weights, price, share, weigh
from flowgate.validators import at_least, positive

__all__ = ["LeastAttainedService"]

_FACTOR_BITS: Final = 53
_NOTHING_BITS: Final = 44
"""Less than 2**(44 - 64) of cost per weight, about a millionth, is as good as nothing."""
_LONGEST: Final = 256
"""Half-lives between two rescalings: numbers of a few hundred bits cost no more than small ones."""


@attrs.define
class _Clock:
    """Where a policy takes its time from; the one part of it that changes."""

    read: Callable[[], float] = time.monotonic


@attrs.frozen
class LeastAttainedService:
    """The flow that was served least lately goes next: attained service per weight, which time halves.

    Least attained service first (as foreground-background scheduling: Kleinrock, "Queueing Systems II", 1976), with a
    memory that fades. A flow that used an idle pool much stays behind those that did not, until its past has decayed.
    A flow that begins to wait is lifted to the least level among those waiting, so nobody banks credit; its first
    request may put it up to its own cost above that, in proportion to what was served meanwhile, or an endless stream
    of new flows would starve whoever is ahead. Every call is O(log n), amortised; once in 256 half-lives one is O(n).

    Decay keeps the order of levels, so it is new service that grows instead, and nothing need be touched as time goes
    by. Time is the controller's, once the policy is bound to it; `time.monotonic` until then. So each controller needs
    a policy of its own.

    Over any interval in which two flows both wait in a group, what it dispatches of each, per weight and decayed to
    the interval's end, differs by no more than `bound`.

    Args:
        half_life: Seconds after which service counts half.
        weights: A mapping from flow ids to weights (those not in it weigh 1), or a callable of the `FlowKey`, asked
            each time that a flow begins to wait. A flow of weight 2 gets twice as much as one of weight 1.
        cost: None counts bytes; a str is the name of a number in the request's metadata; a callable is asked with the
            request.
        max_idle_flows: How many flows that do not wait a group remembers; beyond it, the one that was served longest
            ago is forgotten. One whose service has decayed to nothing is forgotten anyway.

    Raises:
        ValueError: `half_life` or a weight is not finite and more than 0, the name is empty, or `max_idle_flows`
            negative.
        TypeError: An argument is none of these.

    >>> from flowgate.policies import LeastAttainedService
    >>> LeastAttainedService(cost="tokens").bound(max_cost=(4_000, 500), weights=(2.0, 1.0), lead=10_000.0)
    12000.0
    """

    half_life: float = attrs.field(default=60.0, validator=positive)
    weights: Weights | None = attrs.field(default=None, converter=check_weights, hash=False)
    cost: Cost | None = attrs.field(default=None, converter=check_cost)
    max_idle_flows: int = attrs.field(default=MAX_IDLE_FLOWS, validator=at_least(0))
    _clock: _Clock = attrs.field(factory=_Clock, init=False, eq=False, repr=False)

    @property
    def name(self) -> str:
        """``"least-attained-service"``."""
        return "least-attained-service"

    def bind(self, clock: Callable[[], float]) -> None:
        """Take the clock (seconds) by which service decays; one that goes back stands still meanwhile."""
        self._clock.read = clock

    def cost_of(self, item: QueueItem) -> float:
        """Say what an item costs; raise ValueError where its metadata has no such number."""
        return price(self.cost, item)

    def weight_of(self, key: FlowKey) -> float:
        """Say what a flow weighs; raise ValueError or TypeError where that is no weight."""
        return weigh(self.weights, key)

    def bound(
        self,
        max_cost: tuple[float, float] = (1, 1),
        weights: tuple[float, float] = (1, 1),
        lead: float = 0.0,
    ) -> float:
        """Largest difference, in decayed cost per weight, between two flows over any interval in which both wait.

        A settlement counts as service from when it is known, and adds its own size per weight: those of the interval,
        and those after the flow's last turn before it began to wait.

        Args:
            max_cost: The largest cost of a request of each, those counted that were cancelled.
            weights: What each weighs.
            lead: How far apart the two levels were when both began to wait: attained service per weight, decayed to
                then, lifts counted as service. 0 where neither had been served without waiting, or while another
                waited.
        """
        one, other = max_cost[0] / weights[0], max_cost[1] / weights[1]
        return max(max(one, lead) + other, one + max(other, lead))

    def new_group(self) -> FlowGroup:
        """Make a group in which nobody waits, and nothing was served."""
        return _Attained(self, self._clock)


class _Attained(Levels):
    """Levels that decay: a level is worth 2**-age of itself, so what is added is worth as much more.

    `age` counts half-lives since the last rescaling. The floor is the least level among those waiting, and the ground
    that of a flow whose service has decayed to nothing.
    """

    __slots__ = ("_age", "_clock", "_factor", "_half_life", "_read_at")

    def __init__(self, policy: LeastAttainedService, clock: _Clock) -> None:
        super().__init__(policy.max_idle_flows)
        self._half_life = policy.half_life
        self._clock = clock
        self._read_at = clock.read()
        self._age = 0.0
        self._factor = 1 << _FACTOR_BITS

    @property
    def _ground(self) -> int:
        return self._factor >> (_FACTOR_BITS - _NOTHING_BITS)

    def _begin(self) -> None:
        self._grow_older()
        self._floor = self._order.least().level if self._order else 0
        self._forget_the_grounded()

    def _share(self, amount: float, weight: float) -> int:
        return -(-share(amount, weight) * self._factor >> _FACTOR_BITS)

    def _rest(self) -> None:
        self._fluid = 0

    def _grow_older(self) -> None:
        now = self._clock.read()
        passed = max(0.0, now - self._read_at) / self._half_life
        self._read_at = now
        self._age += min(passed, 2.0**20)  # so much is nothing, too
        if self._age >= _LONGEST:
            self._rescale()
        whole, rest = divmod(self._age, 1.0)
        self._factor = int(2.0 ** (_FACTOR_BITS + rest)) << int(whole)

    def _rescale(self) -> None:
        halvings = int(self._age)
        self._age -= halvings
        self._fluid >>= halvings
        for account in {*self._waiting.values(), *self._accounts.values()}:
            account.level >>= halvings
        self._order.rerank(_level)
        self._idle.rerank(_level)


def _level(account: Account) -> int:
    return account.level
