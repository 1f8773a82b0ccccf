"""The benchmarks run, and their report has its shape. Nothing here says how fast anything is."""

import io
import json
import math
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.__main__ import main
from benchmarks.sizes import TINY

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, Any]]:
    file: Path = tmp_path_factory.mktemp("benchmarks") / "figures.json"
    with redirect_stdout(io.StringIO()) as printed:
        main(["--json", str(file)], TINY)
    return printed.getvalue(), json.loads(file.read_text(encoding="utf-8"))


def test_each_part_of_the_budget_is_measured(report: tuple[str, dict[str, Any]]) -> None:
    """Each suite puts figures into the report, and what has a target says whether it is met."""
    printed, told = report
    assert {figure["unit"] for figure in told["figures"]} >= {"µs", "µs wall", "B"}
    with_target = [figure for figure in told["figures"] if figure["target"] is not None]
    assert len(with_target) > 10
    assert printed.count(", met") + printed.count(", missed") == len(with_target)


def test_suites_can_be_run_alone(capsys: pytest.CaptureFixture[str]) -> None:
    """Those named are run, and no other; one that is not there is a mistake that names those that are."""
    main(["--only", "fast"], TINY)
    printed = capsys.readouterr()
    assert "fast path" in printed.out
    assert "queued" not in printed.out
    assert printed.err.startswith("fast: ")
    with pytest.raises(SystemExit, match="2"):
        main(["--only", "slow"], TINY)
    assert "invalid choice: 'slow' (choose from" in capsys.readouterr().err


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
