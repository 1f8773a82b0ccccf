"""What a request costs, counted: more than is stored is a regression. Nothing here says how fast anything is."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.counting import Work, blocks, calls, instructions
from benchmarks.counts import STORED, Counts, complaints, main

_COMMAND = "python -m benchmarks.counts --write"
_VERSION = "{}.{}".format(*sys.version_info)


def run(script: str) -> subprocess.CompletedProcess[str]:
    # A process of its own: coverage and debuggers use the same hooks, and other tests leave caches behind.
    root = Path(__file__).parents[1]
    command = [sys.executable, *script.split(maxsplit=1)]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=120, check=False)  # noqa: S603 - our own


def test_a_request_costs_what_it_did() -> None:
    """On each path, in calls and instructions; the output names what costs more, and how to accept it."""
    gate = run("-m benchmarks.counts")
    assert gate.returncode == 0, gate.stdout + gate.stderr


def test_stored_numbers_are_of_the_paths_that_are_counted() -> None:
    """By version of Python, each number above nothing."""
    stored = json.loads(STORED.read_text("utf-8"))
    assert "3.11" in stored
    for paths in stored.values():
        assert {"fast path", "queued path", "arrival and drain", "waiting"} <= paths.keys()
        assert all(number > 0 for numbers in paths.values() for number in numbers.values())


@pytest.mark.parametrize(
    ("new", "complaint"),
    [
        (100.0, None),
        (103.0, None),
        (97.0, None),
        (
            103.2,
            "queued path: 103.2 C calls for each request, where 100.0 are stored (+3.2%, and 3% are allowed)."
            f" Find what costs more, or accept it: {_COMMAND}",
        ),
        (
            80.0,
            "queued path: 80.0 C calls for each request, where 100.0 are stored (-20.0%, and 3% are allowed)."
            f" The stored number is stale, and would hide a regression. Store the new one: {_COMMAND}",
        ),
    ],
)
def test_a_number_that_left_its_allowance_is_told_in_a_sentence(new: float, complaint: str | None) -> None:
    """In either direction: the path, both numbers, and the command that stores the new one."""
    found = complaints({"queued path": {"C calls": new}}, {"queued path": {"C calls": 100.0}})
    assert found == ([] if complaint is None else [complaint])


@pytest.mark.parametrize(
    ("counted", "stored"),
    [({"a": {"calls": 1.0}}, {}), ({}, {"a": {"calls": 1.0}}), ({"a": {"calls": 1.0}}, {"a": {"others": 1.0}})],
)
def test_paths_that_came_or_went_are_told(counted: Counts, stored: Counts) -> None:
    """The same command stores them."""
    assert complaints(counted, stored) == [f"a: what is stored is not what is counted. Store what is: {_COMMAND}"]


def test_what_is_stored_is_what_the_next_run_is_held_to(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Numbers of other versions of Python stay as they are."""
    file = tmp_path / "counts.json"
    file.write_text('{"2.7": {}}', encoding="utf-8")
    counted = {"fast path": {"calls": 10.0}}
    assert main([], counted, file) == 0
    assert f"Nothing is stored for Python {_VERSION}." in capsys.readouterr().out
    assert main(["--write"], counted, file) == 0
    assert json.loads(file.read_text("utf-8")) == {"2.7": {}, _VERSION: counted}
    assert main([], counted, file) == 0
    assert main([], {"fast path": {"calls": 11.0}}, file) == 1
    assert "fast path: 11.0 calls for each request, where 10.0 are stored" in capsys.readouterr().out


def test_only_what_more_work_adds_is_counted() -> None:
    """The same each time: two Python calls for each operation, one of a function in C, and some instructions."""
    script = """-c
from functools import partial
from benchmarks.counting import Work, calls, instructions

def inner(): return len(())
def outer(): return inner()
async def work(times):
    for _ in range(times): outer()

added = Work(partial(work, 10), partial(work, 30), 20)
assert calls(added) == (2.0, 1.0), calls(added)
assert instructions(added) == instructions(added) > 5
"""
    checked = run(script)
    assert checked.returncode == 0, checked.stderr


def test_blocks_that_are_kept_are_counted() -> None:
    """Those that are freed again are not."""
    kept: list[object] = [None] * 1_000

    async def keep() -> None:
        for place in range(1_000):
            object()
            kept[place] = object()

    assert 990 < asyncio.run(blocks(keep)) < 1_010


def test_hooks_are_given_back() -> None:
    """Coverage and debuggers go on."""

    async def nothing() -> None:
        pass

    tracing, profiling = sys.gettrace(), sys.getprofile()
    calls(Work(nothing, nothing, 1))
    instructions(Work(nothing, nothing, 1))
    assert (sys.gettrace(), sys.getprofile()) == (tracing, profiling)


def test_instructions_are_shown_by_module(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--modules"]) == 0
    fast, _, queued = capsys.readouterr().out.partition("queued path: ")
    assert fast.startswith("fast path: ")
    assert "flowgate.arrivals" in fast
    assert "flowgate.dispatch" not in fast
    assert "flowgate.dispatch" in queued
    assert "asyncio.base_events" in queued
