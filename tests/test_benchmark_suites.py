"""Each suite measures what its name says, at sizes that take no time. Nothing here says how fast anything is."""

import asyncio
import gc
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec

import attrs
import pytest

from benchmarks import peers as peers_module
from benchmarks.churn import churn
from benchmarks.drain import drain
from benchmarks.fairness import POLICIES, choice
from benchmarks.floor import bare_queue
from benchmarks.gate import park, queue
from benchmarks.idle import idle
from benchmarks.latency import latency
from benchmarks.load import Load, zipf
from benchmarks.matrix import cells, matrix
from benchmarks.memory import memory
from benchmarks.paths import fast, queued
from benchmarks.peers import peers
from benchmarks.pods import pods
from benchmarks.rounds import Case, Figure, measure
from benchmarks.sizes import FULL, QUICK, TINY, Sizes
from benchmarks.trio_path import trio

_Suite = Callable[[Sizes], Sequence[list[Case]] | Sequence[Figure]]
_SUITES: list[_Suite] = [fast, queued, matrix, drain, choice, churn, pods, memory, latency, idle, trio, peers]
_FLOORS = ("bare futures", "await of nothing", "memory of a waiting bare future", "callbacks a second")


def _figures(suite: _Suite, sizes: Sizes = TINY) -> list[Figure]:
    figures: list[Figure] = []
    for part in suite(sizes):
        figures += [part] if isinstance(part, Figure) else measure(part, sizes.rounds)
    return figures


@pytest.fixture(scope="module", autouse=True)
def frozen_heap() -> Iterator[None]:
    # Each round sweeps up before it begins, and a test run has much to look at.
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(scope="module")
def measured() -> dict[_Suite, list[Figure]]:
    return {suite: _figures(suite) for suite in _SUITES}


@pytest.mark.parametrize("suite", _SUITES)
def test_every_figure_has_a_ratio_to_a_floor_of_the_same_suite(
    suite: _Suite, measured: dict[_Suite, list[Figure]]
) -> None:
    """Trust ratios: all but the floors themselves, and what could not be measured, are multiples of something."""
    figures = measured[suite]
    names = {figure.name for figure in figures}
    assert figures
    for figure in figures:
        if figure.ratio is None:
            assert figure.name.startswith(_FLOORS) or figure.unit == "not installed"
        else:
            assert figure.versus in names


@pytest.mark.parametrize("suite", _SUITES)
def test_no_two_figures_of_a_suite_are_of_the_same_things(suite: _Suite, measured: dict[_Suite, list[Figure]]) -> None:
    """A name, and what it is compared with, tell a figure from every other one."""
    told = [(figure.name, figure.versus) for figure in measured[suite]]
    assert len(told) == len(set(told))


def test_each_target_stands_at_the_figures_it_is_for(measured: dict[_Suite, list[Figure]]) -> None:
    """The targets, with the sizes that these tests measure at."""
    floor, wide = "bare futures, 20 callers, 100 slots", "queued, 20 flows, 8 bands"
    last = "drain of 30, {}, 30 flows"
    assert {
        (figure.name, figure.versus): figure.target
        for figures in measured.values()
        for figure in figures
        if figure.target is not None and "-" not in figure.name.split(",")[0]
    } == {
        ("fast path", "await of nothing"): 40.0,
        (wide, floor): 4.0,
        (wide, "queued, 10 flows, 8 bands"): 1.5,
        (wide, "queued, 20 flows, 1 band"): 1.5,
        ("queued, 20 flows, 4 bands", "queued, 20 flows, 1 band"): 1.5,
        ("queued, 4 lanes of a slot each", "queued, 1 lane of 4 slots"): 1.5,
        (last.format("round-robin"), "bare futures, drain of 30 beside round-robin"): 8.0,
        (last.format("round-robin"), "drain of 30, round-robin, 2 flows"): 2.0,
        (last.format("best-head"), "bare futures, drain of 30 beside best-head"): 12.0,
        ("queued, 4 scraped pods", "queued, 1 scraped pod"): 1.5,
        ("memory of a waiting request, 10 flows", "memory of a waiting bare future"): 2_048.0,
        ("memory of an idle flow", "memory of a waiting bare future"): 600.0,
        ("memory of a kept flow, after 50 of which 30 are kept", "memory of a waiting bare future"): 600.0,
        ("callbacks a second, saturated, 30 waiting", None): 0.0,
        ("queued, trio", "queued, asyncio"): 2.5,
    }


def test_a_choice_between_the_most_flows_has_a_target_with_every_policy(
    measured: dict[_Suite, list[Figure]],
) -> None:
    """It is a multiple of the choice between the fewest."""
    targets = {figure.name: (figure.versus, figure.target) for figure in measured[choice] if figure.target}
    assert targets == {f"{policy.name}, 5 flows": (f"{policy.name}, 2 flows", 3.0) for policy in POLICIES}


