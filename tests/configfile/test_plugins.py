"""Plug-ins by name: what packages register, and what becomes of those that are broken."""

import inspect
import sys
from importlib.metadata import EntryPoint, distribution
from typing import Any

import pytest

from flowgate.configfile import ConfigError, Problem, load_settings
from tests.configfile.conftest import Install

OURS = [entry for entry in distribution("flowgate-admission").entry_points if entry.group.startswith("flowgate.")]

LOCATOR = """
    class Pool:
        def __init__(self, **given):
            self.given = given

        def locate(self, metadata):
            return ()
"""


def problems_of(source: dict[str, Any]) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_settings(source)
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize("entry", OURS, ids=lambda entry: f"{entry.group}:{entry.name}")
def test_each_of_our_own_is_registered_under_its_name(entry: EntryPoint) -> None:
    """Policies and usage limits by what `.name` says; all can be imported."""
    target = entry.load()
    assert callable(target)
    named = inspect.getattr_static(target, "name", None)
    if isinstance(named, property):
        assert (named.fget.__doc__ or "").startswith(f'``"{entry.name}"``')


def test_a_package_s_own_plug_in_is_found_by_name(install: Install) -> None:
    """With its parameters; one that takes whatever it is given is given it."""
    install("my-pools", {"flowgate.locators": {"mine": "my_pools:Pool"}}, LOCATOR)
    settings = load_settings({"locator": {"name": "mine", "given": 2, "depth": [1]}})
    assert type(settings.locator).__name__ == "Pool"
    assert settings.locator.given == {"given": 2, "depth": [1]}  # type: ignore[union-attr]


def test_two_packages_with_one_name_are_an_error_that_names_both(install: Install) -> None:
    """Which of them would win is nothing that a file should depend on; ours have no precedence either."""
    install("pools-a", {"flowgate.locators": {"mine": "pools_a:Pool"}}, LOCATOR)
    install("pools-b", {"flowgate.locators": {"mine": "pools_b:Pool", "static": "pools_b:Pool"}}, LOCATOR, "2.1")
    assert problems_of({"locator": "mine"}) == [
        'locator: the locator "mine" is registered by pools-a 1.0 and pools-b 2.1: uninstall all but one'
    ]
    (told,) = problems_of({"locator": {"name": "static"}})
    assert told.startswith('locator.name: the locator "static" is registered by flowgate-admission ')
    assert load_settings({"usage_limit": "static"}).usage_limit is not None  # another kind of plug-in


@pytest.mark.parametrize(
    ("value", "code", "reason"),
    [
        ("broken:Pool", "import nowhere_at_all", "broken:Pool cannot be imported: ModuleNotFoundError: "
         "No module named 'nowhere_at_all'"),
        ("broken:Pol", LOCATOR, "broken:Pol cannot be imported: AttributeError: "
         "module 'broken' has no attribute 'Pol'"),
        ("broken:Pool", "raise RuntimeError('on import')", "broken:Pool cannot be imported: RuntimeError: on import"),
        ("broken:POOL", "POOL = 3", "broken:POOL is no class or factory"),
    ],
)  # fmt: skip
def test_a_broken_entry_point_harms_only_those_who_name_it(
    install: Install, monkeypatch: pytest.MonkeyPatch, value: str, code: str, reason: str
) -> None:
    """The error says which distribution, and why; other names of its kind work as ever."""
    monkeypatch.delitem(sys.modules, "broken", raising=False)
    install("broken", {"flowgate.locators": {"bad": value}}, code)
    assert load_settings({"locator": "static"}).locator is not None
    assert problems_of({"locator": "bad"}) == [f'locator: the locator "bad" of broken 1.0 is broken: {reason}']


def test_what_a_factory_makes_must_keep_its_contract(install: Install) -> None:
    """The error says what is missing; of several contracts of a kind, the nearest counts."""
    code = """
        class Nothing:
            pass

        class Half:
            name = "half"

        class Selector:
            def select_queue(self, band):
                return next(iter(band.queues))
    """
    install(
        "halves",
        {
            "flowgate.locators": {"nothing": "halves:Nothing"},
            "flowgate.fairness_policies": {"half": "halves:Half", "selector": "halves:Selector"},
        },
        code,
    )
    assert problems_of({"locator": "nothing", "bands": [{"priority": 0, "fairness": {"name": "half"}}]}) == [
        'locator: "nothing" makes a Nothing, which is no locator: it lacks locate',
        'bands[0].fairness.name: "half" makes a Half, which is no fairness policy: it lacks new_group',
    ]
    band = load_settings({"bands": [{"priority": 0, "fairness": "selector"}]}).config.bands[0]
    assert type(band.fairness).__name__ == "Selector"


