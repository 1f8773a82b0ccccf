"""Strict priority starves nobody who is guaranteed a share."""

import random
from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest

from flowgate import BandShares, FlowControlConfig, PriorityBandConfig
from flowgate.registry import Band
from flowgate.shares import Credits
from flowgate.testing._machine_engine import CheckedEngine
from flowgate.testing._model_parts import Holdback, MovableRequest

BANDS = (-1, 0, 1, 2)


def engine(shares: dict[int, float] | None, **engine: Any) -> CheckedEngine:
    limits = {"max_requests": None, "max_bytes": None}
    config = FlowControlConfig(
        [PriorityBandConfig(priority, **limits) for priority in BANDS],
        default_ttl=1e9,
        band_shares=None if shares is None else BandShares(shares),
    )
    return CheckedEngine(config, **engine)


def crowd(engine: CheckedEngine, count: int, priorities: Sequence[int], subset: str | None = None) -> None:
    for priority in priorities:
        for _ in range(count):
            engine.submit(MovableRequest("x", priority, subset=None if subset is None else frozenset(subset)))


def serve(engine: CheckedEngine, count: int) -> list[int]:
    """Release one ticket after the other; return the bands of those that went instead."""
    served = []
    for _ in range(count):
        known = set(engine.tickets)
        engine.release(next(iter(engine.tickets)))
        engine.settle()
        served += [ticket.request.priority for ticket in engine.tickets if ticket not in known]
    return served


def finish(engine: CheckedEngine) -> None:
    engine.close()
    for ticket in list(engine.tickets):
        engine.release(ticket)


def test_a_guaranteed_band_has_its_turns_and_the_rest_is_strict() -> None:
    """With a quarter guaranteed, every fourth dispatch is the lower band's; all others are the highest's."""
    shop = engine({0: 0.25}, room=1)
    shop.set_pods("a")
    crowd(shop, 13, (2, 1, 0))
    assert serve(shop, 12) == [2, 2, 2, 0] * 3
    finish(shop)


def test_without_shares_priority_is_strict() -> None:
    """Nobody below goes while somebody above waits."""
    shop = engine(None, room=1)
    shop.set_pods("a")
    crowd(shop, 9, (2, 0))
    assert serve(shop, 8) == [2] * 8
    finish(shop)


def test_a_band_alone_has_everything_and_owes_nothing_for_it() -> None:
    """What a band gets while nobody else waits is not held against its guarantee later."""
    shop = engine({0: 0.5}, room=1)
    shop.set_pods("a")
    crowd(shop, 20, (0,))
    assert serve(shop, 10) == [0] * 10
    crowd(shop, 5, (1,))
    assert serve(shop, 4) == [1, 0, 1, 0]
    finish(shop)


def test_a_band_that_stops_waiting_saves_nothing_up() -> None:
    """Credit ends with the wait: whoever comes back earns it anew."""
    shop = engine({0: 0.5}, room=1)
    shop.set_pods("a")
    crowd(shop, 10, (1,))
    crowd(shop, 1, (0,))
    assert serve(shop, 1) == [1]
    shop.cancel(next(asked for asked in shop.waiting if asked.priority == 0))
    crowd(shop, 3, (0,))
    assert serve(shop, 4) == [1, 0, 1, 0]
    finish(shop)


def test_slots_that_a_band_cannot_use_earn_it_nothing() -> None:
    """A band that waits for another pod has no part in this one's slots."""
    shop = engine({0: 0.5}, room=1)
    shop.set_pods("ab")
    crowd(shop, 9, (1,), "a")
    crowd(shop, 9, (0,), "b")
    tickets = {ticket.pod.name: ticket for ticket in shop.tickets if ticket.pod is not None}
    shop.release(tickets["a"])
    shop.settle()
    assert shop.processor.shard.registry.bands[0].credit == 0.0
    finish(shop)


