"""Every order of a handful of steps: small enough to try them all, and all are tried."""

from collections.abc import Callable, Iterator, Sequence
from itertools import permutations

import pytest

from flowgate import FlowControlConfig, PriorityBandConfig
from flowgate.policies import EarliestDeadlineFirst
from flowgate.testing._machine_engine import CheckedEngine
from flowgate.testing._model_parts import MovableRequest

Step = Callable[[CheckedEngine, dict[str, MovableRequest]], None]


def submit(name: str, priority: int = 0, ttl: float | None = None, subset: str | None = None, size: int = 1) -> Step:
    def step(engine: CheckedEngine, asked: dict[str, MovableRequest]) -> None:
        asked[name] = MovableRequest(name, priority, size, ttl, None if subset is None else frozenset(subset))
        engine.submit(asked[name])

    return step


def cancel(name: str) -> Step:
    def step(engine: CheckedEngine, asked: dict[str, MovableRequest]) -> None:
        if asked.get(name) in engine.waiting:
            engine.cancel(asked[name])

    return step


def refresh(name: str, subset: str) -> Step:
    def step(engine: CheckedEngine, asked: dict[str, MovableRequest]) -> None:
        if asked.get(name) in engine.waiting:
            engine.refresh(asked[name], frozenset(subset))

    return step


def release() -> Step:
    def step(engine: CheckedEngine, _asked: dict[str, MovableRequest]) -> None:
        if engine.tickets:
            engine.release(next(iter(engine.tickets)))

    return step


def pods(names: str) -> Step:
    return lambda engine, _asked: engine.set_pods(names)


def expire() -> Step:
    return lambda engine, _asked: engine.sleep(1.0, late=True)


def dispatch() -> Step:
    return lambda engine, _asked: engine.settle()


def reconfigure(config: FlowControlConfig) -> Step:
    return lambda engine, _asked: engine.reconfigure(config)


def close() -> Step:
    return lambda engine, _asked: engine.close()


TIGHT = FlowControlConfig(
    [PriorityBandConfig(0), PriorityBandConfig(1)], default_band=None, max_requests=1, default_ttl=5.0
)
TWO_BANDS = FlowControlConfig(
    [PriorityBandConfig(0), PriorityBandConfig(1, dispatch=EarliestDeadlineFirst())], default_band=None, default_ttl=5.0
)

SCENARIOS: dict[str, tuple[FlowControlConfig, Sequence[Step]]] = {
    "displace, cancel and close around a pod that comes": (
        TIGHT,
        [submit("low"), submit("high", 1), cancel("low"), pods("a"), dispatch(), release(), close()],
    ),
    "expire while pods come and go": (
        TWO_BANDS,
        [submit("short", ttl=1.0), submit("long", 1), pods("a"), pods(""), dispatch(), expire(), cancel("long")],
    ),
    "subsets that share a pod": (
        TWO_BANDS,
        [submit("a", subset="a"), submit("ab", 1, subset="ab"), pods("ab"), pods("b"), dispatch(), release(), expire()],
    ),
    "one flow, and a change of mind": (
        TWO_BANDS,
        [
            submit("x", subset="a"),
            submit("x", ttl=1.0, subset="b"),
            refresh("x", "ab"),
            pods("b"),
            dispatch(),
            release(),
            expire(),
        ],
    ),
    "another configuration in the middle": (
        TWO_BANDS,
        [
            submit("low"),
            submit("high", 1),
            reconfigure(TIGHT),
            submit("late", 1, ttl=1.0),
            pods("a"),
            dispatch(),
            expire(),
        ],
    ),
}


def schedules(steps: Sequence[Step]) -> Iterator[tuple[Step, ...]]:
    """Every order of the steps."""
    return permutations(steps)


@pytest.mark.parametrize("keyed", [True, False], ids=["lanes by selection", "lanes by flow"])
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_every_order_keeps_every_invariant(scenario: str, keyed: bool, capsys: pytest.CaptureFixture[str]) -> None:
    """In each order of the steps all invariants hold after each step, and everybody has one outcome at the end."""
    config, steps = SCENARIOS[scenario]
    explored = 0
    for schedule in schedules(steps):
        engine = CheckedEngine(config, keyed=keyed, room=1)
        asked: dict[str, MovableRequest] = {}
        for step in schedule:
            step(engine, asked)
        engine.finish()
        stats = engine.processor.stats()
        assert (stats.queued_requests, stats.in_flight, stats.overcommitted) == (0, 0, 0)
        explored += 1
    with capsys.disabled():
        print(f"\n{scenario}: explored {explored} schedules of {len(steps)} steps")
