"""What constructors of locators refuse."""

import math

__all__ = ["check_seconds"]


def check_seconds(name: str, value: object) -> float:
    """Return a time span in seconds.

    Raises:
        ValueError: It is not finite, or not more than 0.
        TypeError: It is no number.
    """
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise TypeError(f"{name} must be a number of seconds, not {value!r}")
    if not 0.0 < value < math.inf:
        raise ValueError(f"{name} must be finite and more than 0 seconds, not {value!r}")
    return float(value)
