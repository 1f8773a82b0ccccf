"""``python -m benchmarks [--quick] [--only NAME ...]``: measure everything in one run, and report it as ratios.

Targets are goals that the report shows, and nothing here fails when one is missed: trust ratios, not seconds.
"""

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

from benchmarks import plots
from benchmarks.compare import compare
from benchmarks.machine import Machine
from benchmarks.markdown import markdown
from benchmarks.report import report
from benchmarks.results import Results, ResultsError, SuiteResult, read, write
from benchmarks.sizes import FULL, QUICK, Sizes
from benchmarks.suites import SUITES, figures_of

__all__ = ["main", "run"]


def run(names: Sequence[str], sizes: Sizes) -> Iterator[SuiteResult]:
    """Run suites, and say on standard error how long each took."""
    for name in names:
        print(f"{name} …", end=" ", file=sys.stderr, flush=True)
        began = time.perf_counter()
        figures = figures_of(name, sizes)
        seconds = time.perf_counter() - began
        print(f"{seconds:.1f} s", file=sys.stderr)
        yield SuiteResult(name, seconds, tuple(figures))


def main(arguments: Sequence[str] | None = None, sizes: Sizes | None = None) -> None:
    """Print the report, and write what is asked for; other sizes than those of a full run are for tests."""
    parser = _parser()
    options = parser.parse_args(arguments)
    # All that can be wrong is found before minutes are spent.
    if options.plots is not None and find_spec("matplotlib") is None:
        parser.exit(2, "--plots needs matplotlib: pip install 'flowgate-admission[plot]'\n")
    folders = [options.plots, *(file.parent for file in (options.json, options.report) if file is not None)]
    for folder in folders:
        if folder is not None and not folder.is_dir():
            parser.exit(2, f"{folder} is not a folder.\n")
    try:
        old = None if options.compare is None else read(options.compare)
    except ResultsError as error:
        parser.exit(2, f"{error}\n")
    chosen = [name for name in SUITES if name in (options.only or SUITES)]
    sizes = sizes or (QUICK if options.quick else FULL)
    results = Results(Machine.here(), "full" if sizes == FULL else "quick", tuple(run(chosen, sizes)))
    print(report(results))
    if old is not None:
        print(f"\n{compare(old, results)}")
    _write(results, options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure what flowgate costs, as ratios.")
    parser.add_argument("--quick", action="store_true", help="fewer and smaller rounds")
    parser.add_argument("--only", nargs="+", choices=SUITES, metavar="NAME", help=f"run these of {', '.join(SUITES)}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    parser.add_argument("--compare", type=Path, metavar="OLD.json", help="show them beside those of an earlier run")
    parser.add_argument("--plots", type=Path, metavar="FOLDER", help="draw some of them there, as PNG files")
    parser.add_argument("--report", type=Path, metavar="FILE.md", help="write the tables there, as Markdown")
    return parser


def _write(results: Results, options: argparse.Namespace) -> None:
    if options.json is not None:
        write(results, options.json)
    if options.report is not None:
        options.report.write_text(markdown(results), encoding="utf-8")
    if options.plots is not None:
        for file in plots.draw(results, options.plots):
            print(f"drew {file}", file=sys.stderr)


if __name__ == "__main__":
    main()
