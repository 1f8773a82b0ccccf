"""``python -m benchmarks [--quick] [--json FILE]``: measure everything in one run, and report it as ratios.

Targets are goals that the report shows, and nothing here fails when one is missed: trust ratios, not seconds.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from benchmarks.fairness import fairness
from benchmarks.memory import memory
from benchmarks.report import as_dict, machine, table
from benchmarks.rounds import Figure, measure
from benchmarks.suites import FULL, QUICK, Sizes, suites

__all__ = ["main", "run"]


def run(sizes: Sizes) -> list[Figure]:
    """Measure everything."""
    figures = [figure for suite in suites(sizes) for figure in measure(suite, sizes.rounds)]
    for suite in fairness(sizes.active, sizes.choices):
        figures += measure(suite, -(-sizes.rounds // 2))
    return figures + memory(sizes.parked)


def main(arguments: Sequence[str] | None = None, sizes: Sizes | None = None) -> None:
    """Print the report; other sizes than those of a full run are for tests."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure what flowgate costs, as ratios.")
    parser.add_argument("--quick", action="store_true", help="fewer and smaller rounds")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the same figures there")
    options = parser.parse_args(arguments)
    sizes = sizes or (QUICK if options.quick else FULL)
    figures = run(sizes)
    print(machine())
    print(f"CPU time or memory for each request; medians of {sizes.rounds} alternating rounds\n")
    print(table(figures))
    if options.json is not None:
        options.json.write_text(json.dumps(as_dict(figures), indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
