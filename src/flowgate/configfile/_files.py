"""From a file to plain tables, lists and values."""

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import cast

from flowgate.configfile._problems import ConfigError, Place
from flowgate.configfile._words import show

__all__ = ["is_yaml", "read_file"]


def is_yaml(path: str | os.PathLike[str]) -> bool:
    """Return whether a file's name says that it holds YAML."""
    return Path(path).suffix.lower() in {".yaml", ".yml"}


def read_file(path: str | os.PathLike[str]) -> Mapping[object, object]:
    """Read a TOML or YAML file, as its name says.

    Raises:
        ConfigError: It cannot be read, is not what its name says, or gives a key twice.
    """
    place = Place()
    try:
        text = Path(path).read_text("utf-8-sig")  # some editors begin a file with a byte-order mark
    except (OSError, UnicodeDecodeError) as error:
        place.refuse(_reason(error))
        raise ConfigError(os.fspath(path), place.problems) from error
    content = _parse(text, Path(path).suffix.lower(), place)
    if not place.problems and not isinstance(content, Mapping):
        place.refuse(f"the file must hold a table of keys and values, not {show(content)}")
    if place.problems:
        raise ConfigError(os.fspath(path), place.problems)
    return cast("Mapping[object, object]", content)


def _reason(error: OSError | UnicodeDecodeError) -> str:
    if isinstance(error, OSError):
        return f"the file cannot be read: {error.strerror}"
    return f"the file is not UTF-8 text: {error.reason} at byte {error.start}"


def _parse(text: str, suffix: str, place: Place) -> object:
    match suffix:
        case ".toml":
            return _parse_toml(text, place)
        case ".yaml" | ".yml":
            return _parse_yaml(text, place)
        case _:
            return place.refuse(f"a configuration's name ends with .toml, .yaml or .yml, not with {show(suffix)}")


def _parse_toml(text: str, place: Place) -> object:
    try:
        return tomllib.loads(text)
    except ValueError as error:  # its own kind, or a number too long for Python
        return place.refuse(f"the file is not valid TOML: {error}")


def _parse_yaml(text: str, place: Place) -> object:
    try:
        from flowgate.configfile._yaml import parse_yaml  # noqa: PLC0415 - PyYAML is an extra
    except ModuleNotFoundError:
        return place.refuse("YAML needs PyYAML, which is not installed: pip install 'flowgate-admission[yaml]'")
    return parse_yaml(text, place)
