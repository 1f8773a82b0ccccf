"""What an OpenAI-style body asks for."""

import json
from collections.abc import Mapping
from typing import Any, Final, cast

import attrs

__all__ = ["NOTHING_ASKED", "Asked", "read_body"]

_MOST: Final = 1_000_000_000


@attrs.frozen
class Asked:
    """What a body asks for, completions and chat completions alike.

    Attributes:
        model: The model; empty where none is named.
        is_streaming: Whether the answer is to come piece by piece.
        choices: How many answers to the prompt (``n``).
        output_tokens: At most so many tokens in each; None where that is left to the server.
    """

    model: str = ""
    is_streaming: bool = False
    choices: int = 1
    output_tokens: int | None = None


NOTHING_ASKED: Final = Asked()
"""Of a request whose body is not seen, or not understood."""


def read_body(body: bytes) -> Asked:
    """Read what a body asks for. O(its size), and nothing of it is kept but a few numbers and the model's name.

    Null is as good as absent, and unknown keys are nobody's business here.

    Raises:
        ValueError: It is no JSON object, or one of the values read is of the wrong type or out of range.
    """
    try:
        values: object = json.loads(body)
    except RecursionError:
        raise ValueError("the body is nested too deeply") from None
    except ValueError as error:  # no JSON, or no UTF-8
        raise ValueError(f"the body must be JSON, but {error!s:.100}") from None
    if not isinstance(values, dict):
        raise ValueError(f"the body must be a JSON object, not {_shorten(values)}")  # noqa: TRY004 - a bad value, whatever its type
    asked = cast("Mapping[str, object]", values)
    tokens = "max_tokens" if asked.get("max_completion_tokens") is None else "max_completion_tokens"
    return Asked(
        _value(asked, "model", str, "a text") or "",
        _value(asked, "stream", bool, "true or false") or False,
        _count(asked, "n") or 1,
        _count(asked, tokens),
    )


def _value(asked: Mapping[str, object], key: str, kind: type, expected: str) -> Any:
    value = asked.get(key)
    if value is None or type(value) is kind:
        return value
    raise ValueError(f"{key} must be {expected}, not {_shorten(value)}")


def _count(asked: Mapping[str, object], key: str) -> int | None:
    value: int | None = _value(asked, key, int, "an integer")
    if value is not None and not 1 <= value <= _MOST:
        raise ValueError(f"{key} must lie in 1..{_MOST}, not {_shorten(value)}")
    return value


def _shorten(value: object) -> str:
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    return "null" if value is None else f"{value!r:.40}"
