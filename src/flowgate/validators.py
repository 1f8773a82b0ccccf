"""Checks of values that somebody configures: each error names the value's name, the value and the rule.

The functions that begin with ``check`` return the value; the others check a field of an attrs class.
"""

import math
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import attrs

__all__ = [
    "an_int",
    "at_least",
    "check_at_least",
    "check_number",
    "finite_seconds",
    "instance_of",
    "limit",
    "number",
    "number_in",
    "one_of",
    "positive",
    "seconds",
]

_Check = Callable[[Any, "attrs.Attribute[Any]", Any], None]


def check_at_least(name: str, value: object, least: int) -> int:
    """Return an int of no less than `least`.

    Raises:
        ValueError: It is less.
        TypeError: It is no int; a bool is none.
    """
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} must be an int, not {value!r}")
    if value < least:
        raise ValueError(f"{name} must be {least} or more, not {value!r}")
    return value


def check_number(name: str, value: object, fits: Callable[[float], bool], rule: str) -> float:
    """Return a number that fits.

    Raises:
        ValueError: It does not fit the rule, which the message states in words.
        TypeError: It is no number; a bool is none.
    """
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise TypeError(f"{name} must be a number, not {value!r}")
    if not fits(value):
        raise ValueError(f"{name} must {rule}, not {value!r}")
    return value


def an_int(_config: object, field: "attrs.Attribute[Any]", value: object) -> None:
    """Check for an int; a bool is none."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{field.name} must be an int, not {value!r}")


def at_least(least: int) -> _Check:
    """Make a check for an int of no less than `least`."""

    def check(_config: object, field: "attrs.Attribute[Any]", value: object) -> None:
        check_at_least(field.name, value, least)

    return check


def number(fits: Callable[[float], bool], rule: str) -> _Check:
    """Make a check for a number that fits a rule, which the message states in words."""

    def check(_config: object, field: "attrs.Attribute[Any]", value: object) -> None:
        check_number(field.name, value, fits, rule)

    return check


def number_in(least: float, most: float) -> _Check:
    """Make a check for a number between two others, both allowed."""
    return number(lambda value: least <= value <= most, f"lie in {least:g}..{most:g}")


positive: _Check = number(lambda value: 0 < value < math.inf, "be finite and more than 0")
"""Check for a number that is finite and more than 0; NaN is not."""


def limit(config: object, field: "attrs.Attribute[Any]", value: int | None) -> None:
    """Check for an int of 0 or more, or None for no limit."""
    if value is not None:
        at_least(0)(config, field, value)


def seconds(_config: object, field: "attrs.Attribute[Any]", value: object) -> None:
    """Check for a duration: more than 0, perhaps infinite."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise TypeError(f"{field.name} must be a number of seconds, not {value!r}")
    if not value > 0:  # NaN is not
        raise ValueError(f"{field.name} must be more than 0 seconds, not {value!r}")
    if sys.float_info.max < value < math.inf:  # an int that no float can hold
        raise ValueError(f"{field.name} must be a time that a float can hold, not {value!r:.40}")


def finite_seconds(config: object, field: "attrs.Attribute[Any]", value: float) -> None:
    """Check for a duration that ends."""
    seconds(config, field, value)
    if math.isinf(value):
        raise ValueError(f"{field.name} must be finite, not {value!r}")


def one_of(*choices: str) -> _Check:
    """Make a check for one of a few words."""

    def check(_config: object, field: "attrs.Attribute[Any]", value: object) -> None:
        if value not in choices:
            raise ValueError(f"{field.name} must be one of {', '.join(map(repr, choices))}, not {value!r}")

    return check


def instance_of(kind: type) -> _Check:
    """Make a check for a type."""

    def check(_config: object, field: "attrs.Attribute[Any]", value: object) -> None:
        if not isinstance(value, kind):
            raise TypeError(f"{field.name} must be a {kind.__name__}, not {value!r}")

    return check
