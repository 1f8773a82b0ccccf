"""What to write instead of a text where a number is asked for."""

import re
from typing import Final

__all__ = ["number_hint"]

_INTEGER: Final = re.compile(r"[+-]?\d[\d_]*", re.ASCII)
_NUMBER: Final = re.compile(r"[+-]?(\d[\d_]*(\.\d*)?|\.\d+)([eE][+-]?\d+)?|[+-]?inf|nan", re.ASCII)
# What YAML takes for text: an exponent without a sign of its own, or after a number without a point.
_EXPONENT: Final = re.compile(r"([+-]?\d+)(\.\d*)?[eE]([+-]?)(\d+)", re.ASCII)
_SECONDS: Final = re.compile(r"[\d._]+ ?(ms|s|secs?|seconds?|m|mins?|minutes?|h|hours?)", re.ASCII)
_BYTES: Final = re.compile(r"[\d._]+ ?([kKMGT]i?)?(B|bytes?)", re.ASCII)


def number_hint(value: object, expected: str, *, is_yaml: bool) -> str:
    """Return how a message about a text goes on, where a number was expected; nothing where there is no advice.

    >>> number_hint("60", "a number", is_yaml=False), number_hint("inf", "a number", is_yaml=True)
    ('; write it without quotes', '; YAML writes it .inf')
    """
    if not isinstance(value, str) or not re.search("integer|number", expected):
        return ""
    if _SECONDS.fullmatch(value) or _BYTES.fullmatch(value):
        unit = "times are plain numbers of seconds" if _SECONDS.fullmatch(value) else "sizes are plain numbers of bytes"
        return f"; {unit}"
    if not (_NUMBER if "number" in expected else _INTEGER).fullmatch(value):
        return ""
    written = _in_yaml(value) if is_yaml else value
    return "; write it without quotes" if written == value else f"; YAML writes it {written}"


def _in_yaml(number: str) -> str:
    exponent = _EXPONENT.fullmatch(number)
    if exponent:
        whole, fraction, sign, power = exponent.groups()
        return f"{whole}{fraction or '.0'}e{sign or '+'}{power}"
    return re.sub("^([+-]?)(inf|nan)$", r"\1.\2", number)
