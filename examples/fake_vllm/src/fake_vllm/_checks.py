"""Checks of the fields of attrs classes: each error names the field, the value and the rule."""

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import attrs

__all__ = ["number", "whole"]

_Check = Callable[[Any, "attrs.Attribute[Any]", Any], None]
_MOST = sys.float_info.max


def whole(least: int, most: int = sys.maxsize) -> _Check:
    """Make a check for an int between two others, both allowed; a bool is none."""
    return _between(least, most, int, "an int")


def number(least: float, most: float = _MOST) -> _Check:
    """Make a check for a number between two others, both allowed; a bool and NaN are none."""
    return _between(least, most, (int, float), "a number")


def _between(least: float, most: float, kind: type | tuple[type, ...], said: str) -> _Check:
    rule = f"{least:g} or more" if most in {sys.maxsize, _MOST} else f"in {least:g}..{most:g}"

    def check(_settings: object, field: "attrs.Attribute[Any]", value: Any) -> None:
        is_right = isinstance(value, kind) and not isinstance(value, bool)
        if not is_right:
            raise TypeError(f"{field.name} must be {said}, not {value!r}")
        if not least <= value <= most:
            raise ValueError(f"{field.name} must be {rule}, not {value!r}")

    return check
