"""From the headers of an HTTP request to the request that flowgate holds."""

from collections.abc import Mapping
from types import MappingProxyType

import attrs

from flowgate import Request
from flowgate_asgi._types import Scope

__all__ = ["Route"]

_CLASSES: Mapping[str, int] = MappingProxyType({"interactive": 10, "standard": 0, "batch": -10})


@attrs.frozen
class Route:
    """How the requests below one path are admitted.

    Args:
        prefix: The path, and with it all paths below.
        flow: The header that names whose request it is: an equal share goes to each. Set it where you authenticate.
        anonymous: Whose request it is when the header is missing.
        priority: The header that names a class of service.
        priorities: The priority of each class; a class that is not listed has 0. Clients never write the number.
        ttl: The header in which a client says how long it is willing to wait, in seconds.
        max_ttl: The longest that any request of this route waits, in seconds, whatever its client says.

    >>> Route("/v1", priorities={"gold": 5}).prefix
    '/v1'
    """

    prefix: str = "/"
    flow: str = "x-tenant"
    anonymous: str = "anonymous"
    priority: str = "x-class"
    priorities: Mapping[str, int] = _CLASSES
    ttl: str = "x-max-wait"
    max_ttl: float = attrs.field(default=30.0, validator=[attrs.validators.gt(0), attrs.validators.lt(float("inf"))])

    def covers(self, path: str) -> bool:
        """Say whether a path is the prefix, or lies below it."""
        prefix = self.prefix.rstrip("/")
        return path == prefix or path.startswith(f"{prefix}/")

    def read(self, scope: Scope) -> Request:
        """Make flowgate's request; locators and policies find method, path and headers in its metadata.

        Raises:
            ValueError: A header has a bad value.
        """
        headers = _headers(scope)
        return Request(
            headers.get(self.flow) or self.anonymous,
            priority=self.priorities.get(headers.get(self.priority, ""), 0),
            byte_size=_whole_number("content-length", headers.get("content-length", "0")),
            ttl=min(self.max_ttl, _seconds(self.ttl, headers[self.ttl])) if self.ttl in headers else self.max_ttl,
            metadata={"method": scope["method"], "path": scope["path"], "headers": headers},
        )


def _headers(scope: Scope) -> Mapping[str, str]:
    headers: dict[str, str] = {}
    for name, value in scope["headers"]:
        headers.setdefault(name.decode("latin-1").lower(), value.decode("latin-1"))
    return MappingProxyType(headers)


def _whole_number(name: str, text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f"{name} must be a number of bytes, not {text!r}")
    return int(text)


def _seconds(name: str, text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not seconds > 0:  # NaN is not
        raise ValueError(f"{name} must be more than 0 seconds, not {text!r}")
    return seconds