FACTORIES = """
    from typing import Annotated, Callable, Iterable, Literal, Mapping, NewType, Sequence, Union
    from collections.abc import Set

    import attrs

    from flowgate.contracts import PodLocator

    Seconds = NewType("Seconds", float)

    class Made:
        def __init__(self, **given):
            self.given = given

        def locate(self, metadata):
            return ()

    def several(*locators: PodLocator, depth: int = 1):
        return Made(locators=locators, depth=depth)

    def gapped(depth: int = 1, *locators: PodLocator):
        return Made(locators=locators, depth=depth)

    def typed(
        first: int,
        /,
        rows: list[tuple[int, str]] = [],
        names: Set[str] = frozenset(),
        table: dict[str, bool] = {},
        anything=None,
        seconds: Seconds = 1.0,
        level: Annotated[int, "a level"] = 0,
        mixed: Mapping[int | str, int] = {},
        weights: Union[Mapping[str, float], Callable[[str], float], None] = None,
        bare: dict = {},
        bare_list: list = [],
        either: int | str = 0,
        near: list[int] | list[str] = [],
        text: None | str = "",
        choice: Literal[1, "x"] = 1,
        kind: type = int,
        call: Callable[[], int] = int,
        calls: Callable[[], int] | Callable[[int], int] = int,
        nothing: None = None,
    ):
        return Made(**{name: value for name, value in locals().items()})

    def unresolved(first: "Unknown", second: int = 0):
        return Made(first=first, second=second)

    class Bare:
        \"\"\"Takes nothing.\"\"\"

        def locate(self, metadata):
            return ()

    class Opaque(Made):
        __signature__ = "none that Python could read"

    def failing(kind: str = ""):
        raise {"key": KeyError("x"), "empty": ValueError(), "value": ValueError("kind is\\n not good")}[kind]

    def _needs_whole(record, field, value):
        if value > record.room:
            raise ValueError("size must fit in room")

    def _twice(value, record):
        return value * 2

    @attrs.frozen
    class Checked:
        room: int = 5
        size: int = attrs.field(default=1, validator=_needs_whole)
        double: int = attrs.field(default=1, converter=attrs.Converter(_twice, takes_self=True))
        half: int = attrs.field(default=1, converter=lambda value: value // 2)
        private: int = attrs.field(default=0, alias="own")

        def locate(self, metadata):
            return ()

    @attrs.frozen(auto_attribs=False)
    class Untyped:
        depth = attrs.field(default=1)

        def locate(self, metadata):
            return ()
"""


@pytest.fixture
def factories(install: Install) -> None:
    names = ["several", "gapped", "typed", "unresolved", "Bare", "Opaque", "failing", "Checked", "Untyped"]
    install("factories", {"flowgate.locators": {name.lower(): f"factories:{name}" for name in names}}, FACTORIES)


def given_to(locator: dict[str, Any]) -> dict[str, Any]:
    return load_settings({"locator": locator}).locator.given  # type: ignore[union-attr]


@pytest.mark.usefixtures("factories")
def test_a_parameter_given_any_number_of_times_is_a_list() -> None:
    """Combinators are written with a list of what they combine."""
    given = given_to({"name": "several", "locators": ["static", {"name": "bare"}], "depth": 2})
    assert ([type(each).__name__ for each in given["locators"]], given["depth"]) == (["StaticPodLocator", "Bare"], 2)
    assert len(given_to({"name": "gapped", "locators": ["static"]})["locators"]) == 1
    assert given_to({"name": "several"}) == {"locators": (), "depth": 1}
    assert problems_of({"locator": {"name": "several", "locators": ["static", "nowhere"]}})[0].startswith(
        'locator.locators[1]: there is no locator "nowhere"'
    )


