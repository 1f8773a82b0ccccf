"""The benchmark program runs, and its report has its shape. Nothing here says how fast anything is."""

import asyncio
import gc
import io
import json
import math
import re
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import attrs
import pytest

from benchmarks import __main__ as program
from benchmarks.__main__ import main
from benchmarks.compare import compare
from benchmarks.machine import Machine
from benchmarks.markdown import markdown
from benchmarks.plots import draw
from benchmarks.report import report
from benchmarks.results import Results, ResultsError, SuiteResult, read, write
from benchmarks.rounds import Case, Figure, Seconds, Spread, Stopwatch, measure
from benchmarks.sizes import TINY
from benchmarks.suites import SUITES
from benchmarks.targets import TARGETS, verdicts
from benchmarks.upstream import PRINTED, SOURCE, beside

_MACHINE = Machine(2, "a processor", "CPython 3.11", "a system", "2026-01-31")
_CAN_DRAW = find_spec("matplotlib") is not None


@attrs.frozen
class Run:
    printed: str
    progress: str
    results: Results
    folder: Path


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    folder = tmp_path_factory.mktemp("benchmarks")
    gc.collect()
    gc.freeze()  # each round sweeps up before it begins, and a test run has much to look at
    with redirect_stdout(io.StringIO()) as printed, redirect_stderr(io.StringIO()) as progress:
        pictures = ["--plots", str(folder)] if _CAN_DRAW else []
        main(["--json", str(folder / "figures.json"), "--report", str(folder / "figures.md"), *pictures], TINY)
    yield Run(printed.getvalue(), progress.getvalue(), read(folder / "figures.json"), folder)
    gc.unfreeze()


def figure(name: str, median: float, *, low: float | None = None, high: float | None = None, **more: Any) -> Figure:
    ratio = Spread(median, median if low is None else low, median if high is None else high)
    return Figure(name, "µs", Spread.of([10 * median]), "bare futures", ratio, **more)


def results(*figures: Figure, suite: str = "fast", sizes: str = "full") -> Results:
    return Results(_MACHINE, sizes, (SuiteResult(suite, 1.5, figures),))


