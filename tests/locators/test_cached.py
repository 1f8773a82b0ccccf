"""CachedPodLocator: short memory, bounded size, no stale answer after an announcement."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowgate.contracts import Pod, TimeVarying, Watchable
from flowgate.locators import CachedPodLocator, StaticPodLocator, SubsetPodLocator
from tests.locators.plain import Clock, ModelLocator, PlainLocator, TimedLocator

A = Pod("a", "10.0.0.1", 80)
B = Pod("b", "10.0.0.2", 80)
X = {"model": "x"}
Y = {"model": "y"}
Z = {"model": "z"}


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def models() -> ModelLocator:
    return ModelLocator(x=(A,), y=(B,), z=())


def cached(inner: Any, clock: Clock, **arguments: Any) -> Any:
    locator = CachedPodLocator(inner, **arguments)
    locator.bind(clock)
    return locator


def test_an_answer_is_used_until_it_expires(models: ModelLocator, clock: Clock) -> None:
    """The inner locator is asked once in each `ttl`; at exactly that age it is asked again."""
    locator = cached(models, clock, ttl=2)
    assert locator.locate(X) == (A,)
    models.models["x"] = (A, B)
    clock.now = 1.999
    assert locator.locate(X) == (A,)
    assert models.calls == 1
    clock.now = 2.0
    assert locator.locate(X) == (A, B)
    assert models.calls == 2


def test_selections_do_not_share_answers(models: ModelLocator, clock: Clock) -> None:
    """Each key has its own answer, an empty one too."""
    locator = cached(models, clock)
    assert [locator.locate(metadata) for metadata in (X, Y, Z, X, Y, Z)] == [(A,), (B,), ()] * 2
    assert models.calls == 3
    assert [locator.selection_key(metadata) for metadata in (X, Y)] == ["x", "y"]


def test_answers_are_immutable_snapshots(clock: Clock) -> None:
    """Neither the inner locator's list nor the caller can change what is remembered."""
    pods = [A]
    locator = cached(ModelLocator(x=pods), clock)
    answer = locator.locate(X)
    pods.append(B)
    assert answer == locator.locate(X) == (A,)
    assert isinstance(answer, tuple)
    assert locator.locate(X) is answer


def test_the_answers_used_last_are_kept(models: ModelLocator, clock: Clock) -> None:
    """Beyond `max_entries` the least recently used goes."""
    locator = cached(models, clock, max_entries=2)
    for metadata in (X, Y, X, Z):
        locator.locate(metadata)
    assert models.calls == 3
    locator.locate(X)
    assert models.calls == 3
    locator.locate(Y)
    assert models.calls == 4


@pytest.mark.parametrize("changed", [None, (A,)])
def test_an_announced_change_is_seen_at_once(clock: Clock, changed: Sequence[Pod] | None) -> None:
    """All answers are forgotten before anybody hears of the change, whatever it was of."""

    class Announcing(ModelLocator):
        def subscribe(self, callback: Any) -> Any:
            self.callback = callback

    inner = Announcing(x=(A,))
    locator = cached(inner, clock)
    heard: list[tuple[Sequence[Pod] | None, Sequence[Pod]]] = []
    locator.subscribe(lambda pods=None: heard.append((pods, locator.locate(X))))
    assert locator.locate(X) == (A,)
    inner.models["x"] = (B,)
    inner.callback(changed)
    assert heard == [(changed, (B,))]


def test_one_may_take_back_a_subscription(clock: Clock) -> None:
    """Whoever unsubscribes hears no more; answers are still forgotten."""
    pool = StaticPodLocator([A])
    locator = cached(pool, clock)
    heard: list[object] = []
    locator.subscribe(lambda pods=None: heard.append(pods))()
    locator.locate({})
    pool.set_pods([B])
    assert heard == []
    assert locator.locate({}) == (B,)


def test_next_change_is_the_first_expiry(models: ModelLocator, clock: Clock) -> None:
    """Where nothing is announced, time tells: the earliest remembered answer, never one that has expired."""
    locator = cached(models, clock, ttl=2)
    assert locator.next_change() is None
    locator.locate(X)
    clock.now = 0.5
    locator.locate(Y)
    locator.locate(X)
    assert locator.next_change() == 2.0
    clock.now = 2.0
    assert locator.next_change() == 2.5
    clock.now = 2.5
    assert locator.next_change() is None


def test_where_changes_are_announced_time_changes_nothing(clock: Clock) -> None:
    """With an announcing inner locator there is a `subscribe` and no `next_change`; else the other way round."""
    announcing = cached(StaticPodLocator(), clock)
    assert isinstance(announcing, Watchable)
    assert announcing.next_change is None
    assert not isinstance(announcing, TimeVarying)
    silent = cached(ModelLocator(), clock)
    assert isinstance(silent, TimeVarying)
    assert silent.subscribe is None
    assert not isinstance(silent, Watchable)


def test_an_announcing_inner_locator_that_varies_in_time_keeps_its_next_change(clock: Clock) -> None:
    """Its own `next_change` passes through, and its answers are forgotten when that time has come."""

    class Both(TimedLocator):
        def subscribe(self, callback: Any) -> Any:
            pass

    inner = Both(x=(A,))
    locator = cached(inner, clock, ttl=10)
    assert locator.next_change == inner.next_change
    inner.change_at = 3.0
    locator.locate(X)
    inner.models["x"], inner.change_at, clock.now = (B,), None, 3.0
    assert locator.locate(X) == (B,)


