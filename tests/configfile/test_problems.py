"""Every mistake is told: its path in the file, the value, and what was expected; and all of them at once."""

import pickle
from datetime import date
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import attrs
import pytest
import yaml

from flowgate import FlowControlConfig
from flowgate.configfile import ConfigError, Problem, load_settings


def problems_of(source: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_settings(source)
    return [str(problem) for problem in caught.value.problems]


SECTION_KEYS = ", ".join(
    sorted([*(field.name for field in attrs.fields(FlowControlConfig)), "detector", "locator", "usage_limit"])
)
AS_TEXT = "write it without quotes"
SECONDS = "times are plain numbers of seconds"
BYTES = "sizes are plain numbers of bytes"
A_LIMIT = '"aimd" or "gradient2" (or a table with that name and its keys)'
# Other packages add theirs, the Endpoint Picker among them, where it is installed.
FAIRNESS = ", ".join(sorted(entry.name for entry in entry_points(group="flowgate.fairness_policies")))
DETECTORS = "adaptive, all-of, any-of, concurrency, slow-start, utilization"
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
     "bands[0].fairness.quantum: unknown key; round-robin takes no parameters"),
    # types
    ({"max_flows": "many"}, 'max_flows: expected an integer, not "many"'),
    ({"max_flows": True}, "max_flows: expected an integer, not true"),
    ({"max_flows": 1.0}, "max_flows: expected an integer, not 1.0"),
    ({"max_flows": date(2024, 1, 2)}, "max_flows: expected an integer, not 2024-01-02"),
    ({"max_flows": None}, "max_flows: expected an integer, not null"),
    ({"max_flows": {}}, "max_flows: expected an integer, not a table"),
    ({"max_flows": "5"}, f'max_flows: expected an integer, not "5"; {AS_TEXT}'),
    ({"default_ttl": "1e3"}, f'default_ttl: expected a number, not "1e3"; {AS_TEXT}'),
    ({"max_flows": "1e3"}, 'max_flows: expected an integer, not "1e3"'),
    ({"max_flows": "1_000"}, f'max_flows: expected an integer, not "1_000"; {AS_TEXT}'),
    ({"default_ttl": "-.5"}, f'default_ttl: expected a number, not "-.5"; {AS_TEXT}'),
    ({"default_ttl": "inf"}, f'default_ttl: expected a number, not "inf"; {AS_TEXT}'),
    ({"default_ttl": "30s"}, f'default_ttl: expected a number, not "30s"; {SECONDS}'),
    ({"no_pods_ttl": "1.5 minutes"}, f'no_pods_ttl: expected a number or "none", not "1.5 minutes"; {SECONDS}'),
    ({"max_bytes": "2GB"}, f'max_bytes: expected an integer or "none", not "2GB"; {BYTES}'),
    ({"max_bytes": "512 KiB"}, f'max_bytes: expected an integer or "none", not "512 KiB"; {BYTES}'),
    ({"bands": "5"}, 'bands: expected a list, not "5"'),
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
     "bands[0].dispatch: policy 'edf' requires a queue that promises PRIORITY, and ListQueue does not"),
    ({"default_band": {"queue": "priority", "dispatch": {"name": "slo-deadline", "metadata_key": "x"}},
      "band_shares": {"shares": {"1": 0.5}}, "hol_scope": "pool"},
     "band_shares: must have hol_scope 'candidates', not 'pool': that dispatches the highest band alone"),
    ({"default_band": {"queue": "list", "dispatch": "edf"}},
     "default_band.dispatch: policy 'edf' requires a queue that promises PRIORITY, and ListQueue does not"),
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
    ({"detector": {}}, f'detector: the key "name" is missing; known: {DETECTORS}'),
    ({"detector": {"name": 3}}, "detector.name: expected a text, not 3"),
    ({"bands": [{"priority": 1, "dispatch": 3}]},
     "bands[0].dispatch: expected a dispatch policy (its name, or a table with its name and parameters), not 3"),
    ({"bands": [{"priority": 1, "dispatch": "eddf"}]},
     'bands[0].dispatch: there is no dispatch policy "eddf"; did you mean "edf"? Known: edf, fcfs, slo-deadline'),
    ({"bands": [{"priority": 1, "fairness": "edf"}]},
     f'bands[0].fairness: there is no fairness policy "edf" ("edf" is a dispatch policy); known: {FAIRNESS}'),
    ({"detector": "static"},
     f'detector: there is no saturation detector "static" ("static" is a locator or a usage limit); '
     f"known: {DETECTORS}"),
    ({"locator": {"name": "static", "pods": [{"name": "a", "address": "h", "port": 1}] * 2}},
     'locator.pods: must differ in (namespace, name, address, port), but pod "a" at h:1 is there twice'),
    ({"locator": {"name": "static", "pods": [{"name": "a", "address": "10.0.0.1:8000", "port": 1}]}},
     "locator.pods[0].address: must be an IP address or a host name, without scheme and port, not '10.0.0.1:8000'"),
    ({"detector": {"name": "adaptive", "min_limit": 5, "max_limit": 2}},
     "detector.max_limit: must be no less than min_limit=5, not 2"),
    ({"usage_limit": {"name": "nothing"}},
     'usage_limit.name: there is no usage limit "nothing"; known: priority-holdback, soft-reflective-ceiling, static'),
    ({"detector": "concurrency"}, 'detector: the key "max_concurrency" is missing: expected an integer'),
    ({"locator": "polling"}, "locator: it takes fetch, a Python function, which no file can hold: make it in code"),
    ({"bands": [{"priority": 1, "queue": {"name": "list", "size": 3}}]},
     "bands[0].queue.size: unknown key; a queue takes no parameters"),
    ({"detector": {"name": "adaptive", "limit": "gradent2"}},
     'detector.limit: there is no limit "gradent2"; did you mean "gradient2"? Known: aimd, gradient2'),
    ({"detector": {"name": "adaptive", "limit": {"name": "aimd", "backoff": 2}}},
     "detector.limit.backoff: must be more than 0 and less than 1, not 2"),
    ({"detector": {"name": "adaptive", "limit": {"backoff": 0.5}}},
     'detector.limit: the key "name" is missing; known: aimd, gradient2'),
    ({"detector": {"name": "adaptive", "limit": 3}},
     f'detector.limit: expected {A_LIMIT} or "none", not 3'),
]  # fmt: skip


