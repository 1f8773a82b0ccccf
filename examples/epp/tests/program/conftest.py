"""The loop of the program's tests."""

import pytest


@pytest.fixture
def anyio_backend() -> str:
    """Run on asyncio, for gRPC and aiohttp need it."""
    return "asyncio"