def test_a_band_that_is_held_back_earns_nothing() -> None:
    """What a ceiling keeps from a band is no debt."""
    shop = engine({0: 0.5}, room=1, usage_limit=Holdback())
    shop.set_pods("a")
    shop.set_extra("a", 0.6)
    crowd(shop, 5, (1, 0))
    shop.settle()
    assert {ticket.request.priority for ticket in shop.tickets} == {1}
    assert shop.processor.shard.registry.bands[0].credit == 0.0
    finish(shop)


def test_lanes_of_an_owed_band_take_turns() -> None:
    """The owed slot is shared by the lanes that wait for it, like any other."""
    shop = engine({0: 0.5}, room=1)
    shop.set_pods("a")
    crowd(shop, 9, (1,))
    crowd(shop, 4, (0,), "a")
    crowd(shop, 4, (0,), "ab")
    for _ in range(8):
        serve(shop, 1)
    left = [len([one for one in shop.waiting if one.subset == frozenset(subset)]) for subset in ("a", "ab")]
    assert left == [2, 2]
    finish(shop)


def test_shares_can_be_changed_while_requests_wait() -> None:
    """The next slot goes by the new configuration, and what was owed under the old one is forgotten."""
    shop = engine({0: 0.5}, room=1)
    shop.set_pods("a")
    crowd(shop, 20, (1, 0))
    assert serve(shop, 3) == [1, 0, 1]
    shop.reconfigure(FlowControlConfig(shop.model.config.bands, default_ttl=1e9))
    assert serve(shop, 4) == [1] * 4
    shop.reconfigure(FlowControlConfig(shop.model.config.bands, default_ttl=1e9, band_shares=BandShares({0: 1.0})))
    assert serve(shop, 4) == [0] * 4
    finish(shop)


@pytest.mark.parametrize("seed", range(8))
def test_no_band_lags_behind_its_share_by_the_bound(seed: int) -> None:
    """Whoever waits, for whatever pods, however bands come and go: the model checks every dispatch."""
    chance = random.Random(seed)
    weights = [chance.random() ** 3 for _ in BANDS]
    total = sum(weights) * chance.choice([1.0, 1.0, 2.0])
    shop = engine({priority: weight / total for priority, weight in zip(BANDS, weights, strict=True)}, room=1)
    subsets = chance.choice([[None], [None, "a", "ab", "c"]])
    shop.set_pods("abc")
    for _ in range(60):
        for priority in chance.sample(BANDS, chance.randrange(5)):
            crowd(shop, chance.randrange(1, 3), (priority,), chance.choice(subsets))
        while len(shop.waiting) > 30:
            shop.cancel(chance.choice(list(shop.waiting)))
        for _ in range(chance.randrange(4)):
            if shop.tickets:
                shop.release(chance.choice(list(shop.tickets)))
                shop.settle()
    finish(shop)


class Contest:
    """Nothing but credits: who may want a slot is up to the adversary, and nobody ever stops waiting."""

    def __init__(self, shares: dict[int, float]) -> None:
        self.bands = {priority: Band(PriorityBandConfig(priority), is_listed=True, queued=1) for priority in shares}
        self.credits = Credits(
            cast("Any", SimpleNamespace(bands=self.bands)),
            BandShares(shares),
            cast("Any", SimpleNamespace(of=lambda _: 1.0)),
        )

    def slot(self, wanting: Sequence[int], strict: int | None) -> None:
        """Give one slot away: to whom it is owed, else to `strict`."""
        lane = SimpleNamespace(group=lambda band: band if band.priority in wanting else None)
        pod = cast("Any", SimpleNamespace(lanes=[lane], saturation=0.0))
        owed = self.credits.owed(pod)
        served = self.bands[strict] if owed is None and strict is not None else owed
        self.credits.count(pod, served or Band(PriorityBandConfig(99), is_listed=True))

    def worst(self) -> float:
        return max(band.credit for band in self.bands.values())


