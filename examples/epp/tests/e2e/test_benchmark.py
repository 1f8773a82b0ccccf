"""The benchmark runs, and reports everything that it has measured."""

import asyncio
import json
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[4]


async def test_the_benchmark_measures_every_contestant(tmp_path: Path) -> None:
    """Each takes time, and the one that asks nobody takes it in Envoy alone."""
    figures = tmp_path / "figures.json"
    command = ("-m", "examples.epp.benchmarks", "--rounds=1", "--requests=100", f"--json={figures}")
    process = await asyncio.create_subprocess_exec(
        sys.executable, *command, cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(60):
        output, errors = await process.communicate()
    assert (process.returncode, errors) == (0, b"")
    measured = json.loads(figures.read_text())
    assert len(measured) == 5
    for name, figure in measured.items():
        assert output.decode().count(f"\n{name}  ") == 1
        assert figure["throughput"] > 0
        assert figure["envoy"] > 0
        assert (figure["picker"] > 0) == (name != "Envoy alone")
    assert output.count(b"\nendpoint picker: ") == 2