def test_drain_targets_are_those_of_the_most_requests() -> None:
    """Fewer are measured as well, and have none."""
    figures = _figures(drain, attrs.evolve(TINY, parked=(10, 20), drained_flows=(2, 20)))
    names = {figure.name for figure in figures if figure.target is not None}
    assert names == {"drain of 20, round-robin, 20 flows", "drain of 20, best-head, 20 flows"}


def test_nothing_runs_while_nothing_changes(measured: dict[_Suite, list[Figure]]) -> None:
    """This figure is no time: it is the same on every machine."""
    (figure,) = measured[idle]
    assert figure.spent.median == 0.0


def test_the_matrix_has_all_cells_of_both_kinds() -> None:
    """Three limits, two numbers of priorities, of flows and of callers: released at once, and held."""
    assert len(cells(FULL)) == 48
    assert "L=100 P=8 F=5,000 W=10, held" in {cell.name for cell in cells(FULL)}
    assert "L=0 P=1 F=10 W=5,000, at once" in {cell.name for cell in cells(FULL)}


@pytest.mark.parametrize("is_held", [False, True])
def test_without_a_limit_nobody_waits(is_held: bool) -> None:
    """A cell of the matrix with L = 0 works on both sides."""
    load = Load(5, None, flows=2, draws=zipf(2))
    assert asyncio.run(queue(load, 2, is_held=is_held)) > 0
    assert asyncio.run(bare_queue(5, None, 2, is_held=is_held)) > 0


def test_flows_are_drawn_by_the_law_and_the_same_each_time() -> None:
    """The first flow comes about 2 ** 1.1 times as often as the second."""
    drawn = zipf(10)
    assert drawn == zipf.__wrapped__(10)
    assert set(drawn) == set(range(10))
    assert 1.9 < drawn.count(0) / drawn.count(1) < 2.4


@pytest.mark.parametrize(
    ("load", "bands", "lanes"),
    [(Load(flows=16, bands=8), 8, 1), (Load(flows=40, bands=8, lanes=10), 8, 10), (Load(flows=40, lanes=10), 1, 10)],
)
def test_flows_are_spread_over_all_bands_and_lanes(load: Load, bands: int, lanes: int) -> None:
    """However many lanes there are, all bands are used."""
    requests = [load.request(number) for number in range(load.flows)]
    assert len({request.flow_key() for request in requests}) == load.flows
    assert len({request.flow_key().priority for request in requests}) == bands
    assert len({request.get_metadata().get("lane") for request in requests}) == lanes


def test_each_lane_has_pods_of_its_own() -> None:
    """As many as any other, and none that another has."""
    load = Load(lanes=3, pods=2)
    locator = load.open_locator()
    found = [pod for lane in range(3) for pod in locator.locate({"lane": lane})]
    assert len(found) == len(set(found)) == 6


def test_callers_are_parked_before_anything_is_measured() -> None:
    """Else a drain would measure their arrival."""

    async def waiting(load: Load) -> int:
        async with load.controller(load.closed_locator()) as controller:
            tasks = await park(controller, load)
            count = controller.stats().queued_requests
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return count

    assert asyncio.run(waiting(Load(7, flows=3))) == 7


def test_a_peer_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The report says so, and goes on."""
    monkeypatch.setattr(peers_module, "find_spec", lambda _: None)
    figures = {figure.name: figure.unit for figure in _figures(peers)}
    assert figures["burst of 10, aio-fairshare"] == "not installed"
    assert figures["burst of 10, flowgate"] == "µs"


def test_a_peer_that_lets_its_callers_wait_for_ever_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The report says so, and goes on."""

    async def hang(_callers: int) -> None:
        await asyncio.get_running_loop().create_future()

    monkeypatch.setattr(peers_module, "_LONGEST", 0.0)
    monkeypatch.setattr(peers_module, "_PEERS", [peers_module._Peer("one that hangs", "asyncio", hang)])
    assert [figure.unit for figure in _figures(peers)] == ["µs", "µs", "stuck"]


def test_without_trio_the_report_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing else of the program needs it."""
    assert find_spec("trio") is not None
    monkeypatch.setattr("benchmarks.trio_path.find_spec", lambda _: None)
    assert [figure.unit for figure in _figures(trio)] == ["not installed"]


@pytest.mark.parametrize(("less", "more"), [(TINY, QUICK), (QUICK, FULL)])
def test_a_smaller_run_is_smaller_in_everything(less: Sizes, more: Sizes) -> None:
    """In every size; in the sum of them, where there are several."""
    for field in attrs.fields(Sizes):
        small, large = getattr(less, field.name), getattr(more, field.name)
        assert (sum(small) < sum(large)) if isinstance(small, tuple) else (small <= large), field.name
