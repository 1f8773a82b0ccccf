"""Checks of configuration values, for attrs fields: each error names the field, the value and the rule."""

import math
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import attrs

__all__ = ["an_int", "at_least", "finite_seconds", "instance_of", "limit", "number_in", "one_of", "seconds"]

_Check = Callable[[Any, "attrs.Attribute[Any]", Any], None]


def an_int(_config: object, field: "attrs.Attribute[Any]", value: object) -> None:
    """Check for an int; a bool is none."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{field.name} must be an int, not {value!r}")


def at_least(least: int) -> _Check:
    """Make a check for an int of no less than `least`."""

    def check(config: object, field: "attrs.Attribute[Any]", value: int) -> None:
        an_int(config, field, value)
        if value < least:
            raise ValueError(f"{field.name} must be {least} or more, not {value!r}")

    return check


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


def number_in(least: float, most: float) -> _Check:
    """Make a check for a number between two others, both allowed."""

    def check(_config: object, field: "attrs.Attribute[Any]", value: object) -> None:
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise TypeError(f"{field.name} must be a number, not {value!r}")
        if not least <= value <= most:
            raise ValueError(f"{field.name} must lie in {least:g}..{most:g}, not {value!r}")

    return check


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
