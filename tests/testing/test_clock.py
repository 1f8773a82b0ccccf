"""Virtual time can be had anywhere, and says so where it is not."""

import asyncio
import math

import anyio
import pytest

from flowgate.testing import VirtualClock, VirtualTimeLoop, _virtual_time, run_in_virtual_time, virtual_backend


@pytest.mark.parametrize("backend", ["asyncio", "trio", ("asyncio", {"debug": True}), ("trio", {})])
def test_a_day_takes_no_time_on_either_backend(backend: str) -> None:
    async def main(hours: int) -> str:
        await anyio.sleep(hours * 3600.0)
        return f"{anyio.current_time()}"

    assert run_in_virtual_time(main, 24, backend=backend) == "86400.0"


def test_options_of_the_backend_are_kept() -> None:
    assert virtual_backend(("asyncio", {"debug": True})) == (
        "asyncio",
        {"debug": True, "loop_factory": VirtualTimeLoop},
    )


def test_an_unknown_backend_is_refused() -> None:
    with pytest.raises(ValueError, match='"asyncio" or "trio", not \'curio\''):
        virtual_backend("curio")


@pytest.mark.anyio
async def test_advancing_does_all_that_is_due_and_nothing_later() -> None:
    clock, rung = VirtualClock(), []

    async def ring(at: float) -> None:
        await anyio.sleep(at)
        rung.append((at, clock.time()))

    async with anyio.create_task_group() as tasks:
        for at in (1.0, 5.0, math.nextafter(5.0, 6.0)):
            tasks.start_soon(ring, at)
        await clock.advance(0)
        assert rung == []
        await clock.advance(5)
        assert rung == [(1.0, 1.0), (5.0, 5.0)]
        assert clock.time() == 5.0


@pytest.mark.anyio
@pytest.mark.parametrize("seconds", [-1, math.nan])
async def test_time_does_not_go_back(seconds: float) -> None:
    with pytest.raises(ValueError, match="0 seconds or more"):
        await VirtualClock().advance(seconds)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_real_time_is_not_taken_for_virtual(backend: str) -> None:
    async def main() -> None:
        VirtualClock().time()

    with pytest.raises(RuntimeError, match="time is real here"):
        anyio.run(main, backend=backend)
    with pytest.raises(RuntimeError, match="time is real here"):
        anyio.run(VirtualClock().advance, 5, backend=backend)


def test_outside_any_loop_there_is_no_time() -> None:
    with pytest.raises(RuntimeError, match="no running event loop"):
        VirtualClock().time()


def test_a_sleep_without_end_is_no_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for a timer at infinity: with no other it is a deadlock, and with another it stands aside."""
    monkeypatch.setattr(_virtual_time, "_LONGEST_SILENCE", 0.01)
    with pytest.raises(RuntimeError, match="deadlock"):
        run_in_virtual_time(anyio.sleep_forever)

    async def main() -> float:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(anyio.sleep_forever)
            await anyio.sleep(3600)
            tasks.cancel_scope.cancel()
        return anyio.current_time()

    assert run_in_virtual_time(main) == 3600.0


def test_asyncio_alone_suffices() -> None:
    """The loop is asyncio's own way in, without anyio."""

    async def main() -> float:
        await asyncio.sleep(60)
        return VirtualClock().time()

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        assert runner.run(main()) == 60.0
