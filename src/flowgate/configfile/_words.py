"""How messages name values and choices."""

import json
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import cast

__all__ = ["either", "known", "show"]

_LONGEST = 60


def show(value: object) -> str:
    """Return a value as a configuration file would hold it; long ones shortened, tables and lists by their size.

    >>> show("a"), show(True), show(None), show([1, 2]), show({})
    ('"a"', 'true', 'null', 'a list of 2', 'a table')
    """
    match value:
        case bool() | None:
            return json.dumps(value)
        case str():
            text = json.dumps(value, ensure_ascii=False)
        case Mapping():
            return "a table"
        case list() | tuple():
            return f"a list of {len(cast('Sequence[object]', value))}"
        case _:
            text = str(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 4]}...{text[-1]}"


def either(choices: Iterable[str]) -> str:
    """Return choices as a sentence has them.

    >>> either(["a number", "a text", "none"])
    'a number, a text or none'
    """
    *most, last = choices
    return f"{', '.join(most)} or {last}" if most else last


def known(name: object, names: Iterable[str]) -> str:
    """Return the end of a message about a name that nobody knows: what might be meant, and what there is.

    >>> known("edff", ["fcfs", "edf"])
    'did you mean "edf"? Known: edf, fcfs'
    """
    ordered = sorted(names)
    plain = {_plain(each): each for each in ordered}
    close = get_close_matches(_plain(str(name)), plain, n=1)
    listed = ", ".join(ordered)
    return f'did you mean "{plain[close[0]]}"? Known: {listed}' if close else f"known: {listed}"


def _plain(name: str) -> str:
    return name.replace("_", "-").lower()
