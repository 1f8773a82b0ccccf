"""What the README says is so."""

from pathlib import Path

import pytest

from flowgate_epp.config import load
from flowgate_epp.telemetry import markdown_table

README = (Path(__file__).parents[2] / "README.md").read_text("utf-8")
REFERENCE = (Path(__file__).parents[4] / "docs/reference/metrics.md").read_text("utf-8")


@pytest.mark.parametrize("page", [README, REFERENCE], ids=["README", "reference"])
def test_the_table_of_metrics_is_as_the_program_makes_it(page: str) -> None:
    """One table for the registration and for people: ``python -m flowgate_epp.telemetry`` prints it."""
    begin, end = "<!-- metrics: python -m flowgate_epp.telemetry -->", "<!-- end of metrics -->"
    assert page.partition(begin)[2].partition(end)[0].strip() == markdown_table().strip()


def test_the_readmes_file_is_a_good_one(tmp_path: Path) -> None:
    """Whoever copies it can start."""
    text = README.partition("```toml\n")[2].partition("```")[0]
    lines = [line.removeprefix("   ") for line in text.splitlines()]
    path = tmp_path / "epp.toml"
    path.write_text("\n".join(lines), "utf-8")
    assert load(path).objectives.priority("chat") == 10
