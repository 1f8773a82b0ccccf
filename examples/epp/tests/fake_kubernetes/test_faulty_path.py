"""A way that breaks in the way that it is told to."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from examples.stage import free_port, wait_until
from examples.stage.kubernetes import FaultyPath

pytestmark = pytest.mark.anyio

SILENCE = 0.2


class Echo:
    """A server that answers what it hears, and remembers how its connections ended."""

    def __init__(self) -> None:
        self.port = 0
        self.ends: list[str] = []
        self.heard = b""
        self.writers: list[asyncio.StreamWriter] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        try:
            while data := await reader.read(1000):
                self.heard += data
                writer.write(data)
            self.ends.append("FIN")
        except ConnectionResetError:
            self.ends.append("RST")
        finally:
            writer.close()


@pytest.fixture
async def echo() -> AsyncIterator[Echo]:
    echo = Echo()
    server = await asyncio.start_server(echo.serve, "127.0.0.1", 0)
    echo.port = server.sockets[0].getsockname()[1]
    yield echo
    server.close()
    await server.wait_closed()


@pytest.fixture
async def path(echo) -> AsyncIterator[FaultyPath]:
    async with FaultyPath(echo.port) as path:
        yield path


@contextlib.asynccontextmanager
async def connected(path):
    reader, writer = await asyncio.open_connection("127.0.0.1", path.port)
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def said(reader, count):
    async with asyncio.timeout(10):
        return await reader.readexactly(count)


async def is_silent(reader) -> bool:
    try:
        async with asyncio.timeout(SILENCE):
            await reader.read(1)
    except TimeoutError:
        return True
    return False


async def test_whole_it_passes_all_on_both_ways(path, echo):
    async with connected(path) as (reader, writer):
        text = b"x" * 1_000_000
        writer.write(text)
        assert await said(reader, len(text)) == text
        assert path.connections == 1
        writer.write_eof()
        assert await reader.read() == b""
    await wait_until(lambda: path.connections == 0, 10, "the connection is over")
    assert echo.ends == ["FIN"]


async def test_cut_both_sides_see_an_orderly_end(path, echo):
    async with connected(path) as (reader, writer):
        writer.write(b"a")
        await said(reader, 1)
        path.cut()
        assert await reader.read() == b""
        await wait_until(lambda: echo.ends == ["FIN"], 10, "the server sees the end")
    async with connected(path) as (reader, writer):
        writer.write(b"a")
        assert await said(reader, 1) == b"a"


async def test_reset_both_sides_see_a_reset(path, echo):
    async with connected(path) as (reader, writer):
        writer.write(b"a")
        await said(reader, 1)
        path.reset()
        with pytest.raises(ConnectionResetError):
            await reader.read()
        await wait_until(lambda: echo.ends == ["RST"], 10, "the server sees the reset")


async def test_a_reset_of_one_side_reaches_the_other(path, echo):
    async with connected(path) as (reader, writer):
        writer.write(b"a")
        await said(reader, 1)
        async with FaultyPath(path.port) as second, connected(second) as (further, further_writer):
            further_writer.write(b"b")
            await said(further, 1)
            second.reset()
            await wait_until(lambda: echo.ends == ["RST"], 10, "the server sees the reset")
        writer.write(b"c")
        assert await said(reader, 1) == b"c"


async def test_a_black_hole_swallows_and_tells_nobody(path, echo):
    async with connected(path) as (reader, writer), connected(path) as (idle, idle_writer):
        for one in (writer, idle_writer):
            one.write(b"a")
        await said(reader, 1)
        await said(idle, 1)
        path.blackhole()
        writer.write(b"lost")
        echo.writers[0].write(b"lost too")
        assert await is_silent(reader)
        async with connected(path) as (fresh, fresh_writer):
            fresh_writer.write(b"new")
            assert await is_silent(fresh)
        assert b"lost" not in echo.heard
        assert b"new" not in echo.heard
        assert echo.ends == []
        path.heal()
        writer.write(b"later")
        idle_writer.write(b"still there")
        assert await said(idle, 11) == b"still there"
        assert await is_silent(reader)
        assert b"later" not in echo.heard


async def test_an_end_in_a_black_hole_is_not_told(path, echo):
    async with connected(path) as (reader, writer):
        writer.write(b"a")
        await said(reader, 1)
        path.blackhole()
        writer.close()
        async with connected(path) as (fresh, _):
            assert await is_silent(fresh)
        assert echo.ends == []
        assert path.connections == 2


async def test_a_reset_in_a_black_hole_is_not_told(path, echo):
    async with FaultyPath(path.port) as second, connected(second) as (reader, writer):
        writer.write(b"a")
        await said(reader, 1)
        path.blackhole()
        second.reset()
        async with connected(path) as (fresh, _):
            assert await is_silent(fresh)
        assert echo.ends == []


async def test_a_black_hole_may_take_no_one_new(path):
    path.blackhole(accept=False)
    async with connected(path) as (reader, _):
        with pytest.raises(ConnectionResetError):
            await reader.read()
    path.heal()
    async with connected(path) as (reader, writer):
        writer.write(b"a")
        assert await said(reader, 1) == b"a"


async def test_a_way_to_nowhere_resets():
    async with FaultyPath(free_port()) as path, connected(path) as (reader, _):
        with pytest.raises(ConnectionResetError):
            await reader.read()


async def test_it_leaves_with_all_its_connections(echo):
    async with FaultyPath(echo.port, port=free_port()) as path, connected(path) as (reader, writer):
        writer.write(b"a")
        await said(reader, 1)
        path.blackhole()
        await path.__aexit__(None, None, None)
        assert path.connections == 0
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", path.port)