def test_the_inner_next_change_ends_all_answers(clock: Clock) -> None:
    """What changes with time inside is not remembered beyond the time that the inner locator told."""
    inner = TimedLocator(x=(A,), y=(B,))
    locator = cached(inner, clock, ttl=10)
    inner.change_at = 3.0
    locator.locate(X)
    inner.change_at = 4.0
    locator.locate(Y)
    assert locator.next_change() == 3.0
    inner.models["x"], clock.now = (B,), 3.0
    assert locator.locate(X) == (B,)
    assert locator.next_change() == 4.0
    inner.change_at = None
    clock.now = 4.0
    assert locator.next_change() is None
    locator.locate(Y)
    assert locator.next_change() == 14.0


def test_an_error_is_not_remembered(clock: Clock) -> None:
    """An inner locator that raises is asked again at the next call."""
    inner = ModelLocator()
    locator = cached(inner, clock)
    with pytest.raises(KeyError):
        locator.locate(X)
    inner.models["x"] = (A,)
    assert locator.locate(X) == (A,)


def test_binding_a_clock_forgets_what_another_timed(models: ModelLocator) -> None:
    """Times of two clocks are never compared; the inner locator gets the clock too."""
    inner = TimedLocator(x=(A,))
    locator = CachedPodLocator(inner, ttl=1000)
    locator.locate(X)
    locator.locate(X)
    assert inner.calls == 1
    clock = Clock()
    clock.now = -1e9
    locator.bind(clock)
    assert inner.clock is clock
    locator.locate(X)
    assert inner.calls == 2
    clock.now += 1000
    locator.locate(X)
    assert inner.calls == 3


def test_malformed_hints_poison_no_other_request(clock: Clock) -> None:
    """A malformed one-element list leaves what requests without a hint get as it is, whoever comes first."""
    hint: Mapping[str, object] = {"envoy.lb.subset_hint": {"x-gateway-destination-endpoint-subset": [7]}}
    for requests, answers in [((hint, {}), [(), (A,)]), (({}, hint), [(A,), ()])]:
        locator = cached(SubsetPodLocator(StaticPodLocator([A])), clock)
        assert [locator.locate(metadata) for metadata in (*requests, *requests)] == answers * 2


def test_a_locator_without_a_key_cannot_be_cached() -> None:
    """Without a key nothing says which requests may share an answer: an error names the locator, wrapped or not."""
    with pytest.raises(TypeError, match=r"needs an inner one with a selection_key; PlainLocator\(\) has none"):
        CachedPodLocator(PlainLocator())
    with pytest.raises(TypeError, match="needs an inner one with a selection_key"):
        CachedPodLocator(SubsetPodLocator(PlainLocator()))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"ttl": 0}, ValueError, "ttl must be finite and more than 0 seconds, not 0"),
        ({"ttl": -1.0}, ValueError, "ttl must be finite"),
        ({"ttl": math.nan}, ValueError, "not nan"),
        ({"ttl": math.inf}, ValueError, "not inf"),
        ({"ttl": "1"}, TypeError, "ttl must be a number of seconds, not '1'"),
        ({"ttl": True}, TypeError, "not True"),
        ({"max_entries": 0}, ValueError, "max_entries must be 1 or more, not 0"),
        ({"max_entries": 1.5}, TypeError, r"max_entries must be an int, not 1\.5"),
        ({"max_entries": True}, TypeError, "max_entries must be an int, not True"),
    ],
)
def test_bad_arguments_are_refused(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    """Each error names the value and the rule."""
    with pytest.raises(error, match=message):
        CachedPodLocator(StaticPodLocator(), **arguments)


def test_repr_shows_what_it_wraps(models: ModelLocator) -> None:
    """The repr is the call that makes it."""
    assert repr(CachedPodLocator(models, ttl=1)) == "CachedPodLocator(PlainLocator(), ttl=1.0, max_entries=1024)"


steps = st.lists(st.tuples(st.sampled_from("abcde"), st.sampled_from([0.0, 0.25, 1.0])), max_size=40)


@given(steps=steps, max_entries=st.integers(1, 4))
def test_a_cache_equals_a_naive_one(steps: list[tuple[str, float]], max_entries: int) -> None:
    """Whatever the order of calls and time: hits, evictions, expiry and `next_change` are those of a plain list."""
    clock = Clock()
    inner = ModelLocator(**{name: (Pod(name, "10.0.0.1", 80),) for name in "abcde"})
    locator = cached(inner, clock, ttl=1, max_entries=max_entries)
    model: list[tuple[str, float]] = []  # (name, expiry), least recently used first
    calls = 0
    for name, wait in steps:
        clock.now += wait
        model = [(other, expires) for other, expires in model if clock.now < expires]
        known = [entry for entry in model if entry[0] == name]
        calls += not known
        model = [entry for entry in model if entry not in known] + (known or [(name, clock.now + 1)])
        model = model[-max_entries:]
        assert [pod.name for pod in locator.locate({"model": name})] == [name]
        assert inner.calls == calls
        assert locator.next_change() == min(expires for _name, expires in model)
