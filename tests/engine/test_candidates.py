"""What a ticket names: the pods that were open at its dispatch, in the locator's order, however many there are."""

import random
from collections.abc import Callable, Iterator

import pytest

from flowgate import FlowControlConfig, Pod, Request, Ticket
from flowgate.processor import ShardProcessor
from flowgate.saturation import ConcurrencyDetector
from flowgate.testing import make_pods
from tests.locators.test_changes import TellingLocator


@pytest.fixture
def pools() -> Iterator[Callable[[int], "_Pool"]]:
    made: list[_Pool] = []

    def make(pods: int) -> _Pool:
        made.append(_Pool(pods))
        return made[-1]

    yield make
    for pool in made:
        while pool.tickets:
            pool.give_back(0)


class _Pool:
    """Pods of one slot each, and which of them should be open."""

    def __init__(self, pods: int) -> None:
        self.pods = list(make_pods(pods))
        self.locator = TellingLocator(self.pods)
        self.core = ShardProcessor(FlowControlConfig(), locator=self.locator, detector=ConcurrencyDetector(1))
        self.tickets: list[Ticket] = []
        self.made = pods

    @property
    def open(self) -> list[Pod]:
        busy = {ticket.pod for ticket in self.tickets}
        return [pod for pod in self.pods if pod not in busy]

    def take(self) -> None:
        expected = self.open
        ticket = self.core.submit(Request("flow"), 0.0)
        assert isinstance(ticket, Ticket)
        assert ticket.pod in expected
        first, *rest = ticket.candidates
        assert first == ticket.pod
        assert rest == [pod for pod in expected if pod != first]
        self.tickets.append(ticket)

    def give_back(self, place: int) -> None:
        self.tickets.pop(place).release()

    def change(self, leaving: int, coming: int, chance: random.Random) -> None:
        gone = set(chance.sample(self.pods, leaving))
        new = make_pods(self.made + coming)[self.made :]
        self.made += coming
        before = self.pods
        self.pods = [pod for pod in self.pods if pod not in gone] + list(new)
        self.locator.change(removed=[pod for pod in before if pod in gone], added=new)


@pytest.mark.parametrize("seed", range(5))
def test_a_ticket_names_what_is_open_while_pods_come_and_go(pools: Callable[[int], _Pool], seed: int) -> None:
    chance = random.Random(seed)
    pool = pools(chance.choice((30, 32, 33, 300)))
    for _ in range(400):
        deed = chance.random()
        if deed < 0.5 and pool.open:
            pool.take()
        elif deed < 0.9 and pool.tickets:
            pool.give_back(chance.randrange(len(pool.tickets)))
        else:
            pool.change(chance.randrange(1 + len(pool.pods) // 8), chance.randrange(12), chance)


def test_a_ticket_keeps_what_was_open_when_it_went(pools: Callable[[int], _Pool]) -> None:
    pool = pools(200)
    pool.take()
    then = pool.tickets[0].candidates
    for _ in range(100):
        pool.take()
    assert pool.tickets[0].candidates == then
    assert len(pool.tickets[0].open_candidates()) == 100


def test_a_large_pool_that_shrinks_is_listed_in_fewer_runs(pools: Callable[[int], _Pool]) -> None:
    pool, chance = pools(1_000), random.Random(0)
    pool.take()
    assert len(pool.tickets[-1].spare) == 32
    pool.change(900, 0, chance)
    pool.take()
    assert len(pool.tickets[-1].spare) == 4
    pool.change(70, 0, chance)
    pool.take()
    assert len(pool.tickets[-1].spare) == 1


def test_few_runs_are_listed_anew_when_one_pod_opens_or_closes(pools: Callable[[int], _Pool]) -> None:
    pool = pools(1_000)
    pool.take()
    pool.take()
    one, other = (ticket.spare for ticket in pool.tickets)
    assert sum(a is not b for a, b in zip(one, other, strict=True)) == 1


def test_pods_that_come_fill_the_last_run_and_then_a_new_one(pools: Callable[[int], _Pool]) -> None:
    pool, chance = pools(50), random.Random(0)
    pool.take()
    pool.change(0, 14, chance)
    pool.take()
    pool.change(0, 1, chance)
    pool.take()
    assert [[len(run) for run in ticket.spare] for ticket in pool.tickets] == [[32, 18], [31, 32], [30, 32, 1]]
