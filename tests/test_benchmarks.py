"""The benchmarks run, and their report has its shape. Nothing here says how fast anything is."""

import io
import json
import math
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.__main__ import main
from benchmarks.suites import Sizes

if TYPE_CHECKING:
    from pathlib import Path

_TINY = Sizes(rounds=1, calls=200, callers=20, each=2, parked=50, active=(2, 5), choices=20)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, Any]]:
    file: Path = tmp_path_factory.mktemp("benchmarks") / "figures.json"
    with redirect_stdout(io.StringIO()) as printed:
        main(["--json", str(file)], _TINY)
    return printed.getvalue(), json.loads(file.read_text(encoding="utf-8"))


def test_each_part_of_the_budget_is_measured(report: tuple[str, dict[str, Any]]) -> None:
    """Every target of the performance budget stands in the report, beside the figure that it is for."""
    figures = report[1]["figures"]
    assert {figure["name"]: figure["target"] for figure in figures if figure["target"] is not None} == {
        "fast path": 40.0,
        "queued, 20 callers": 4.0,
        "queued, 100 callers, as many flows, 8 bands": 4.0,
        "drain over 50 flows": 2.0,
        "memory over 10 flows": 2_048.0,
        "round-robin, 5 flows": 3.0,
        "best-head, 5 flows": 3.0,
        "deficit-round-robin, 5 flows": 3.0,
        "start-time-fair-queuing, 5 flows": 3.0,
        "virtual-token-counter, 5 flows": 3.0,
        "least-attained-service, 5 flows": 3.0,
    }


def test_every_ratio_is_finite_and_to_a_figure_of_the_same_run(report: tuple[str, dict[str, Any]]) -> None:
    """A ratio names what it is to, and its median lies between the least and the most of its rounds."""
    figures = report[1]["figures"]
    names = {figure["name"] for figure in figures}
    ratios = [figure for figure in figures if figure["ratio"] is not None]
    assert ratios
    for figure in ratios:
        assert figure["versus"] in names
        assert 0 <= figure["ratio"]["low"] <= figure["ratio"]["median"] <= figure["ratio"]["high"] < math.inf


def test_the_table_is_aligned_below_a_line_about_the_machine(report: tuple[str, dict[str, Any]]) -> None:
    """People read the machine first, then one line for each figure, each column where its heading is."""
    printed, figures = report
    machine, _, _, headings, *lines = printed.splitlines()
    assert machine == figures["machine"]
    assert "Python" in machine
    assert len(lines) == len(figures["figures"])
    start = headings.index("  to  ")
    assert all(line[start : start + 2] in ("", "  ") for line in lines)
