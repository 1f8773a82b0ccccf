"""What the how-to shows are tests that pass."""

import shutil
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parents[2]
HOW_TO = ROOT / "docs" / "how-to"
ASGI = ROOT / "examples" / "asgi_gateway" / "src"


@pytest.mark.parametrize(
    ("names", "fewest"),
    [
        (["test_a_proxy.py"], 8),
        (["prove_a_policy.py", "policy.py"], 30),
        (["test_in_starlette.py", "in_starlette.py", "in_a_handler.py"], 12),
    ],
    ids=["proxy", "policy", "starlette"],
)
def test_the_how_to_s_tests_pass(pytester: pytest.Pytester, names: list[str], fewest: int) -> None:
    for name in names:
        shutil.copy(HOW_TO / name, pytester.path)
    result = pytester.runpytest_subprocess(
        "-W", "error", "-p", "no:cacheprovider", "-o", f"pythonpath={ASGI}", names[0]
    )
    counts = result.parseoutcomes()
    assert counts.pop("passed") >= fewest
    assert counts == {}
