"""The subset hint of the endpoint-picker protocol, read once into a canonical selection.

A gateway narrows a request to some endpoints with ``metadata["envoy.lb.subset_hint"]
["x-gateway-destination-endpoint-subset"]``, a list of ``ip:port``. Key and candidates both come from what is parsed
here, so two requests share a key exactly when they share a selection.
"""

import enum
import functools
import ipaddress
import re
from collections.abc import Mapping
from typing import TypeAlias, cast

__all__ = ["Member", "Selection", "canonical_host", "parse_hint"]

_NAMESPACE = "envoy.lb.subset_hint"
_KEY = "x-gateway-destination-endpoint-subset"

ANY_PORT = 0
_HIGHEST_PORT = 65_535
# The longest DNS name has 253 characters. Beyond it nothing is parsed or remembered of what a client may have sent.
_LONGEST_MEMBER = 300
_HOST_AND_PORT = re.compile(r"(\[[^\[\]\s]+\]|[^\[\]:\s]+)(?::([0-9]{1,5}))?")

Member: TypeAlias = tuple[str, int]
"""A canonical host, and a port or `ANY_PORT`."""


class Selection(enum.Enum):
    """A selection that names no members."""

    ALL = "all"
    """No hint: every pod."""
    MALFORMED = "malformed"
    """A hint that cannot be read: no pod. Not equal to an empty list, which is a hint that can."""


def parse_hint(metadata: Mapping[str, object]) -> tuple[Member, ...] | Selection:
    """Read the hint: its members sorted and without duplicates, or why there are none."""
    if _NAMESPACE not in metadata:
        return Selection.ALL
    namespace = metadata[_NAMESPACE]
    if not isinstance(namespace, Mapping):
        return Selection.MALFORMED
    hints = cast("Mapping[object, object]", namespace)
    return _parse_members(hints[_KEY]) if _KEY in hints else Selection.ALL


def canonical_host(address: str) -> str:
    """Write an address so that equal addresses are equal texts; host names in lower case."""
    return (":" in address and _compressed(address)) or address.lower()


def _parse_members(value: object) -> tuple[Member, ...] | Selection:
    if not isinstance(value, list | tuple):
        return Selection.MALFORMED
    members: set[Member] = set()
    for text in cast("list[object] | tuple[object, ...]", value):
        member = _parse_member(text) if isinstance(text, str) and len(text) <= _LONGEST_MEMBER else None
        if member is None:
            return Selection.MALFORMED
        members.add(member)
    return tuple(sorted(members))


@functools.lru_cache(maxsize=16_384)  # gateways name the same endpoints again and again
def _parse_member(text: str) -> Member | None:
    match = _HOST_AND_PORT.fullmatch(text)
    # Neither host nor host:port, so at most an IPv6 address without brackets; it cannot name a port.
    host, port = match.groups() if match else (f"[{text}]", None)
    name = _compressed(host[1:-1]) if host.startswith("[") else host.lower()
    if name is None:
        return None
    if port is None:
        return name, ANY_PORT
    return (name, int(port)) if 1 <= int(port) <= _HIGHEST_PORT else None


@functools.lru_cache(maxsize=16_384)
def _compressed(address: str) -> str | None:
    try:
        return str(ipaddress.IPv6Address(address))
    except ValueError:
        return None
