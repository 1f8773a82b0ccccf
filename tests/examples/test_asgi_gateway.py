"""The ASGI gateway keeps its promises: its own tests pass in the checkout, as its authors run them."""

import os
import subprocess
import sys
from pathlib import Path

GATEWAY = Path(__file__).parents[2] / "examples" / "asgi_gateway"


def test_its_own_tests_pass() -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "COV_"))}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    ended = subprocess.run(  # noqa: S603 - our own tests
        command, cwd=GATEWAY, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
