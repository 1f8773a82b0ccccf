"""What the README says is so, and what the pages about metrics say."""

import re
from pathlib import Path

import pytest

from flowgate import QueueOutcome
from flowgate_epp.config import load
from flowgate_epp.telemetry import markdown_table

README = (Path(__file__).parents[2] / "README.md").read_text("utf-8")
REFERENCE_FILE = Path(__file__).parents[4] / "docs" / "reference" / "metrics.md"
REFERENCE = REFERENCE_FILE.read_text("utf-8")


HOW_TO = REFERENCE_FILE.parents[1] / "how-to" / "read-the-metrics.md"


@pytest.mark.parametrize("page", [README, REFERENCE], ids=["README", "reference"])
def test_the_table_of_metrics_is_as_the_program_makes_it(page: str) -> None:
    """One table for the registration and for people: ``python -m flowgate_epp.telemetry`` prints it."""
    begin, end = "<!-- metrics: python -m flowgate_epp.telemetry -->", "<!-- end of metrics -->"
    assert page.partition(begin)[2].partition(end)[0].strip() == markdown_table().strip()


def test_the_questions_to_the_metrics_are_about_metrics_and_outcomes_there_are() -> None:
    page, table = HOW_TO.read_text("utf-8"), markdown_table()
    names = set(re.findall(r"\bflowgate_\w+", page))
    assert len(names) > 10
    assert not {name for name in names if f"`{re.sub('_(bucket|sum|count)$', '', name)}`" not in table}
    outcomes = set(re.findall(r"\b(?:evicted|rejected)_\w+", page))
    assert len(outcomes) > 5
    assert outcomes <= {outcome.value for outcome in QueueOutcome}


def test_the_readmes_file_is_a_good_one(tmp_path: Path) -> None:
    """Whoever copies it can start."""
    text = README.partition("```toml\n")[2].partition("```")[0]
    lines = [line.removeprefix("   ") for line in text.splitlines()]
    path = tmp_path / "epp.toml"
    path.write_text("\n".join(lines), "utf-8")
    assert load(path).objectives.priority("chat") == 10
