"""``python -m benchmarks [--quick] [--only SUITE ...] [--json FILE]``: what flowgate costs, as ratios within one run.

Targets are goals that the report shows, and nothing here fails when one is missed: trust ratios, not seconds.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from benchmarks.report import as_dict, machine, table
from benchmarks.rounds import Figure
from benchmarks.sizes import FULL, QUICK, Sizes
from benchmarks.suites import SUITES, figures_of

__all__ = ["main", "run"]


def run(sizes: Sizes, names: Iterable[str] = tuple(SUITES)) -> list[Figure]:
    """Run suites, and tell on standard error which, and how long each took."""
    figures: list[Figure] = []
    for name in names:
        print(name, end="", file=sys.stderr, flush=True)
        began = time.monotonic()
        figures += figures_of(name, sizes)
        print(f": {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    return figures


def main(arguments: Sequence[str] | None = None, sizes: Sizes | None = None) -> None:
    """Print the report; other sizes than those of a full run are for tests."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure what flowgate costs, as ratios.")
    parser.add_argument("--quick", action="store_true", help="fewer and smaller rounds")
    parser.add_argument(
        "--only", nargs="+", choices=SUITES, metavar="SUITE", help=f"these suites alone, of {', '.join(SUITES)}"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the same figures there")
    options = parser.parse_args(arguments)
    sizes = sizes or (QUICK if options.quick else FULL)
    figures = run(sizes, options.only or SUITES)
    print(machine())
    print(f"CPU time or memory for each request; medians of {sizes.few_rounds} to {sizes.rounds} alternating rounds\n")
    print(table(figures))
    if options.json is not None:
        options.json.write_text(json.dumps(as_dict(figures), indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
