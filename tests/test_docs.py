"""What the documentation shows is what the code does."""

import re
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from runpy import run_path

import pytest
import yaml

from flowgate import QueueOutcome
from flowgate.admission import STANDARD

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    path
    for pattern in ("*.md", "docs/**/*.md", "examples/*/README.md")
    for path in ROOT.glob(pattern)
    if "_build" not in path.parts
)
QUICKSTART = ROOT / "examples" / "quickstart" / "quickstart.py"


def page_id(page: Path) -> str:
    return str(page.relative_to(ROOT))


def fences(page: Path, language: str) -> Sequence[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text("utf-8"), re.DOTALL | re.MULTILINE)


def printed_by(script: Path) -> str:
    command = [sys.executable, "-W", "error", str(script)]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout  # noqa: S603 - our own scripts


def test_the_readme_shows_the_quickstart_as_it_is() -> None:
    assert fences(ROOT / "README.md", "python") == [QUICKSTART.read_text("utf-8")]


@pytest.mark.parametrize(
    ("page", "scripts"),
    [
        ("README.md", ["examples/quickstart/quickstart.py"]),
        ("docs/tutorials/first-request.md", ["examples/quickstart/quickstart.py"]),
        ("docs/tutorials/from-zero-to-a-pod.md", ["docs/tutorials/at_zero.py", "docs/tutorials/from_zero_to_a_pod.py"]),
        ("docs/how-to/choose-limits.md", ["docs/how-to/choose_limits.py", "docs/how-to/limits_met.py"]),
        ("docs/how-to/locator.md", ["docs/how-to/locator.py"]),
        ("docs/how-to/policy.md", ["docs/how-to/policy.py"]),
        ("docs/how-to/why-is-my-request-waiting.md", ["docs/how-to/why_waiting.py"]),
    ],
)
def test_a_page_shows_what_its_programs_print(page: str, scripts: list[str]) -> None:
    assert fences(ROOT / page, "text") == [printed_by(ROOT / script) for script in scripts]


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_documentation_includes_its_code(page: Path) -> None:
    if page.name != "README.md":
        assert not fences(page, "python")


def anchors(page: Path) -> set[str]:
    """Return what may follow ``#``: titles in lower case, with hyphens for spaces."""
    titles = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    text = page.read_text("utf-8")
    links = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r"\{(?:literalinclude|image)\} (\S+)", text)
    for link in links:
        if not re.match(r"[a-z]+:", link):
            target = page.parent / link.split("#")[0] if not link.startswith("#") else page
            assert target.exists(), link
            assert "#" not in link or link.split("#")[1] in anchors(target), link


def test_the_tables_of_extras_name_each_one() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    text = (ROOT / "docs/reference/extras.md").read_text("utf-8")
    assert sorted(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)) == sorted(extras)


def test_the_workflow_runs_what_ci_runs() -> None:
    """One program decides, here and wherever the repository is hosted."""
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text("utf-8"))
    (job,) = workflow["jobs"].values()
    assert [step["run"] for step in job["steps"] if "run" in step] == [".ci/run"]


def test_ci_runs_what_make_check_runs() -> None:
    (check,) = re.findall(r"^check: (.+)$", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    ran = re.findall(r'make VENV="\$venv" ([a-z -]+?)(?: 2>|$)', (ROOT / ".ci/run").read_text("utf-8"), re.MULTILINE)
    assert " ".join(ran) == check


def test_the_commands_are_in_their_table() -> None:
    text = (ROOT / "docs/reference/command-line.md").read_text("utf-8")
    told = re.findall(r"^\| `flowgate (\w+)", text, re.MULTILINE)
    printed = subprocess.run(
        [sys.executable, "-m", "flowgate", "--help"], check=True, capture_output=True, text=True, timeout=60
    ).stdout
    assert told == re.findall(r"^    (\w+) {2,}", printed, re.MULTILINE)


def test_the_table_of_outcomes_is_the_code_s() -> None:
    text = (ROOT / "docs/reference/outcomes.md").read_text("utf-8")
    rows = re.findall(r"^\| `(\w+)` \|.+\| (\d+) \|(.*)\|$", text, re.MULTILINE)
    documented = {QueueOutcome[name]: (int(status), reason.strip() or None) for name, status, reason in rows}
    assert len(rows) == len(documented)
    assert documented == dict(STANDARD)


def test_the_picture_is_what_its_script_draws() -> None:
    drawn = run_path(str(ROOT / "docs/design.py"))["svg"]()
    assert (ROOT / "docs/design.svg").read_text("utf-8") == drawn


def test_every_public_error_is_in_its_table() -> None:
    errors = {
        name
        for module in map(import_module, ["flowgate", "flowgate.configfile", "flowgate.errors", "flowgate.commands"])
        for name in module.__all__
        if isinstance(value := getattr(module, name), type) and issubclass(value, Exception)
    }
    text = (ROOT / "docs/reference/errors.md").read_text("utf-8")
    assert not {name for name in errors if f"`{name}`" not in text}
