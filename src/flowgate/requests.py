"""The request that most gateways submit, and how any request is read."""

import sys
from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from uuid import uuid4

from flowgate.contracts import FlowControlRequest, FlowKey

__all__ = ["Request", "id_of", "read_request"]

_LONGEST = sys.float_info.max
_NO_METADATA: Mapping[str, object] = MappingProxyType({})
# The usual kinds of metadata; asking the abstract class costs ten times as much.
_MAPPINGS = (dict, MappingProxyType)
# Most arrivals name a flow that was named lately; a hit costs a third of a new key. typed: True is not 1.
_flow_key = lru_cache(maxsize=16_384, typed=True)(FlowKey)


class Request:
    """A `FlowControlRequest` made of plain values.

    Args:
        flow_id: Whose request it is; not empty.
        priority: The band. Higher is served first; negative is sheddable.
        byte_size: Size in bytes, 0 or more.
        ttl: Longest time in the queue in seconds, finite and more than 0; None leaves it to the controller's budgets.
        metadata: What locators and policies read. Kept as it is, not copied.
        request_id: A name for logs and errors; made when first asked for, if None.

    Raises:
        ValueError: A value is out of range.
        TypeError: A value is of the wrong type.

    >>> request = Request("tenant-a", priority=2, byte_size=512, ttl=1.5)
    >>> request.flow_key()
    FlowKey(id='tenant-a', priority=2)
    """

    # Hand-written and slotted: one is made for each call, and a frozen attrs class costs three times as much.
    __slots__ = ("_byte_size", "_flow_key", "_metadata", "_request_id", "_ttl")

    def __init__(
        self,
        flow_id: str,
        priority: int = 0,
        byte_size: int = 0,
        ttl: float | None = None,
        metadata: Mapping[str, object] = _NO_METADATA,
        request_id: str | None = None,
    ) -> None:
        try:
            self._flow_key = _flow_key(flow_id, priority)
        except TypeError:  # not hashable: the key's own check says it better
            self._flow_key = FlowKey(flow_id, priority)
        if type(byte_size) is not int or not 0 <= byte_size <= sys.maxsize:
            _check_size(byte_size)
        if ttl is not None and not (type(ttl) is float and 0 < ttl <= _LONGEST):
            _check_ttl(ttl)
        if type(metadata) not in _MAPPINGS and not isinstance(metadata, Mapping):  # callers may be untyped
            raise TypeError(f"metadata must be a mapping, not {metadata!r}")
        if request_id is not None and not isinstance(request_id, str):
            raise TypeError(f"a request id must be a str, not {request_id!r}")
        self._byte_size = byte_size
        self._ttl = ttl
        self._metadata = metadata
        self._request_id = request_id

    def request_id(self) -> str:
        """Return its id, made now if nobody gave one."""
        if self._request_id is None:
            self._request_id = uuid4().hex
        return self._request_id

    def flow_key(self) -> FlowKey:
        """Return its flow."""
        return self._flow_key

    def byte_size(self) -> int:
        """Return its size in bytes."""
        return self._byte_size

    def initial_effective_ttl(self) -> float | None:
        """Return its own TTL in seconds, or None."""
        return self._ttl

    def get_metadata(self) -> Mapping[str, object]:
        """Return its metadata."""
        return self._metadata

    def __repr__(self) -> str:
        key = self._flow_key
        return f"Request({key.id!r}, priority={key.priority}, byte_size={self._byte_size}, ttl={self._ttl})"


def read_request(request: FlowControlRequest) -> tuple[FlowKey, int, float | None, Mapping[str, object]]:
    """Read a request once, and check what it says.

    Returns:
        Its flow, its size in bytes, its own TTL in seconds or None, and its metadata.

    Raises:
        ValueError: A value is out of range.
        TypeError: A value is of the wrong type.
        Exception: Whatever the request's own methods raise.
    """
    if type(request) is Request:  # checked when it was made
        return request._flow_key, request._byte_size, request._ttl, request._metadata
    key = request.flow_key()
    if not isinstance(key, FlowKey):  # requests may be untyped
        raise TypeError(f"flow_key() must answer with a FlowKey, not with {key!r}")
    byte_size = request.byte_size()
    if type(byte_size) is not int or not 0 <= byte_size <= sys.maxsize:
        _check_size(byte_size)
    ttl = request.initial_effective_ttl()
    if ttl is not None:
        _check_ttl(ttl)
    metadata = request.get_metadata()
    if not isinstance(metadata, Mapping):
        raise TypeError(f"get_metadata() must answer with a mapping, not with {metadata!r}")
    return key, byte_size, ttl, metadata


def id_of(request: FlowControlRequest) -> str | None:
    """Return a request's id; None where it has none, or fails to tell it."""
    try:
        request_id: object = request.request_id()
    except Exception:  # a custom request may raise anything, and then nobody can ask for it
        return None
    return request_id if isinstance(request_id, str) else None


def _check_size(byte_size: object) -> None:
    if not isinstance(byte_size, int) or isinstance(byte_size, bool):
        raise TypeError(f"byte_size must be an int, not {byte_size!r}")
    if not 0 <= byte_size <= sys.maxsize:
        raise ValueError(f"byte_size must be 0 or more, and at most {sys.maxsize}, not {byte_size!r:.40}")


def _check_ttl(ttl: object) -> None:
    if not isinstance(ttl, int | float) or isinstance(ttl, bool):
        raise TypeError(f"ttl must be a number of seconds, not {ttl!r}")
    if not 0 < ttl <= _LONGEST:  # NaN is not, nor is an int that no float can hold
        raise ValueError(f"ttl must be finite and more than 0 seconds, not {ttl!r:.40}")
