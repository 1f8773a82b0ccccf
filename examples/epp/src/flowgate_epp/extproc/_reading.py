"""From Envoy's messages to plain values."""

from collections.abc import Collection, Mapping
from typing import Any, Final

__all__ = ["headers_of", "metadata_of", "served_by", "status_of"]

_BALANCING: Final = "envoy.lb"
_SERVED: Final = "x-gateway-destination-endpoint-served"
_NOTHING: Final[Mapping[str, Mapping[str, object]]] = {}


def headers_of(header_map: Any) -> dict[str, str]:
    """Return headers by name; the values of one that is there several times are joined with commas."""
    headers: dict[str, str] = {}
    for header in header_map.headers:
        # Envoys before 1.31 may be set to fill in `value` instead.
        raw = header.raw_value
        value = raw.decode("utf-8", "replace") if raw else header.value
        name = header.key
        if name in headers:
            value = f"{headers[name]},{value}"
        headers[name] = value
    return headers


def metadata_of(message: Any, namespaces: Collection[str]) -> Mapping[str, Mapping[str, object]]:
    """Return the filter metadata of a message in some namespaces, as plain values; a namespace may not be there."""
    if not message.HasField("metadata_context"):
        return _NOTHING
    there = message.metadata_context.filter_metadata
    return {name: _plain_struct(there[name]) for name in namespaces if name in there}


def served_by(message: Any) -> str | None:
    """Return the endpoint that Envoy says has served the request; None where it does not say."""
    if not message.HasField("metadata_context"):
        return None
    there = message.metadata_context.filter_metadata
    # Asking a map for what it lacks would put it in.
    if _BALANCING not in there or _SERVED not in (fields := there[_BALANCING].fields):
        return None
    return fields[_SERVED].string_value or None


def status_of(header_map: Any) -> int:
    """Return a response's status; 0 where there is none that can be read."""
    for header in header_map.headers:
        if header.key == ":status":
            text = header.raw_value or header.value
            return int(text) if text.isdigit() else 0
    return 0


def _plain_struct(struct: Any) -> dict[str, object]:
    return {name: _plain(value) for name, value in struct.fields.items()}


def _plain(value: Any) -> object:
    kind = value.WhichOneof("kind")
    if kind == "struct_value":
        return _plain_struct(value.struct_value)
    if kind == "list_value":
        return [_plain(member) for member in value.list_value.values]
    return None if kind in {None, "null_value"} else getattr(value, kind)