@pytest.mark.parametrize(("table", "told"), MISTAKES, ids=[told.split(";")[0] for _, told in MISTAKES])
def test_a_mistake_is_told_with_its_path_its_value_and_what_was_expected(table: dict[Any, Any], told: str) -> None:
    assert problems_of(table) == [told]


@pytest.mark.parametrize(
    ("written", "hint"),
    [
        ("inf", "; YAML writes it .inf"),
        ("-inf", "; YAML writes it -.inf"),
        ("nan", "; YAML writes it .nan"),
        ("1e3", "; YAML writes it 1.0e+3"),
        ("1.5e3", "; YAML writes it 1.5e+3"),
        ("2E-3", "; YAML writes it 2.0e-3"),
        ("'1.0e+3'", "; write it without quotes"),
        ("'60'", "; write it without quotes"),
        ("soon", ""),
    ],
)
def test_numbers_that_yaml_takes_for_text_are_told_as_yaml_writes_them(tmp_path: Path, written: str, hint: str) -> None:
    """What the hint says is then read as a number; a file that is no YAML gets no such advice."""
    path = tmp_path / "a.yaml"
    path.write_text(f"default_ttl: {written}\n", "utf-8")
    text = written.strip("'")
    assert problems_of(path) == [f'default_ttl: expected a number, not "{text}"{hint}']
    if "YAML" in hint:
        assert type(yaml.safe_load(hint.rpartition(" ")[2])) is float
        path = tmp_path / "a.toml"
        path.write_text(f'default_ttl = "{text}"\n', "utf-8")
        assert problems_of(path) == [f'default_ttl: expected a number, not "{text}"; write it without quotes']


def test_hints_reach_into_choices_of_plug_ins(tmp_path: Path) -> None:
    """A value that is tried as several shapes is still one of a YAML file."""
    path = tmp_path / "a.yml"
    path.write_text("locator: {name: cached, ttl: 1e3, locator: static}\n", "utf-8")
    assert problems_of(path) == ['locator.ttl: expected a number, not "1e3"; YAML writes it 1.0e+3']


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
