"""What may differ from one Envoy to the next."""

from collections.abc import Callable
from typing import Any, Literal, get_args

import attrs

from flowgate.validators import an_int, finite_seconds, instance_of, one_of
from flowgate_epp.envoy_config._yaml import is_ip

__all__ = ["BodyMode", "EnvoySettings"]

BodyMode = Literal["none", "buffered", "streamed"]
"""How much of a request the EPP gets to see: its headers; headers and the whole body; the same, while it arrives."""

_HEADER_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-")
_Check = Callable[[Any, "attrs.Attribute[Any]", Any], None]
_MOST = 2**31 - 1
_MOST_PORT = 65_535
_OURS = "x-gateway-destination-endpoint"  # removed from what clients send


def _whole(least: int, most: int) -> _Check:
    def check(config: object, field: "attrs.Attribute[Any]", value: int) -> None:
        an_int(config, field, value)
        if not least <= value <= most:
            raise ValueError(f"{field.name} must lie in {least}..{most}, not {value!r}")

    return check


_PORT_OR_NONE: _Check = attrs.validators.optional(_whole(0, 65_535))


def _header_name(_config: object, field: "attrs.Attribute[str | None]", value: str | None) -> None:
    if value is None:
        return
    if not value or not set(value) <= _HEADER_LETTERS:
        raise ValueError(f"{field.name} must be a header's name in lower case, not {value!r}")
    if value.startswith(_OURS):
        raise ValueError(f"{field.name} must not begin with {_OURS}, which clients may not send, but it is {value!r}")


def _host(config: object, field: "attrs.Attribute[str]", value: str) -> None:
    instance_of(str)(config, field, value)
    if not value or not value.isprintable() or " " in value:
        raise ValueError(f"{field.name} must be an address or a name, not {value!r}")


def _file(config: object, field: "attrs.Attribute[str]", value: str) -> None:
    instance_of(str)(config, field, value)
    if not value:
        raise ValueError(f"{field.name} must be a file's path, not {value!r}")


def _endpoints(_config: object, field: "attrs.Attribute[Any]", value: tuple[str, ...]) -> None:
    for endpoint in value:
        instance_of(str)(_config, field, endpoint)
        host, _, port = endpoint.rpartition(":")
        if not (is_ip(host) and port.isdecimal() and 0 < int(port) <= _MOST_PORT):
            raise ValueError(f"{field.name} must each be ADDRESS:PORT, such as '10.0.0.1:9002', not {endpoint!r}")


@attrs.frozen(kw_only=True)
class EnvoySettings:
    """What may differ from one Envoy to the next.

    Args:
        listen_host: The address on which clients are served.
        listen_port: Its port; 0 for a free one.
        admin_host: The address of Envoy's admin interface. Whoever reaches it can stop Envoy: keep it on loopback.
        admin_port: Its port; 0 for a free one, None for no admin interface.
        epp_host: Where the Endpoint Picker is: an IP address, or a name that is asked for again and again.
        epp_port: Its port.
        epp_endpoints: ``ADDRESS:PORT`` of each where there are several at fixed addresses, instead of `epp_host` and
            `epp_port`. Of several, also of those behind one name, the one in good health is asked: the leader.
        epp_tls_ca: A file with the certificate authorities that vouch for the Endpoint Picker; None for plain text.
        epp_server_name: The name in its certificate; None for `epp_host`.
        body_mode: How much of a request the Endpoint Picker gets to see.
        longest_hold: Seconds for which a request may be held: at least the longest TTL of any.
        longest_silence: Seconds for which a pod may send nothing while it works on a request, before the client gets
            504. A request that does not stream is silent until it is answered.
        longest_upload: Seconds that a client has to send its whole request, the hold not counted.
        max_held: Requests that may be in Envoy at the same time, held or being served.
        max_connections: Connections of clients; beyond that new ones are closed.
        max_body: Size in bytes of the largest request body where `body_mode` is ``buffered``; 413 beyond.
        connect_timeout: Seconds to connect to a pod or to the Endpoint Picker.
        pod_keep_alive: Seconds for which a connection to a pod is kept while idle: less than the pod's own limit.
        subset_header: A header from which a trusted proxy before this one may take the endpoints, separated by commas,
            to which a request is confined; None for none. Whoever reaches this Envoy can then choose them.
        access_log: Whether each request is written to stdout, as a line of JSON.

    Raises:
        ValueError: A value breaks its rule.
        TypeError: A value has the wrong type.
    """

    listen_host: str = attrs.field(default="127.0.0.1", validator=_host)
    listen_port: int = attrs.field(default=8080, validator=_whole(0, 65_535))
    admin_host: str = attrs.field(default="127.0.0.1", validator=_host)
    admin_port: int | None = attrs.field(default=9901, validator=_PORT_OR_NONE)
    epp_host: str = attrs.field(default="127.0.0.1", validator=_host)
    epp_port: int = attrs.field(default=9002, validator=_whole(1, 65_535))
    epp_endpoints: tuple[str, ...] = attrs.field(default=(), converter=tuple, validator=_endpoints)
    epp_tls_ca: str | None = attrs.field(default=None, validator=attrs.validators.optional(_file))
    epp_server_name: str | None = attrs.field(default=None, validator=attrs.validators.optional(_host))
    body_mode: BodyMode = attrs.field(default="none", validator=one_of(*get_args(BodyMode)))
    longest_hold: float = attrs.field(default=900.0, validator=finite_seconds)
    longest_silence: float = attrs.field(default=900.0, validator=finite_seconds)
    longest_upload: float = attrs.field(default=60.0, validator=finite_seconds)
    max_held: int = attrs.field(default=65_536, validator=_whole(1, _MOST))
    max_connections: int = attrs.field(default=65_536, validator=_whole(1, _MOST))
    max_body: int = attrs.field(default=32 * 2**20, validator=_whole(1, _MOST))
    connect_timeout: float = attrs.field(default=2.0, validator=finite_seconds)
    pod_keep_alive: float = attrs.field(default=4.0, validator=finite_seconds)
    subset_header: str | None = attrs.field(default=None, validator=_header_name)
    access_log: bool = attrs.field(default=False, validator=instance_of(bool))

    def __attrs_post_init__(self) -> None:
        if self.epp_endpoints and self.epp_tls_ca is not None and self.epp_server_name is None:
            raise ValueError("epp_server_name must be given where epp_endpoints are spoken to over TLS, not None")
