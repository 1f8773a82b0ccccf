"""The reference page says what the code does: every key with its default, every name."""

import re
import subprocess
import sys
import tomllib
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import attrs
import pytest

from flowgate import FlowControlConfig, PriorityBandConfig
from flowgate.configfile import load_settings
from flowgate.policies import DeficitRoundRobin, EarliestDeadlineFirst

FOLDER = Path(__file__).parents[2] / "docs" / "reference"
PAGE = (FOLDER / "configuration.md").read_text("utf-8")
NONE_OF_A_CONFIG = {"detector": "none", "locator": "none", "usage_limit": "none"}


def rows(section: str) -> dict[str, list[str]]:
    """Return the cells of a section's table, by key."""
    text = PAGE.split(f"\n## {section}\n")[1].split("\n## ")[0]
    found = re.findall(r"^\| `(\w+)` \|(.+)\|$", text, re.MULTILINE)
    assert len(dict(found)) == len(found)
    return {key: [cell.strip() for cell in cells.split("|")] for key, cells in found}


def written(field: "attrs.Attribute[Any]") -> str:
    """Return a field's default as the page has it."""
    if isinstance(field.default, attrs.Factory):  # type: ignore[arg-type]
        name = getattr(field.default.factory(), "name", None)
        return "the defaults" if name is None else f'`"{name}"`'
    match field.default:
        case attrs.NOTHING:
            return "required"
        case bool():
            return str(field.default).lower()
        case None:
            return "none"
        case str():
            return f'`"{field.default}"`'
        case int() | float():
            return f"{field.default:g}" if field.default < 1e5 else str(field.default)
        case tuple():
            return "one of priority 0"
        case _:
            return "the defaults"


@pytest.mark.parametrize(
    ("section", "record", "others"),
    [("All bands together", FlowControlConfig, NONE_OF_A_CONFIG), ("Bands", PriorityBandConfig, {})],
)
def test_every_key_is_documented_with_its_default(section: str, record: Any, others: dict[str, str]) -> None:
    """In the order of the class; and none that does not exist."""
    documented = {key: cells[1] for key, cells in rows(section).items()}
    assert documented == {field.name: written(field) for field in attrs.fields(record)} | others
    assert list(documented) == [*(field.name for field in attrs.fields(record)), *others]


def test_what_is_counted_or_timed_has_its_unit() -> None:
    for section in ("All bands together", "Bands"):
        for key, (kind, _, meaning) in rows(section).items():
            is_number = kind.startswith(("integer", "number")) and key != "priority"
            assert bool(re.match(r"\w+ \(\w+\)", kind)) == is_number, key
            assert meaning, key


def test_every_name_is_documented() -> None:
    """The names of the table are those that flowgate registers, by kind."""
    groups = {
        "dispatch": "flowgate.dispatch_policies",
        "fairness": "flowgate.fairness_policies",
        "usage_limit": "flowgate.usage_limits",
        "queue": "flowgate.queues",
        "detector": "flowgate.saturation_detectors",
        "locator": "flowgate.locators",
    }
    documented = {key: re.findall(r"`([\w-]+)`", re.sub(r"\(.*?\)", "", cells[0])) for key, cells in names().items()}
    entries = distribution("flowgate-admission").entry_points
    registered = {key: sorted(entry.name for entry in entries if entry.group == group) for key, group in groups.items()}
    assert documented == registered


def names() -> dict[str, list[str]]:
    return rows("Plug-ins by name")


def test_what_the_page_shows_of_files_is_right() -> None:
    """The snippets are short, and checked here: a band's policies, a nested plug-in, a package's entry points."""
    policies, package = re.findall(r"^```toml\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    band = load_settings({"bands": [{"priority": 0, **tomllib.loads(policies)}]}).config.bands[0]
    assert (band.dispatch, band.fairness) == (EarliestDeadlineFirst(), DeficitRoundRobin(quantum=32_768))
    (groups,) = tomllib.loads(package)["project"].values()
    assert set(groups) <= {entry.group for entry in distribution("flowgate-admission").entry_points}
    nested = re.search(r'`(\{ name = "any-of".*?\] \})`', PAGE)
    assert nested is not None
    assert load_settings(tomllib.loads(f"detector = {nested[1]}")).detector is not None


def test_the_program_of_the_page_prints_what_it_says() -> None:
    command = [sys.executable, "-W", "error", str(FOLDER / "from_a_file.py")]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)  # noqa: S603 - our own
    assert re.findall(r"^```text\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE) == [ended.stdout]


def test_the_example_uses_most_of_what_there_is() -> None:
    """It loads, and has each kind of thing."""
    settings = load_settings(FOLDER / "flowgate.toml")
    assert [band.priority for band in settings.config.bands] == [10, 0, -1]
    assert settings.config.band_shares is not None
    assert settings.config.default_band is not None
    assert None not in {settings.detector, settings.locator, settings.usage_limit}
    assert settings.new_controller().stats().queued_requests == 0
