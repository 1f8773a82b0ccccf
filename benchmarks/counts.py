"""``python -m benchmarks.counts [--write | --modules]``: a regression gate that times nothing.

It counts what the interpreter does for each request, and compares that with what is stored beside it. More than is
stored is a regression; less is an improvement that would hide the next one until it is stored.
"""

import argparse
import asyncio
import json
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import attrs

from benchmarks.counting import Work, blocks, calls, instructions, instructions_by_module
from benchmarks.gate import drain, fast_path, park, queue
from benchmarks.load import Load
from flowgate.policies import BestHead

__all__ = ["ALLOWANCE", "STORED", "Counts", "complaints", "count", "main"]

ALLOWANCE = 0.03
"""Share by which a number may differ from the stored one."""

STORED = Path(__file__).with_name("counts.json")
"""The numbers, by version of Python."""

Counts = Mapping[str, Mapping[str, float]]
"""How many of each thing, on each path."""

_COMMAND = "python -m benchmarks.counts --write"
_VERSION = "{}.{}".format(*sys.version_info)
_QUEUED = Load(100, slots=10, flows=20, bands=8)
_PARKED = Load(200, slots=1_000, flows=20)


def count() -> Counts:
    """Count everything."""
    paths = {
        "fast path": _fast(),
        "queued path": _queued(_QUEUED),
        "queued path, 1 slot": _queued(attrs.evolve(_QUEUED, slots=1)),
        "queued path, 10 lanes": _queued(attrs.evolve(_QUEUED, lanes=10)),
        "arrival and drain": _drained(_PARKED),
        "arrival and drain, best head": _drained(attrs.evolve(_PARKED, fairness=BestHead())),
    }
    return {name: _operations(work) for name, work in paths.items()} | {"waiting": {"blocks of memory": _held(_PARKED)}}


def complaints(counted: Counts, stored: Counts) -> list[str]:
    """Return a sentence for each number that is not the stored one, give or take the allowance."""
    return [text for path in {**stored, **counted} for text in _of_path(path, counted.get(path), stored.get(path))]


def main(arguments: Sequence[str] | None = None, counted: Counts | None = None, file: Path = STORED) -> int:
    """Compare, or store; other counts and another file are for tests.

    Returns:
        1 if a number differs by more than the allowance.
    """
    parser = argparse.ArgumentParser(prog="python -m benchmarks.counts", description="Count what a request costs.")
    either = parser.add_mutually_exclusive_group()
    either.add_argument("--write", action="store_true", help="store the numbers of this version of Python")
    either.add_argument("--modules", action="store_true", help="show in which modules the instructions stand, and stop")
    options = parser.parse_args(arguments)
    if options.modules:
        _show_modules({"fast path": _fast(), "queued path": _queued(_QUEUED)})
        return 0
    counted = count() if counted is None else counted
    print(f"Python {_VERSION}, for each request")
    for path, numbers in counted.items():
        print(f"{path:30}", *(f"{number:>10,.1f} {what}" for what, number in numbers.items()))
    stored: dict[str, Counts] = json.loads(file.read_text("utf-8"))
    if options.write:
        stored[_VERSION] = counted
        file.write_text(json.dumps(dict(sorted(stored.items())), indent=2) + "\n", encoding="utf-8")
        return 0
    if _VERSION not in stored:
        print(f"\nNothing is stored for Python {_VERSION}. Store it: {_COMMAND}")
        return 0
    found = complaints(counted, stored[_VERSION])
    if found:
        print("", *found, sep="\n")
    return 1 if found else 0


def _show_modules(paths: Mapping[str, Work]) -> None:
    for path, work in paths.items():
        modules = instructions_by_module(work)
        print(f"{path}: {sum(modules.values()):,.0f} instructions for each request")
        for module, number in modules.items():
            if number >= 1:
                print(f"{number:>10,.1f} {module}")


def _fast() -> Work:
    return Work(partial(fast_path, 200), partial(fast_path, 400), 200)


def _queued(load: Load) -> Work:
    return Work(partial(queue, load, 2), partial(queue, load, 4), 2 * load.callers)


def _drained(load: Load) -> Work:
    twice = attrs.evolve(load, callers=2 * load.callers)
    return Work(partial(drain, load), partial(drain, twice), load.callers)


def _operations(work: Work) -> Mapping[str, float]:
    python, c = calls(work)
    return {"Python calls": _rounded(python), "C calls": _rounded(c), "instructions": _rounded(instructions(work))}


def _held(load: Load) -> float:
    some, more = (asyncio.run(_holding(attrs.evolve(load, callers=callers))) for callers in (500, 1_000))
    return _rounded((more - some) / 500)


async def _holding(load: Load) -> int:
    tasks: list[asyncio.Task[None]] = []

    async def parked() -> None:
        tasks.extend(await park(controller, load))

    async with load.controller(load.closed_locator()) as controller:
        taken = await blocks(parked)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return taken


def _rounded(number: float) -> float:
    # As the complaint shows it; blocks vary in the third place.
    return round(number, 1)


def _of_path(path: str, counted: Mapping[str, float] | None, stored: Mapping[str, float] | None) -> list[str]:
    if counted is None or stored is None or counted.keys() != stored.keys():
        return [f"{path}: what is stored is not what is counted. Store what is: {_COMMAND}"]
    return [
        _complaint(f"{path}: {new:,.1f} {what} for each request, where {old:,.1f} are stored", new / old - 1)
        for what, old in stored.items()
        for new in [counted[what]]
        if abs(new - old) > ALLOWANCE * old
    ]


def _complaint(what: str, change: float) -> str:
    told = f"{what} ({change:+.1%}, and {ALLOWANCE:.0%} are allowed)."
    if change > 0:
        return f"{told} Find what costs more, or accept it: {_COMMAND}"
    return f"{told} The stored number is stale, and would hide a regression. Store the new one: {_COMMAND}"


if __name__ == "__main__":
    sys.exit(main())
