"""A client for each test, and servers that are quick unless a test says otherwise."""

import asyncio
import contextlib

import httpx
import pytest

from fake_vllm import FakeVllm, FakeVllmSettings

DEADLINE = 20.0


@contextlib.asynccontextmanager
async def running(**changes):
    """A server in this process, and a client of it."""
    settings = {"port": 0, "ttft": 0.0, "tpot": 0.0} | changes
    async with (
        asyncio.timeout(DEADLINE),
        FakeVllm(FakeVllmSettings(**settings)) as server,
        httpx.AsyncClient(base_url=server.url, timeout=DEADLINE) as client,
    ):
        yield server, client


async def until(condition):
    """Wait for what is announced to nobody."""
    async with asyncio.timeout(DEADLINE):
        while not condition():
            await asyncio.sleep(0.001)


@pytest.fixture
def anyio_backend():
    """aiohttp runs on asyncio alone."""
    return "asyncio"


@pytest.fixture
def serve():
    return running


@pytest.fixture
def eventually():
    return until
