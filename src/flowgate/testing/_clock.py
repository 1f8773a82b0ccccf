"""Virtual time on either event loop, in pytest and outside it."""

import sys
from asyncio import get_running_loop
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, TypeVarTuple, cast

import anyio
import anyio.lowlevel

from flowgate.testing._virtual_time import VirtualTimeLoop
from flowgate.waiters import in_trio

__all__ = ["VirtualClock", "run_in_virtual_time", "until_blocked", "virtual_backend"]

Result = TypeVar("Result")
Arguments = TypeVarTuple("Arguments")

Backend = str | tuple[str, dict[str, Any]]
"""``"asyncio"`` or ``"trio"``, or one of them with its options, as anyio's ``anyio_backend`` fixture has it."""


async def until_blocked(turns: int = 60) -> None:
    """Let every task do what it can at this instant; no time passes.

    Args:
        turns: Turns of the event loop. A chain of tasks that wake each other needs one or two for each link.
    """
    for _ in range(turns):
        await anyio.lowlevel.checkpoint()


def virtual_backend(backend: Backend = "asyncio") -> tuple[str, dict[str, Any]]:
    """Make a backend for anyio that runs in virtual time, starting at 0.0 seconds.

    An ``anyio_backend`` fixture that answers with it runs every async test and fixture within its reach in virtual
    time; `run_in_virtual_time` runs one function.

    Raises:
        ValueError: It is neither asyncio nor trio.

    >>> name, options = virtual_backend("asyncio")
    >>> options["loop_factory"].__name__
    'VirtualTimeLoop'
    """
    name, options = (backend, {}) if isinstance(backend, str) else backend
    if name == "asyncio":
        return name, {**options, "loop_factory": VirtualTimeLoop}
    if name == "trio":
        from trio.testing import MockClock  # noqa: PLC0415 - optional

        return name, {**options, "clock": MockClock(autojump_threshold=0)}
    raise ValueError(f'a backend must be "asyncio" or "trio", not {name!r}')


def run_in_virtual_time(
    main: Callable[[*Arguments], Awaitable[Result]], *args: *Arguments, backend: Backend = "asyncio"
) -> Result:
    """Run an async function as `anyio.run` does, on a clock that jumps to the next timer when nothing is left to do.

    Hours pass in no time, and a timer fires at exactly its time. Threads and sockets are polled while a timer is armed,
    not waited for: keep real I/O out. On asyncio, RuntimeError ends a function that waits for what never comes, after
    20 real seconds in which there was no timer either; trio has no such guard, and hangs.

    Args:
        main: The function.
        args: Its arguments.
        backend: `"asyncio"` or `"trio"`, or one of them with anyio's options for it.

    Returns:
        What the function returns.

    Raises:
        ValueError: The backend is neither.
        RuntimeError: Nothing happened for 20 real seconds, and no timer was armed (asyncio only).

    >>> async def main(hours: int) -> float:
    ...     await anyio.sleep(hours * 3600)
    ...     return anyio.current_time()
    >>> run_in_virtual_time(main, 24)
    86400.0
    """
    name, options = virtual_backend(backend)
    return anyio.run(main, *args, backend=name, backend_options=options)


class VirtualClock:
    """The clock of the running event loop, which must run in virtual time.

    It may be made anywhere, and belongs to no loop: it asks the one that runs.

    >>> async def main() -> float:
    ...     clock = VirtualClock()
    ...     await clock.advance(3600)
    ...     return clock.time()
    >>> run_in_virtual_time(main)
    3600.0
    """

    def time(self) -> float:
        """Return the seconds since the loop began.

        Raises:
            RuntimeError: The running loop's time is real, or there is none.
        """
        if not _is_virtual():
            raise RuntimeError(
                "time is real here: let anyio run the test with the fixture virtual_clock, or use run_in_virtual_time"
            )
        return anyio.current_time()

    async def advance(self, seconds: float) -> None:
        """Let so much time pass; afterwards all that was due by then is done, and nothing later.

        Args:
            seconds: 0 or more.

        Raises:
            ValueError: It is negative or NaN.
            RuntimeError: The running loop's time is real.
        """
        if not seconds >= 0:
            raise ValueError(f"time can go on by 0 seconds or more, not by {seconds!r}")
        self.time()
        await anyio.sleep(seconds)
        await until_blocked()


def _is_virtual() -> bool:
    if in_trio():
        trio = cast("Any", sys.modules["trio"])
        testing = cast("Any", sys.modules.get("trio.testing"))
        return testing is not None and isinstance(trio.lowlevel.current_clock(), testing.MockClock)
    return isinstance(get_running_loop(), VirtualTimeLoop)