@pytest.mark.usefixtures("factories")
def test_parameters_become_what_their_types_say() -> None:
    written = {
        "first": 1,
        "rows": [[1, "a"], [2, "b"]],
        "names": ["x", "x"],
        "table": {"a": True},
        "anything": [{"goes": 1}],
        "seconds": 2,
        "level": 3,
        "mixed": {"a": 1, 2: 3},
        "weights": {"a": 0.5},
        "bare": {"a": 1},
        "bare_list": [1, "a"],
        "either": "5",
        "near": ["a"],
        "text": "none",
        "choice": "x",
        "nothing": "none",
    }
    read = given_to({"name": "typed", **written})
    none = {"text": None, "nothing": None}
    assert read == written | {"rows": [(1, "a"), (2, "b")], "names": frozenset({"x"})} | none | {
        name: read[name] for name in ("kind", "call", "calls")
    }
    assert given_to({"name": "typed", "first": 1, "text": "nobody"})["text"] == "nobody"
    assert given_to({"name": "typed", "first": 1, "weights": "none"})["weights"] is None


@pytest.mark.usefixtures("factories")
@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"rows": [[1, "a"], [1]]}, "rows[1]: expected a list of 2, not a list of 1"),
        ({"rows": [["a", "a"]]}, 'rows[0][0]: expected an integer, not "a"'),
        ({"names": [1]}, "names[0]: expected a text, not 1"),
        ({"table": {"a b": 1}}, 'table."a b": expected true or false, not 1'),
        ({"seconds": True}, "seconds: expected a number, not true"),
        ({"level": 0.5}, "level: expected an integer, not 0.5"),
        ({"weights": 3}, 'weights: expected a table or "none", not 3'),
        ({"either": []}, "either: expected an integer or a text, not a list of 0"),
        ({"near": ["a", "b", 3]}, "near[2]: expected a text, not 3"),
        ({"choice": True}, 'choice: expected 1 or "x", not true'),
        ({"call": "int"}, 'call: expected a Python function, which no file can hold, not "int"'),
        ({"calls": 1}, "calls: expected a Python function, which no file can hold, not 1"),
        ({"nothing": 1}, 'nothing: expected "none", not 1'),
    ],
)
def test_parameters_of_the_wrong_type_are_refused_before_anything_is_made(wrong: dict[str, Any], told: str) -> None:
    assert problems_of({"locator": {"name": "typed", "first": 1, **wrong}}) == [f"locator.{told}"]


@pytest.mark.usefixtures("factories")
def test_what_cannot_be_judged_is_left_to_the_constructor() -> None:
    """Annotations that only type checkers understand, and classes whose signature Python does not know."""
    assert given_to({"name": "unresolved", "first": [1], "second": "x"}) == {"first": [1], "second": "x"}
    untyped: Any = load_settings({"locator": {"name": "untyped", "depth": "x"}}).locator
    assert untyped.depth == "x"
    assert given_to({"name": "opaque", "whatever": 1}) == {"whatever": 1}
    assert problems_of({"locator": "unresolved"}) == ['locator: the key "first" is missing: expected a value']
    assert problems_of({"locator": {"name": "bare", "x": 1}}) == ["locator.x: unknown key; bare takes no parameters"]


@pytest.mark.usefixtures("factories")
@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("key", "locator: KeyError: 'x'"),
        ("empty", "locator: ValueError"),
        ("value", "locator.kind: is not good"),
    ],
)
def test_what_a_constructor_raises_is_told_at_its_table(kind: str, told: str) -> None:
    """At the key, where its message begins with one; in one line, whatever it is."""
    assert problems_of({"locator": {"name": "failing", "kind": kind}}) == [told]


@pytest.mark.usefixtures("factories")
def test_rules_that_need_the_whole_record_are_left_to_its_constructor() -> None:
    """A check that looks at other fields, and a converter that wants the record, are run once all is there."""
    assert problems_of({"locator": {"name": "checked", "size": 9}}) == ["locator.size: must fit in room"]
    assert problems_of({"locator": {"name": "checked", "size": 9, "room": 8}}) == ["locator.size: must fit in room"]
    made: Any = load_settings({"locator": {"name": "checked", "double": 3, "half": 9, "own": 4}}).locator
    assert (made.double, made.half, made.private) == (6, 4, 4)


def test_a_name_that_is_missing_everywhere_says_that_there_is_none(install: Install) -> None:
    """The list of known names is what is installed."""
    install("more-pools", {"flowgate.locators": {"mine": "more_pools:Pool"}}, LOCATOR)
    with pytest.raises(ConfigError) as caught:
        load_settings({"locator": "min"})
    assert caught.value.problems == (
        Problem(
            "locator", 'there is no locator "min"; did you mean "mine"? Known: cached, mine, polling, static, subset'
        ),
    )
