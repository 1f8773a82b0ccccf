"""How often the interpreter does something for each operation: numbers that no other program on the machine disturbs.

Work is done twice, the second time with more of it, and the difference is shared among what was added. So what
happens once, such as making an event loop, is not counted.
"""

import asyncio
import gc
import sys
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from operator import itemgetter
from types import FrameType
from typing import Any

import attrs

__all__ = ["Work", "blocks", "calls", "instructions", "instructions_by_module"]


@attrs.frozen
class Work:
    """Something to do in an event loop of its own.

    Args:
        some: Does some of it.
        more: Does some more of it.
        added: Operations by which the two differ.
    """

    some: Callable[[], Coroutine[object, object, object]]
    more: Callable[[], Coroutine[object, object, object]]
    added: int


def calls(work: Work) -> tuple[float, float]:
    """Count calls of Python functions, with resumptions of coroutines, and calls of functions that are written in C."""
    _warm(work)
    (python, c), (more_python, more_c) = _profiled(work.some), _profiled(work.more)
    return (more_python - python) / work.added, (more_c - c) / work.added


def instructions(work: Work) -> float:
    """Count instructions of the interpreter. Versions of Python have different ones."""
    return sum(instructions_by_module(work).values())


def instructions_by_module(work: Work) -> dict[str, float]:
    """Count the same, by the module that they stand in; most first."""
    _warm(work)
    some, more = _traced(work.some), _traced(work.more)
    shares = {module: (count - some[module]) / work.added for module, count in more.items()}
    return dict(sorted(shares.items(), key=itemgetter(1), reverse=True))


async def blocks(work: Callable[[], Coroutine[object, object, object]]) -> int:
    """Count the blocks of memory that are there after something was done, and were not before."""
    gc.collect()
    before = sys.getallocatedblocks()
    await work()
    gc.collect()
    return sys.getallocatedblocks() - before


def _warm(work: Work) -> None:
    # Caches are filled, and modules imported.
    asyncio.run(work.some())
    asyncio.run(work.more())


def _profiled(work: Callable[[], Coroutine[object, object, object]]) -> tuple[int, int]:
    counts = {"call": 0, "c_call": 0}

    def hear(_frame: FrameType, event: str, _argument: object) -> None:
        if event in counts:
            counts[event] += 1

    before = sys.getprofile()
    with _collector_off():
        sys.setprofile(hear)
        try:
            asyncio.run(work())
        finally:
            sys.setprofile(before)
    return counts["call"], counts["c_call"]


def _traced(work: Callable[[], Coroutine[object, object, object]]) -> Counter[str]:
    counts: Counter[str] = Counter()

    def inside(frame: FrameType, event: str, _argument: object) -> Any:
        if event == "opcode":
            counts[frame.f_globals["__name__"]] += 1
        return inside

    def enter(frame: FrameType, _event: str, _argument: object) -> Any:
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        return inside

    before = sys.gettrace()
    with _collector_off():
        sys.settrace(enter)
        try:
            asyncio.run(work())
        finally:
            sys.settrace(before)
    return counts


@contextmanager
def _collector_off() -> Iterator[None]:
    # What it would find to finalize depends on what ran before.
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
