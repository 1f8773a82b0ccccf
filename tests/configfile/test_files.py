"""What is no configuration at all: files that are not there, not text, not what their name says."""

import sys
from pathlib import Path

import pytest

from flowgate.configfile import ConfigError, load_settings


def problems_of(path: Path, content: str | bytes | None = None) -> list[str]:
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ConfigError) as caught:
        load_settings(path)
    assert caught.value.source == str(path)
    return [str(problem) for problem in caught.value.problems]


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    assert problems_of(tmp_path / "a.toml") == ["the file cannot be read: No such file or directory"]
    assert problems_of(tmp_path) == ["the file cannot be read: Is a directory"]


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.ini", "", 'a configuration\'s name ends with .toml, .yaml or .yml, not with ".ini"'),
        ("a.toml", b"a = '\xff'", "the file is not UTF-8 text: invalid start byte at byte 5"),
        ("a.toml", "a = \n", "the file is not valid TOML: Invalid value (at line 1, column 5)"),
        ("a.toml", "a = 1\na = 2\n", "the file is not valid TOML: Cannot overwrite a value (at line 2, column 6)"),
        ("a.yaml", "- 1\n", "the file must hold a table of keys and values, not a list of 1"),
        ("a.yaml", "5\n", "the file must hold a table of keys and values, not 5"),
        ("a.yaml", "a: [1\nb: 2\n", "the file is not valid YAML: while parsing a flow sequence, expected ',' "
         "or ']', but got ':' (at line 2, column 2)"),
        ("a.yaml", "a: !!python/name:os.system\n", "the file is not valid YAML: could not determine a constructor for "
         "the tag 'tag:yaml.org,2002:python/name:os.system' (at line 1, column 4)"),
        ("a.yaml", "a: 1\n---\nb: 2\n", "the file is not valid YAML: expected a single document in the "
         "stream, but found another document (at line 2, column 1)"),
        ("a.yaml", "a: \x07\n", "the file is not valid YAML: unacceptable character #x0007: special characters are not "
         "allowed, position 3"),
        ("a.yaml", "a: 2024-13-01\n", "the file is not valid YAML: month must be in 1..12"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_read_says_why_and_where(
    tmp_path: Path, name: str, content: str | bytes, told: str
) -> None:
    assert problems_of(tmp_path / name, content) == [told]


@pytest.mark.parametrize(("name", "text"), [("a.toml", "max_flows = 7\n"), ("a.yaml", "max_flows: 7\n")])
def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path: Path, name: str, text: str) -> None:
    """Some editors write one."""
    path = tmp_path / name
    path.write_text(text, "utf-8-sig")
    assert load_settings(path).config.max_flows == 7


def test_a_number_too_long_for_python_is_told(tmp_path: Path) -> None:
    """Python refuses to read integers beyond some thousands of digits."""
    (told,) = problems_of(tmp_path / "a.toml", f"max_flows = 1{'0' * 5_000}")
    assert told.startswith("the file is not valid TOML: Exceeds the limit")


def test_a_key_given_twice_in_yaml_is_told_with_both_places(tmp_path: Path) -> None:
    """YAML itself would keep the last: every one is told, wherever it stands; sharing by anchors is no repetition."""
    text = "max_flows: 1\nbands:\n  - &b {priority: 1, name: x, name: y}\n  - *b\nmax_flows: 2\n? [odd]\n: 3\n"
    assert problems_of(tmp_path / "a.yaml", text) == [
        'bands[0].name: the key "name" is there twice, at line 3, column 22 and at line 3, column 31',
        'max_flows: the key "max_flows" is there twice, at line 1, column 1 and at line 5, column 1',
    ]


def test_a_value_that_holds_itself_is_told(tmp_path: Path) -> None:
    """An anchor inside itself would never end."""
    text = "locator: &a\n  name: subset\n  locator: *a\n"
    assert problems_of(tmp_path / "a.yaml", text) == ["locator.locator: the value holds itself (at line 1, column 10)"]


def test_anchors_and_merge_keys_are_understood(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("bands:\n  - &base {priority: 1, mode: shed}\n  - {<<: *base, priority: 2}\n", "utf-8")
    assert [(band.priority, band.mode) for band in load_settings(path).config.bands] == [(1, "shed"), (2, "shed")]


def test_yaml_without_pyyaml_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """PyYAML is an extra; TOML needs nothing."""
    monkeypatch.setitem(sys.modules, "yaml", None)
    monkeypatch.delitem(sys.modules, "flowgate.configfile._yaml", raising=False)
    told = "YAML needs PyYAML, which is not installed: pip install 'flowgate-admission[yaml]'"
    assert problems_of(tmp_path / "a.yaml", "max_flows: 1\n") == [told]
