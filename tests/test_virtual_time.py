"""The tests' own clock keeps its promises, or no other test about time means anything."""

import asyncio
import socket
import threading
import time

import anyio
import anyio.to_thread
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowgate.testing import VirtualTimeLoop
from flowgate.testing import _virtual_time as virtual_time


@pytest.mark.anyio
async def test_an_hour_costs_nothing_on_both_backends() -> None:
    """Sleeping jumps the clock to exactly the time slept for, and takes no real time."""
    began = time.monotonic()
    assert anyio.current_time() == 0.0
    await anyio.sleep(3600.1)
    assert anyio.current_time() == 3600.1
    assert time.monotonic() - began < 5


@pytest.mark.anyio
async def test_timers_fire_in_order_at_their_own_times() -> None:
    """Each sleeper wakes at its own time, the earliest first."""
    woken: list[tuple[float, float]] = []

    async def sleep(seconds: float) -> None:
        await anyio.sleep(seconds)
        woken.append((seconds, anyio.current_time()))

    delays = [0.3, 0.1, 1e-12, 86_400.0 * 3, 0.1 + 1e-15]
    async with anyio.create_task_group() as tasks:
        for delay in delays:
            tasks.start_soon(sleep, delay)
    assert woken == [(delay, delay) for delay in sorted(delays)]


@pytest.mark.anyio
async def test_threads_are_waited_for_when_no_timer_is_armed() -> None:
    """With nothing else to do the loop waits really for a thread, and the clock stands still."""
    assert await anyio.to_thread.run_sync(lambda: threading.Event().wait(0.01)) is False
    assert anyio.current_time() == 0.0


@pytest.mark.anyio
@given(delay=st.floats(0, 1e6))
async def test_property_tests_run_on_both_backends(delay: float) -> None:
    """An async property test may sleep too: every example goes on from where the clock stands."""
    began = anyio.current_time()
    await anyio.sleep(delay)
    assert anyio.current_time() == began + delay


def test_callbacks_and_timers_are_counted() -> None:
    """The loop counts the callbacks it ran and the timers it holds; cancelled ones count for neither."""
    loop = VirtualTimeLoop()
    loop.call_soon(loop.stop)
    loop.call_soon(print).cancel()
    timer = loop.call_later(5, print)
    assert loop.timers == 1
    loop.run_forever()
    timer.cancel()
    assert (loop.callbacks, loop.timers) == (1, 0)
    loop.close()


def test_an_idle_loop_runs_no_callback() -> None:
    """Between two timers nothing runs: the count grows by the sleeper's own wake-up alone."""

    async def count() -> int:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualTimeLoop)
        before = loop.callbacks
        await asyncio.sleep(1000)
        return loop.callbacks - before

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        assert runner.run(count()) == 2  # the timer, and the task's next step


def test_a_deadlock_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test that waits for what can never happen fails, and does not hang."""
    monkeypatch.setattr(virtual_time, "_LONGEST_SILENCE", 0.01)
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner, pytest.raises(RuntimeError, match="deadlock"):
        runner.run(asyncio.Event().wait())


def test_sockets_are_waited_for_when_no_timer_is_armed() -> None:
    """A connection over a pair of sockets works: readers and writers come, change and go."""

    async def talk() -> bytes:
        ours, theirs = socket.socketpair()
        reader, writer = await asyncio.open_connection(sock=ours)
        with theirs:
            theirs.settimeout(5)
            writer.write(b"hello")
            await writer.drain()
            theirs.sendall(theirs.recv(5).upper())
            answer = await reader.readexactly(5)
        writer.close()
        await writer.wait_closed()
        return answer

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        assert runner.run(talk()) == b"HELLO"
        assert runner.get_loop().time() == 0.0


def test_one_socket_may_be_read_and_written() -> None:
    """The loop changes what it listens for, and can tell of what."""
    ours, theirs = socket.socketpair()
    loop = VirtualTimeLoop()
    with ours, theirs:
        heard: list[str] = []
        loop.add_reader(ours, heard.append, "read")
        loop.add_writer(ours, heard.append, "write")
        loop.add_writer(ours, loop.stop)
        loop.run_forever()
        loop.remove_writer(ours)
        theirs.sendall(b"x")
        loop.add_reader(ours, lambda: (heard.append("read"), loop.stop()))
        loop.run_forever()
        loop.remove_reader(ours)
        loop.close()
    assert heard == ["read"]