def exit_of(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[object, str]:
    with pytest.raises(SystemExit) as ended:
        main(arguments, TINY)
    return ended.value.code, capsys.readouterr().err


# -- a run


def test_every_suite_runs_and_says_how_long_it_took(run: Run) -> None:
    """On standard error, so that the report can be piped."""
    assert [suite.name for suite in run.results.suites] == list(SUITES)
    assert re.findall(r"^(\w+) … \d+\.\d s$", run.progress, re.MULTILINE) == list(SUITES)


def test_every_target_is_decided_by_a_figure_and_every_target_of_a_figure_is_told(run: Run) -> None:
    """The same bounds stand in the list of targets and at the figures; none is forgotten in either."""
    rows = verdicts(run.results)
    for row in rows:
        # The Go engine printed no cell that is as small as those measured here.
        assert row.figures or row.target.suite == "matrix"
        assert {each.target for each in row.figures} <= {row.target.most}
    decided = [each for row in rows for each in row.figures]
    aimed = [each for suite in run.results.suites for each in suite.figures if each.target is not None]
    assert sorted(map(repr, decided)) == sorted(map(repr, aimed))


def test_every_ratio_is_finite_and_to_a_figure_of_the_same_run(run: Run) -> None:
    """A ratio names what it is to, and its median lies between the least and the most of its rounds."""
    figures = [each for suite in run.results.suites for each in suite.figures]
    names = {each.name for each in figures}
    assert any(each.ratio for each in figures)
    for each in figures:
        if each.ratio is not None:
            assert each.versus in names or (each.versus or "").startswith(SOURCE)
            assert 0 <= each.ratio.low <= each.ratio.median <= each.ratio.high < math.inf


def test_wall_time_stands_beside_cpu_time(run: Run) -> None:
    """Of all that is measured by a stopwatch."""
    for name in ("fast", "queued", "drain", "choice", "churn", "pods", "trio"):
        assert all(each.wall is not None and each.wall.median > 0 for each in run.results.figures_of(name))


def test_the_machine_comes_first_then_the_targets_then_every_figure(run: Run) -> None:
    """Whoever reads only the beginning has read what matters."""
    machine, scope, targets, *suites = run.printed.rstrip().split("\n\n")
    assert machine == str(run.results.machine)
    assert re.match(r"\d+ cores of .+, CPython 3\.\d+\.\d+, .+, \d{4}-\d\d-\d\d$", machine)
    assert "Sizes are smaller" in scope
    assert len(targets.splitlines()) == 1 + len(TARGETS)
    assert [suite.split()[0] for suite in suites] == list(SUITES)
    for suite, result in zip(suites, run.results.suites, strict=True):
        assert len(suite.splitlines()) == 2 + len(result.figures)


def test_tables_are_aligned(run: Run) -> None:
    """Each column begins where its heading does."""
    queued = next(part for part in run.printed.split("\n\n") if part.startswith("queued"))
    _, headings, *lines = queued.splitlines()
    start = headings.index("  to  ")
    assert all(line[start : start + 2] == "  " for line in lines if len(line) > start)


def test_the_markdown_names_each_target_and_the_command_behind_it(run: Run) -> None:
    """And every figure below; all lines of one table have as many cells."""
    text = (run.folder / "figures.md").read_text("utf-8")
    targets, figures = text.split("<!-- figures -->")
    for target in TARGETS:
        assert f"| {target.what} | {target.bound} |" in targets
        assert f"`{target.command}`" in targets
    rows = sum(len(suite.figures) + 2 for suite in run.results.suites)
    assert len(re.findall(r"^\|(?: [^|]* \|){8}$", figures, re.MULTILINE)) == rows


def test_only_some_suites_can_be_run(capsys: pytest.CaptureFixture[str]) -> None:
    """In the program's order; targets of others are told as not measured."""
    main(["--only", "idle", "fast"], TINY)
    printed = capsys.readouterr()
    assert re.findall(r"^(\w+) …", printed.err, re.MULTILINE) == ["fast", "idle"]
    assert "not measured" in printed.out


@pytest.mark.skipif(not _CAN_DRAW, reason="needs matplotlib")
def test_pictures_are_drawn_of_the_suites_that_ran(run: Run) -> None:
    """One for each that has one; their figures are found by name, whatever the sizes."""
    names = [f"performance-{suite}.png" for suite in ("queued", "drain", "matrix", "memory")]
    assert sorted(file.name for file in run.folder.glob("*.png")) == sorted(names)
    assert all((run.folder / name).read_bytes().startswith(b"\x89PNG") for name in names)
    assert re.findall(r"^drew .*/(.*)$", run.progress, re.MULTILINE) == names
    assert draw(results(figure("fast path", 2.0)), run.folder) == []


# -- what cannot be done


def test_without_matplotlib_one_sentence_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before anything is measured."""
    monkeypatch.setattr(program, "find_spec", lambda _: None)
    code, error = exit_of(capsys, "--plots", str(tmp_path))
    assert (code, error) == (2, "--plots needs matplotlib: pip install 'flowgate-admission[plot]'\n")


@pytest.mark.parametrize("option", ["--json", "--report", "--plots"])
def test_a_folder_that_is_not_there_is_found_before_minutes_are_spent(
    option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With one sentence."""
    monkeypatch.setattr(program, "find_spec", lambda name: name)
    missing = tmp_path / "missing"
    code, error = exit_of(capsys, option, str(missing if option == "--plots" else missing / "file"))
    assert (code, error) == (2, f"{missing} is not a folder.\n")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (None, "cannot be read: No such file or directory."),
        ("{", "is not JSON."),
        ("[]", "was not written by `python -m benchmarks --json`."),
        ('{"machine": "another", "figures": []}', "was not written by `python -m benchmarks --json`."),
        ('{"schema": "flowgate benchmarks", "version": 0}', "has version 0 of the schema, and this is 1."),
        ('{"schema": "flowgate benchmarks", "version": 1}', "lacks something, or has too much: 'suites'."),
    ],
)
def test_what_is_no_earlier_run_is_told_in_one_sentence(
    text: str | None, why: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before anything is measured."""
    file = tmp_path / "old.json"
    if text is not None:
        file.write_text(text, encoding="utf-8")
    assert exit_of(capsys, "--compare", str(file)) == (2, f"{file} {why}\n")


def test_bytes_that_are_no_text_are_no_earlier_run(tmp_path: Path) -> None:
    """Such as those of a picture."""
    file = tmp_path / "old.json"
    file.write_bytes(b"\x89PNG")
    with pytest.raises(ResultsError, match=r"is not JSON\.$"):
        read(file)


def test_an_unknown_suite_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """The message names those that there are."""
    code, error = exit_of(capsys, "--only", "faster")
    assert code == 2
    assert all(name in error for name in SUITES)


# -- files and comparisons


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    """Nothing is lost, and the file names its schema."""
    file = tmp_path / "figures.json"
    written = results(figure("a", 2.0, wall=Spread.of([3.0]), target=1.5), Figure("b", "not installed", Spread.of([0])))
    write(written, file)
    assert read(file) == written
    plain = json.loads(file.read_text("utf-8"))
    assert (plain["schema"], plain["version"]) == ("flowgate benchmarks", 1)


def test_two_runs_are_compared_by_their_ratios(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A change whose spreads do not overlap has a mark; one whose spreads do has none."""
    old = results(figure("same", 2.0, low=1.0, high=3.0), figure("faster", 4.0, low=3.5, high=4.5), figure("gone", 1.0))
    new = results(figure("same", 2.5, low=1.0, high=3.0), figure("faster", 1.0, low=0.5, high=1.5), figure("come", 1.0))
    lines = {line.split()[1]: line.split() for line in compare(old, new).splitlines() if line.startswith("fast:")}
    assert lines["same"][2:] == ["20.00", "µs", "25.00", "µs", "2.00", "x", "2.50", "x", "1.25", "bare", "futures"]
    assert lines["faster"][-4:] == ["0.250", "*", "bare", "futures"]
    assert "Figures that are not in the old run: 1." in compare(old, new)
    assert "Figures that are not in the new run: 1." in compare(old, new)


def test_the_amount_is_compared_where_it_is_the_same_on_every_machine() -> None:
    """Of bytes and callbacks; floors that are times have no change, and nothing is no multiple of nothing."""
    floor = Figure("floor", "µs", Spread.of([5.0]))
    idle = Figure("idle", "/s", Spread.of([0.0]), target=0.0)
    old = results(floor, idle, Figure("memory", "B", Spread.of([1_000.0])))
    new = results(floor, idle, Figure("memory", "B", Spread.of([500.0])))
    lines = {line.split()[1]: line.split() for line in compare(old, new).splitlines() if line.startswith("fast:")}
    assert lines["memory"][2:] == ["1,000", "B", "500", "B", "0.500", "*"]
    assert lines["floor"][2:] == ["5.00", "µs", "5.00", "µs"]
    assert lines["idle"][2:] == ["0", "/s", "0", "/s"]


def test_a_run_is_compared_with_an_earlier_one(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """Below its own report."""
    main(["--only", "idle", "--compare", str(run.folder / "figures.json")], TINY)
    printed = capsys.readouterr().out
    assert printed.index("idle (") < printed.index("Compared with") < printed.index("not in the new run")


# -- figures and targets


def test_rounds_alternate_and_the_first_does_not_count() -> None:
    """Ratios are between neighbours in time."""
    ran: list[str] = []
    seconds = iter([9.0, 9.0, 1.0, 2.0, 2.0, 8.0, 4.0, 12.0])

    async def sample(name: str) -> float:
        ran.append(name)
        return next(seconds)

    cases = [Case("floor", lambda: sample("floor")), Case("work", lambda: sample("work"), {"floor": 3.5})]
    floor, work = measure(cases, 3)
    assert ran == ["floor", "work"] * 4
    assert floor == Figure("floor", "µs", Spread(2e6, 1e6, 4e6))
    assert work == Figure("work", "µs", Spread(8e6, 2e6, 12e6), "floor", Spread(3.0, 2.0, 4.0), 3.5)


def test_a_sample_that_knows_its_wall_time_has_it_reported() -> None:
    """Divided among as many operations as its CPU time."""

    async def sample() -> float:
        return (Seconds(5.0, 9.0) - 1.0) / 2

    (only,) = measure([Case("work", sample)], 1)
    assert only == Figure("work", "µs", Spread.of([2e6]), wall=Spread.of([4e6]))


def test_a_stopwatch_takes_both_times() -> None:
    """A block that sleeps takes more of one than of the other."""

    async def sleep() -> Seconds:
        with Stopwatch() as watch:
            await asyncio.sleep(0.02)
        return watch.seconds

    seconds = asyncio.run(sleep())
    assert 0 <= seconds < seconds.wall


@pytest.mark.parametrize(
    ("unit", "spent", "ratio", "target", "is_met"),
    [
        ("µs", 100.0, 3.0, 3.0, True),
        ("µs", 1.0, 3.1, 3.0, False),
        ("B", 2_048.0, 9.0, 2_048.0, True),
        ("B", 2_049.0, 0.5, 2_048.0, False),
        ("/s", 1.0, None, 0.0, False),
        ("µs", 1.0, 3.0, None, None),
    ],
)
def test_a_target_bounds_the_ratio_but_bytes_and_callbacks_themselves(
    unit: str, spent: float, ratio: float | None, target: float | None, is_met: bool | None
) -> None:
    """What is on the bound is met."""
    spread = None if ratio is None else Spread.of([ratio])
    assert Figure("work", unit, Spread.of([spent]), "floor", spread, target).is_met is is_met


def test_the_worst_of_several_figures_decides() -> None:
    """It is named, and one that misses is a miss."""
    name = "{}, 100,000 flows"
    told = results(
        figure(name.format("round-robin"), 2.0, target=3.0),
        figure(name.format("best-head"), 4.0, low=3.0, high=5.0, target=3.0),
        figure("best-head, 10 flows", 9.0),
        suite="choice",
    )
    for text in (report(told), markdown(told)):
        (line,) = [line for line in text.splitlines() if "a fairness choice" in line]
        assert "4.00 x (3.00 … 5.00), best-head, 100,000 flows: highest of 2" in line
        assert "missed" in line


def test_quick_runs_say_that_their_sizes_are_smaller() -> None:
    """And full ones do not."""
    for text in (report, markdown):
        assert "smaller than those that the targets name" in text(results(sizes="quick"))
        assert "smaller" not in text(results())


def test_cells_of_the_matrix_stand_beside_the_better_of_what_go_printed() -> None:
    """By the clock; of cells that hold their slots, and that both have."""
    cell = next(iter(PRINTED))
    wall = Spread(4.0, 3.0, 8.0)
    figures = [
        figure(f"{cell}, held", 2.0, wall=wall),
        figure(f"{cell}, at once", 2.0, wall=wall),
        figure("L=9 P=9 F=9 W=9, held", 2.0, wall=wall),
    ]
    (compared,) = beside(figures)
    assert (compared.name, compared.spent, compared.target) == (f"{cell}, held", wall, 1.0)
    assert compared.versus == f"{SOURCE}: 8,269 ns"
    assert compared.ratio is not None
    assert compared.ratio.median == pytest.approx(4_000 / 8_269)


def test_a_machine_without_proc_is_described_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """By what Python knows of its processor."""
    monkeypatch.setattr("benchmarks.machine.Path.read_text", lambda *_: "")
    monkeypatch.setattr("benchmarks.machine.platform.processor", lambda: "")
    monkeypatch.setattr("benchmarks.machine.platform.machine", lambda: "riscv64")
    assert Machine.here().cpu == "riscv64"
