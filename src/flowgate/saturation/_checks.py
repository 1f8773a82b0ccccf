"""What constructors of detectors refuse."""

from collections.abc import Callable
from typing import Any

__all__ = ["check_count", "check_number", "count", "number"]

_Validator = Callable[[Any, Any, Any], None]
"""Of a field of an attrs class: the instance, the attribute, the value."""


def check_number(name: str, value: object, fits: Callable[[float], bool], rule: str) -> float:
    """Return a number that fits.

    Raises:
        ValueError: It does not fit the rule, which the message states in words.
        TypeError: It is no number.
    """
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise TypeError(f"{name} must be a number, not {value!r}")
    if not fits(value):
        raise ValueError(f"{name} must be {rule}, not {value!r}")
    return value


def check_count(name: str, value: object) -> int:
    """Return a whole number of 1 or more.

    Raises:
        ValueError: It is less than 1.
        TypeError: It is no int.
    """
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} must be an int, not {value!r}")
    if value < 1:
        raise ValueError(f"{name} must be 1 or more, not {value!r}")
    return value


def number(fits: Callable[[float], bool], rule: str) -> _Validator:
    """Make the validator of a field that must hold such a number."""

    def validate(_record: object, field: Any, value: object) -> None:
        check_number(field.name, value, fits, rule)

    return validate


def count(_record: object, field: Any, value: object) -> None:
    """Validate a field that must hold a whole number of 1 or more."""
    check_count(field.name, value)
