"""Whoever follows a tutorial step by step sees what it shows."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"
FILES = DOCS / "tutorials" / "short_first"
SHOWN = re.findall(
    r"^```text\n(.*?)^```$", FILES.with_name("your-own-dispatch-policy.md").read_text("utf-8"), re.DOTALL | re.MULTILINE
)
OWN_PROMISES = "# -- its own promises"


class Reader:
    """Somebody who saves the tutorial's files in a folder, and runs commands there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def save(self, file: str, name: str, *, until: str | None = None) -> None:
        text = (FILES / file).read_text("utf-8")
        (self.folder / name).write_text(text.partition(until)[0] if until else text, "utf-8")

    def run(self, *command: str) -> str:
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "COV_"))}
        paths = (str(self.folder), environment.get("PYTHONPATH"))
        environment |= {"PYTHONPATH": os.pathsep.join(path for path in paths if path), "COLUMNS": "200"}
        ended = subprocess.run(  # noqa: S603 - our own commands
            [sys.executable, "-W", "error", "-B", *command],
            cwd=self.folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
            check=False,
        )
        return ended.stdout

    def test(self) -> str:
        return self.run("-m", "pytest", "-p", "no:cacheprovider", "test_short_first.py")

    def install(self) -> None:
        """Leave what pip would: a record of the package's entry points."""
        project = tomllib.loads((self.folder / "pyproject.toml").read_text("utf-8"))["project"]
        record = self.folder / f"short_first-{project['version']}.dist-info"
        record.mkdir()
        (record / "METADATA").write_text(f"Name: {project['name']}\nVersion: {project['version']}\n")
        groups = [
            f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in names.items())
            for group, names in project["entry-points"].items()
        ]
        (record / "entry_points.txt").write_text("\n".join(groups))


@pytest.fixture
def reader(tmp_path: Path) -> Reader:
    return Reader(tmp_path)


def assert_shows(shown: str, output: str) -> None:
    """Each line that the page shows is in the output, in that order; the page leaves out the rest."""
    rest = iter(output.splitlines())
    for line in shown.splitlines():
        assert any(line in printed for printed in rest), f"not printed, or not there: {line!r} of\n{output}"


@pytest.mark.parametrize("stage", ["step_1.py", "step_2.py", "short_first.py"])
def test_each_stage_of_the_policy_serves_short_prompts_first(reader: Reader, stage: str) -> None:
    reader.save(stage, "short_first.py")
    reader.save("try_it.py", "try_it.py")
    assert reader.run("try_it.py") == SHOWN[0]


@pytest.mark.parametrize(
    ("stage", "until", "shown"),
    [
        ("step_1.py", OWN_PROMISES, SHOWN[1]),
        ("step_2.py", OWN_PROMISES, SHOWN[2]),
        ("step_2.py", None, SHOWN[3]),
        ("short_first.py", None, SHOWN[4]),
    ],
    ids=["no-metadata", "mended", "starves", "done"],
)
def test_the_tests_say_of_each_stage_what_the_page_shows(
    reader: Reader, stage: str, until: str | None, shown: str
) -> None:
    reader.save(stage, "short_first.py")
    reader.save("test_short_first.py", "test_short_first.py", until=until)
    assert_shows(shown, reader.test())


@pytest.mark.parametrize(("value", "shown"), [("200", SHOWN[5]), ("-1", SHOWN[6])], ids=["fine", "mistake"])
def test_installed_the_policy_is_known_by_its_name(reader: Reader, value: str, shown: str) -> None:
    for name in ("short_first.py", "pyproject.toml", "gateway.toml"):
        reader.save(name, name)
    reader.install()
    file = reader.folder / "gateway.toml"
    file.write_text(file.read_text("utf-8").replace("200", value), "utf-8")
    assert_shows(shown, reader.run("-m", "flowgate", "check", "gateway.toml"))
