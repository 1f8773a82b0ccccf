"""``python -m examples.epp.benchmarks [--quick] [--json FILE]``: what flow control costs behind a real Envoy.

Run it from the repository's root. Goals are shown, and nothing here fails when one is missed: trust differences and
ratios between neighbours in time, not seconds.
"""

import argparse
import asyncio
import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import attrs

from benchmarks.report import machine
from examples.epp.benchmarks.contestants import Contestant, Round, enter
from examples.epp.benchmarks.report import as_dict, table, verdicts
from examples.stage import Stage

__all__ = ["main", "measure"]


@attrs.frozen
class Sizes:
    """How much work a run does.

    Args:
        rounds: That count, of each contestant.
        requests: In a round.
        connections: Of clients, each with one request at a time.
    """

    rounds: int = 9
    requests: int = 4_000
    connections: int = 32


FULL = Sizes()
QUICK = Sizes(rounds=3, requests=1_000)


async def measure(sizes: Sizes) -> Mapping[str, Sequence[Round]]:
    """Run all contestants in turn, round after round, after one that does not count."""
    with tempfile.TemporaryDirectory() as folder:
        async with Stage(Path(folder)) as stage:
            contestants = await enter(stage)
            rounds: dict[str, list[Round]] = {each.name: [] for each in contestants}
            for number in range(sizes.rounds + 1):
                for each in contestants:
                    round_ = await _run(each, sizes)
                    if number:
                        rounds[each.name].append(round_)
            return rounds


async def _run(contestant: Contestant, sizes: Sizes) -> Round:
    return await contestant.run(sizes.requests, sizes.connections)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the report."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.epp.benchmarks", description="Measure what flow control costs behind a real Envoy."
    )
    parser.add_argument("--quick", action="store_true", help="fewer and smaller rounds")
    parser.add_argument("--rounds", type=int, metavar="N", help="other than the usual number, of each contestant")
    parser.add_argument("--requests", type=int, metavar="N", help="in a round")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    options = parser.parse_args(arguments)
    sizes = QUICK if options.quick else FULL
    sizes = attrs.evolve(sizes, rounds=options.rounds or sizes.rounds, requests=options.requests or sizes.requests)
    rounds = asyncio.run(measure(sizes))
    print(machine())
    print(
        f"milliseconds for each request; medians of {sizes.rounds} alternating rounds of {sizes.requests:,} requests "
        f"over {sizes.connections} connections\n"
    )
    print(table(rounds))
    print("", *verdicts(rounds), sep="\n")
    if options.json is not None:
        options.json.write_text(json.dumps(as_dict(rounds), indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
