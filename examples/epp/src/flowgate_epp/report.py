"""What a configuration means, in plain text: a line for each setting, under the title of its table."""

from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from flowgate_epp.config import EppSettings
from flowgate_epp.pods import PodEntry
from flowgate_epp.scheduling import WeightedScorer

__all__ = ["describe"]

_LABEL = 24
_TOLD = (bool, int, float, str, tuple, Mapping)


def describe(settings: EppSettings) -> str:
    """Return every setting of the program but flow control's, the defaults included."""
    lines: list[str] = []
    for field in attrs.fields(EppSettings):
        if field.name == "flow_control":
            continue
        value = getattr(settings, field.name)
        if attrs.has(type(value)):
            lines += [*([""] if lines else []), f"{field.name} ({type(value).__name__})", *_rows(value, "  ")]
        else:
            lines += ["", _row(field.name, value, "")]
    return "\n".join(lines)


def _rows(record: Any, indent: str) -> Iterator[str]:
    for field in attrs.fields(type(record)):
        value = getattr(record, field.name)
        if attrs.has(type(value)) and not hasattr(value, "name"):
            yield f"{indent}{field.name}"
            yield from _rows(value, f"{indent}  ")
        else:
            yield _row(field.name, value, indent)


def _row(name: str, value: object, indent: str) -> str:
    return f"{indent}{name:<{max(1, _LABEL - len(indent))}}{_text(value)}"


def _text(value: object) -> str:
    if value is None or (isinstance(value, tuple | Mapping) and not value):
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {_text(each)}" for key, each in value.items())
    if isinstance(value, tuple | list):
        return ", ".join(map(_text, value))
    return str(value) if isinstance(value, str | int | float) else _record(value)


def _record(record: Any) -> str:
    """Return a plug-in's name, with what it was told; its state is of no interest here."""
    fields = attrs.asdict(record, recurse=False) if attrs.has(type(record)) else {}
    told = {name: value for name, value in fields.items() if not name.startswith("_") and isinstance(value, _TOLD)}
    values = [f"{name} {_text(value)}" for name, value in told.items()]
    name = getattr(record, "name", type(record).__name__)
    if isinstance(record, WeightedScorer):
        return f"{record.weight:g} x {_record(record.scorer)}"
    if isinstance(record, PodEntry):
        return f"{name} at {record.to_pod().endpoint}"
    return f"{name} ({', '.join(values)})" if values else str(name)