@pytest.mark.parametrize("count", range(1, 7))
def test_no_credit_exceeds_the_bound_where_all_want_the_same(count: int) -> None:
    """Whatever the shares, and whoever goes by strict priority in between."""
    for contest, chance in contests(count):
        for _ in range(100):
            contest.slot(range(count), strict=chance.choice([None, *range(count)]))
            assert contest.worst() <= BandShares(contest.credits.shares).bound() + 1e-9


@pytest.mark.parametrize("count", range(1, 7))
def test_overlapping_wants_cost_little_more(count: int) -> None:
    """However an adversary chooses who wants each slot, a lag stays within a unit of the bound."""
    worst = 0.0
    for contest, chance in contests(count):
        for _ in range(100):
            contest.slot(adversary(contest, chance), strict=None)
            worst = max(worst, contest.worst())
    assert worst <= BandShares(contest.credits.shares).bound() + 1.0


def contests(count: int) -> Iterator[tuple[Contest, random.Random]]:
    chance = random.Random(count)
    for _ in range(100):
        weights = [chance.random() ** chance.choice([0.3, 1, 3]) + 1e-3 for _ in range(count)]
        yield Contest({rank: weight / sum(weights) for rank, weight in enumerate(weights)}), chance


def adversary(contest: Contest, chance: random.Random) -> list[int]:
    """Choose who wants a slot: fill those who are owed nothing, or let the fullest meet only its equals."""
    shares = contest.credits.shares
    credit = {priority: contest.bands[priority].credit + share for priority, share in shares.items()}
    everybody = list(credit)
    mode = chance.random()
    if mode < 0.4:
        return [priority for priority in everybody if credit[priority] < 1.0 - 1e-9] or everybody
    if mode < 0.8:
        fullest = max(everybody, key=lambda priority: contest.bands[priority].credit)
        wanting = [priority for priority in everybody if priority == fullest or credit[priority] >= credit[fullest]]
        return wanting if len(wanting) > 1 else everybody
    return chance.sample(everybody, chance.randint(1, len(everybody)))


BAD = [
    ([0.5], TypeError, "shares must map priorities to shares, not \\[0.5\\]"),
    ({"0": 0.5}, TypeError, "ints, not '0'"),
    ({True: 0.5}, TypeError, "ints, not True"),
    ({0: "half"}, TypeError, "the share of priority 0 must be a number, not 'half'"),
    ({0: False}, TypeError, "the share of priority 0 must be a number, not False"),
    ({0: 0.0}, ValueError, "priority 0 must be more than 0 and at most 1, not 0.0"),
    ({0: float("nan")}, ValueError, "more than 0 and at most 1, not nan"),
    ({-1: 1.5}, ValueError, "priority -1 must be more than 0 and at most 1, not 1.5"),
    ({0: 0.6, 1: 0.6}, ValueError, "must add up to at most 1, not 1.2"),
]


@pytest.mark.parametrize(("shares", "kind", "message"), BAD)
def test_bad_shares_are_refused(shares: Any, kind: type[Exception], message: str) -> None:
    """The error names the value and the rule."""
    with pytest.raises(kind, match=message):
        BandShares(shares)


def test_shares_are_values() -> None:
    """Equal shares are equal, hash alike, and cannot be changed from outside."""
    given = {0: 0.1}
    shares = BandShares(given)
    given[0] = 0.9
    assert shares == BandShares({0: 0.1})
    assert shares != BandShares({0: 0.2})
    assert hash(shares) == hash(BandShares({0: 0.1}))


def test_shares_of_a_band_that_cannot_be_are_refused() -> None:
    """A share for a priority that is neither listed nor made from a template is a mistake."""
    with pytest.raises(ValueError, match="band_shares names priority 7, which is no band"):
        FlowControlConfig(default_band=None, band_shares=BandShares({7: 0.5}))


def test_shares_and_a_pool_s_caution_exclude_each_other() -> None:
    """Where only the highest waiting band may go, nobody else has a share."""
    with pytest.raises(ValueError, match="band_shares must have hol_scope 'candidates', not 'pool'"):
        FlowControlConfig(hol_scope="pool", band_shares=BandShares({0: 0.5}))
