"""Every mistake is told: its path in the file, the value, and what was expected; and all of them at once."""

import pickle
from datetime import date
from typing import Any

import attrs
import pytest

from flowgate import FlowControlConfig
from flowgate.configfile import ConfigError, Problem, load_settings


def problems_of(source: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_settings(source)
    return [str(problem) for problem in caught.value.problems]


SECTION_KEYS = ", ".join(
    sorted([*(field.name for field in attrs.fields(FlowControlConfig)), "detector", "locator", "usage_limit"])
)
AS_TEXT = "write it without quotes (and in YAML not 1e3, but 1.0e+3)"
A_LIMIT = '"aimd" or "gradient2" (or a table with that name and its keys)'
A_DETECTOR = "a saturation detector (its name, or a table with its name and parameters)"

MISTAKES: list[tuple[dict[Any, Any], str]] = [
    # keys
    ({"max_request": 1}, f'max_request: unknown key; did you mean "max_requests"? Known: {SECTION_KEYS}'),
    ({"max-bands": 1}, f'max-bands: unknown key; did you mean "max_bands"? Known: {SECTION_KEYS}'),
    ({"detektor": "x"}, f'detektor: unknown key; did you mean "detector"? Known: {SECTION_KEYS}'),
    ({7: 1}, f"7: unknown key; known: {SECTION_KEYS}"),
    ({"x y": 1}, f'"x y": unknown key; known: {SECTION_KEYS}'),
    ({"bands": [{"name": "x"}]}, 'bands[0]: the key "priority" is missing: expected an integer'),
    ({"bands": [{"priority": 1, "fairness": {"name": "round-robin", "quantum": 3}}]},
     "bands[0].fairness.quantum: unknown key; known: none"),
    # types
    ({"max_flows": "many"}, 'max_flows: expected an integer, not "many"'),
    ({"max_flows": True}, "max_flows: expected an integer, not true"),
    ({"max_flows": 1.0}, "max_flows: expected an integer, not 1.0"),
    ({"max_flows": date(2024, 1, 2)}, "max_flows: expected an integer, not 2024-01-02"),
    ({"max_flows": None}, "max_flows: expected an integer, not null"),
    ({"max_flows": {}}, "max_flows: expected an integer, not a table"),
    ({"max_flows": "5"}, f'max_flows: expected an integer, not "5"; {AS_TEXT}'),
    ({"default_ttl": "1e3"}, f'default_ttl: expected a number, not "1e3"; {AS_TEXT}'),
    ({"default_ttl": "none"}, 'default_ttl: expected a number, not "none"'),
    ({"no_pods_ttl": [1]}, 'no_pods_ttl: expected a number or "none", not a list of 1'),
    ({"max_bytes": "x" * 80}, f'max_bytes: expected an integer or "none", not "{"x" * 55}..."'),
    ({"bands": 3}, "bands: expected a list, not 3"),
    ({"bands": [3]}, "bands[0]: expected a table, not 3"),
    ({"default_band": False}, 'default_band: expected a table or "none", not false'),
    ({"bands": [{"priority": 1, "displace": "no"}]}, 'bands[0].displace: expected true or false, not "no"'),
    ({"bands": [{"priority": 1, "name": 3}]}, "bands[0].name: expected a text, not 3"),
    ({"hol_scope": "all"}, 'hol_scope: expected "candidates" or "pool", not "all"'),
    ({"hol_scope": 1}, 'hol_scope: expected "candidates" or "pool", not 1'),
    ({"band_shares": {"shares": []}}, "band_shares.shares: expected a table, not a list of 0"),
    ({"band_shares": {"shares": {"high": 0.1}}}, 'band_shares.shares.high: expected an integer as the key, not "high"'),
    ({"band_shares": {"shares": {"1": 0.1, 1: 0.2}}}, "band_shares.shares.1: the key 1 is there twice"),
    ({"band_shares": {"shares": {"1": "x"}}}, 'band_shares.shares.1: expected a number, not "x"'),
    # rules of the constructors, at their fields
    ({"max_flows": 0}, "max_flows: must be 1 or more, not 0"),
    ({"default_ttl": float("nan")}, "default_ttl: must be more than 0 seconds, not nan"),
    ({"bands": [{"priority": 1, "max_bytes": -3}]}, "bands[0].max_bytes: must be 0 or more, not -3"),
    ({"bands": [], "default_band": "none"}, "bands: is empty and default_band is None: every request would be invalid"),
    ({"bands": [{"priority": 1, "dispatch": "edf", "queue": "list"}]},
     "bands[0]: band 1: dispatch policy 'edf' requires a queue that promises PRIORITY, and ListQueue does not"),
    ({"bands": [{"priority": 2}, {"priority": 1}, {"priority": 2}]},
     "bands[2].priority: bands[0] has the priority 2, too"),
    ({"default_band": {"priority": 1}},
     "default_band.priority: the template serves every priority that bands does not list"),
    ({"detector": {"name": "concurrency", "max_concurrency": 0}}, "detector.max_concurrency: must be 1 or more, not 0"),
    ({"locator": {"name": "static", "pods": [{"name": "a", "address": "h", "port": 0}]}},
     "locator.pods[0].port: must lie in 1..65535, not 0"),
    ({"band_shares": {"shares": {"1": 0.9, "2": 0.9}}},
     "band_shares.shares: must add up to at most 1, not 1.8: {1: 0.9, 2: 0.9}"),
    # plug-ins
    ({"detector": 3}, f'detector: expected {A_DETECTOR} or "none", not 3'),
    ({"detector": {}}, f'detector: the key "name" is missing: expected {A_DETECTOR}'),
    ({"detector": {"name": 3}}, "detector.name: expected a text, not 3"),
    ({"bands": [{"priority": 1, "dispatch": 3}]},
     "bands[0].dispatch: expected a dispatch policy (its name, or a table with its name and parameters), not 3"),
    ({"bands": [{"priority": 1, "dispatch": "eddf"}]},
     'bands[0].dispatch: there is no dispatch policy "eddf"; did you mean "edf"? Known: edf, fcfs, slo-deadline'),
    ({"usage_limit": {"name": "nothing"}},
     'usage_limit.name: there is no usage limit "nothing"; known: priority-holdback, soft-reflective-ceiling, static'),
    ({"detector": "concurrency"}, 'detector: the key "max_concurrency" is missing: expected an integer'),
    ({"locator": "polling"}, "locator: it takes fetch, a Python function, which no file can hold: make it in code"),
    ({"bands": [{"priority": 1, "queue": {"name": "list", "size": 3}}]},
     "bands[0].queue.size: unknown key; a queue takes no parameters"),
    ({"detector": {"name": "adaptive", "limit": "gradent2"}},
     'detector.limit: there is no "gradent2"; did you mean "gradient2"? Known: aimd, gradient2'),
    ({"detector": {"name": "adaptive", "limit": {"name": "aimd", "backoff": 2}}},
     "detector.limit.backoff: must be more than 0 and less than 1, not 2"),
    ({"detector": {"name": "adaptive", "limit": {"backoff": 0.5}}},
     f'detector.limit: the key "name" is missing: expected {A_LIMIT}'),
    ({"detector": {"name": "adaptive", "limit": 3}},
     f'detector.limit: expected {A_LIMIT} or "none", not 3'),
]  # fmt: skip


@pytest.mark.parametrize(("table", "told"), MISTAKES, ids=[told.split(";")[0] for _, told in MISTAKES])
def test_a_mistake_is_told_with_its_path_its_value_and_what_was_expected(table: dict[Any, Any], told: str) -> None:
    assert problems_of(table) == [told]


def test_all_mistakes_are_told_together_in_the_order_of_the_file() -> None:
    """Wrong types, unknown keys, rules of constructors, plug-ins: none hides another, in one table or across them."""
    told = problems_of(
        {
            "hol_scope": "all",
            "bands": [
                {"priority": "high", "max_requests": -1, "max_bytes": -2, "fairness": "nobody"},
                {"priority": 3, "dispatch": {"name": "slo-deadline", "metadata_key": "", "unit": 0}},
                {"priority": 3},
            ],
            "locator": {
                "name": "subset",
                "empty_hint": "some",
                "locator": {"name": "static", "pods": [{"name": "", "address": "a", "port": 0}, {"name": "b"}]},
            },
            "max_bands": 0,
            "detector": "none",
        }
    )
    assert [line.split(":")[0] for line in told] == [
        "hol_scope",
        "bands[0].priority",
        "bands[0].fairness",
        "bands[0].max_requests",
        "bands[0].max_bytes",
        "bands[1].dispatch.metadata_key",
        "bands[1].dispatch.unit",
        "bands[2].priority",
        "locator.empty_hint",
        "locator.locator.pods[0].name",
        "locator.locator.pods[0].port",
        "locator.locator.pods[1]",
        "locator.locator.pods[1]",
        "max_bands",
    ]


def test_the_error_reads_as_a_sentence_or_as_a_list() -> None:
    """One problem stands in the first line; several stand in lines of their own."""
    one = ConfigError("a.toml", [Problem("", "the file cannot be read: No such file or directory")])
    assert str(one) == "a.toml: the file cannot be read: No such file or directory"
    two = ConfigError("a.toml", [Problem("a", "x"), Problem("b[0].c", "y")])
    assert str(two) == "a.toml has 2 problems:\n  a: x\n  b[0].c: y"
    assert isinstance(two, ValueError)


def test_the_error_survives_a_trip_to_another_process() -> None:
    error = pickle.loads(pickle.dumps(ConfigError("a.toml", [Problem("a", "x")])))  # noqa: S301 - our own
    assert (error.source, error.problems) == ("a.toml", (Problem("a", "x"),))
