"""``python -m benchmarks.adaptive [--plot FILE.png] [--seed N]``: how well detectors find a capacity that changes.

Runs the closed loop of `benchmarks.simulation` with each algorithm, on a pod that queues what it cannot serve and on
one that refuses it, and compares each run with that of an oracle, which knows the capacity at every moment.
"""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import Any

import attrs

from benchmarks.simulation import Plan, Run, oracle, simulate
from flowgate.saturation import AdaptiveDetector, Aimd, Gradient2

__all__ = ["ALGORITHMS", "SETTLES_WITHIN", "Comparison", "compare", "main", "table"]

SETTLES_WITHIN = 60
"""Round trips after a change of the capacity from which on a run is held to the oracle's."""

ALGORITHMS: Mapping[str, Callable[[], AdaptiveDetector]] = MappingProxyType(
    {
        # The threshold lies between a round trip and the target of two.
        "AIMD": lambda: AdaptiveDetector(Aimd(latency_threshold=0.13)),
        "Gradient2": lambda: AdaptiveDetector(Gradient2()),
    }
)


@attrs.frozen
class Comparison:
    """A run beside the oracle's, on the same pod with the same seed.

    Args:
        name: Of the algorithm.
        run: What it did.
        ideal: What the oracle did.
    """

    name: str
    run: Run
    ideal: Run

    def settled(self, number: int) -> tuple[float, float]:
        """Seconds between which a phase counts as settled."""
        plan = self.run.plan
        return plan.starts[number] + SETTLES_WITHIN * plan.service_time, plan.starts[number + 1]

    def goodput(self, start: float, end: float) -> float:
        """Goodput in [start, end), as a share of the oracle's."""
        return self.run.goodput(start, end) / self.ideal.goodput(start, end)

    @property
    def overall(self) -> float:
        """The same for the whole run, the settling included."""
        return self.goodput(0.0, self.run.plan.starts[-1])

    @property
    def dropped(self) -> float:
        """Share of all requests that the pod refused."""
        return sum(done.result == "dropped" for done in self.run.done) / len(self.run.done)


def compare(plan: Plan, seed: int) -> list[Comparison]:
    """Run a plan with each algorithm, and with the oracle."""
    ideal = oracle(plan, seed)
    return [Comparison(name, simulate(plan, make(), seed), ideal) for name, make in ALGORITHMS.items()]


def table(comparisons: Sequence[Comparison]) -> str:
    """Lay out one line for each phase, and one for the whole run."""
    lines = [f"{'':10}{'capacity':>10}{'settled after':>16}{'limit':>8}{'goodput':>10}{'p95':>10}"]
    for comparison in comparisons:
        run = comparison.run
        for number, phase in enumerate(run.plan.phases):
            span = comparison.settled(number)
            lines.append(
                f"{comparison.name:10}{phase.capacity:>10}{run.settling(number):>13.0f} RT{run.mean_limit(*span):>8.1f}"
                f"{comparison.goodput(*span):>10.1%}{run.p95(*span):>8.3f} s"
            )
        lines.append(
            f"{comparison.name:10}{'overall':>10}{'':16}{'':8}{comparison.overall:>10.1%}{'':10}"
            f"  {comparison.dropped:.1%} refused"
        )
    return "\n".join(lines)


def plot(comparisons: Sequence[Comparison], file: Path) -> None:
    """Draw limit over capacity, and goodput over the oracle's, one column for each algorithm."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - only this function needs it

    plan = comparisons[0].run.plan
    figure = Figure(figsize=(12, 6.5), layout="constrained")
    figure.suptitle(
        "A pod's capacity drops and returns: limits found from latency alone\n"
        f"(closed loop of {plan.callers} callers, unloaded latency {plan.service_time:g} s, "
        f"goodput counts what took at most {plan.target * plan.service_time:g} s)"
    )
    panels = figure.subplots(2, len(comparisons), sharex=True, sharey="row", squeeze=False)
    for column, comparison in enumerate(comparisons):
        _draw_limits(panels[0][column], comparison)
        _draw_goodput(panels[1][column], comparison)
        for panel in (panels[0][column], panels[1][column]):
            _dress(panel, plan)
    panels[0][0].set_ylim(0, 1.05 * max(limit for each in comparisons for _, limit in each.run.limits))
    panels[1][0].set_ylim(bottom=0)
    panels[0][0].set_ylabel("tickets in flight")
    panels[1][0].set_ylabel("goodput (requests/s)")
    figure.savefig(file, dpi=120)


def _draw_limits(panel: Any, comparison: Comparison) -> None:
    plan, end = comparison.run.plan, comparison.run.plan.starts[-1]
    capacities = [phase.capacity for phase in plan.phases]
    panel.step(plan.starts, [*capacities, capacities[-1]], where="post", color="black", label="true capacity")
    at, limits = zip(*comparison.run.limits, strict=True)
    panel.step([*at, end], [*limits, limits[-1]], where="post", color="tab:blue", linewidth=1, label="limit")
    panel.set_title(f"{comparison.name}: {comparison.overall:.1%} of the oracle's goodput")


def _draw_goodput(panel: Any, comparison: Comparison) -> None:
    plan = comparison.run.plan
    width = 10 * plan.service_time
    edges = [index * width for index in range(round(plan.starts[-1] / width) + 1)]
    for run, color, label in ((comparison.ideal, "black", "oracle"), (comparison.run, "tab:orange", comparison.name)):
        values = [run.goodput(start, until) for start, until in pairwise(edges)]
        panel.step(edges, [*values, values[-1]], where="post", color=color, label=label)
    panel.set_xlabel(f"time (s); means over {width:g} s")


def _dress(panel: Any, plan: Plan) -> None:
    for start in plan.starts[:-1]:
        label = "settling" if start == 0 else None
        panel.axvspan(start, start + SETTLES_WITHIN * plan.service_time, color="0.92", zorder=0, label=label)
    panel.set_xlim(0, plan.starts[-1])
    panel.grid(alpha=0.3)
    panel.legend(loc="lower right")


def main(arguments: Sequence[str] | None = None, plan: Plan | None = None) -> None:
    """Print the tables, and draw the plot; another plan than the default one is for tests."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.adaptive", description="Hold detectors to an oracle.")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="of the service times")
    parser.add_argument("--plot", type=Path, metavar="FILE.png", help="draw the run on a queueing pod there")
    options = parser.parse_args(arguments)
    if options.plot is not None and find_spec("matplotlib") is None:
        parser.exit(2, "--plot needs matplotlib: pip install matplotlib\n")
    plan = plan or Plan()
    queueing = compare(plan, options.seed)
    print(f"Goodput within {plan.target:g} round trips (RT, {plan.service_time:g} s), as a share of the oracle's.\n")
    print("A pod that queues what it cannot serve\n" + table(queueing))
    print("\nA pod that refuses it\n" + table(compare(attrs.evolve(plan, when_full="refuse"), options.seed)))
    if options.plot is not None:
        plot(queueing, options.plot)
        print(f"\nThe plot is in {options.plot}", file=sys.stderr)


if __name__ == "__main__":
    main()
