"""The wheel in a clean environment, and our tests against it there, with no sources in reach."""

from collections.abc import Callable
from pathlib import Path

from dist_tests.conftest import PROJECT, Built, floors, run

PARTS = ("queues", "policies", "locators", "saturation", "admission", "configfile", "commands", "controller")
CORE = [*(f"tests/{part}" for part in PARTS), "tests/test_main.py"]
Install = Callable[..., Path]


def test_without_extras_the_smallest_program_and_the_commands_run(built: Built, install: Install) -> None:
    programs = install()
    printed = run(programs / "python", built.tree / "examples/quickstart/quickstart.py", cwd=built.tree.parent)
    assert printed.splitlines()[0] == "2 requests wait"
    assert run(programs / "flowgate", "version").startswith(f"flowgate {PROJECT['version']}\n")
    checked = run(programs / "flowgate", "check", built.tree / "docs/reference/flowgate.toml")
    assert "is fine" in checked


def test_every_entry_point_of_the_wheel_loads(install: Install) -> None:
    program = (
        "from importlib.metadata import distribution\n"
        "points = distribution('flowgate-admission').entry_points\n"
        "print(len([point.load() for point in points]))"
    )
    groups = {**PROJECT["entry-points"], "scripts": PROJECT["scripts"]}
    assert int(run(install("[testing]") / "python", "-c", program)) == sum(map(len, groups.values()))


def test_our_tests_pass_on_the_newest_dependencies(built: Built, install: Install) -> None:
    programs = install("[test]")
    assert " passed" in run(programs / "python", "-m", "pytest", "-q", *CORE, cwd=built.tree)


def test_our_tests_pass_on_the_oldest_direct_dependencies(built: Built, install: Install) -> None:
    programs = install("[test]", floors())
    assert " passed" in run(programs / "python", "-m", "pytest", "-q", *CORE, cwd=built.tree)
