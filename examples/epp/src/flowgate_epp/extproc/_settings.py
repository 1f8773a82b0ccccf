"""How the server listens, what it reads, and how long it waits when it stops."""

from typing import Final

import attrs
from attrs.validators import deep_iterable, optional

from flowgate.validators import an_int, at_least, finite_seconds, instance_of, number_in

__all__ = ["ServerSettings", "TlsSettings"]

_MEBIBYTE: Final = 1 << 20
_LONGEST_LAME_DUCK: Final = 3600
_LONGEST_KEEPALIVE: Final = 86_400  # gRPC counts milliseconds, in 32 bits
_NAMESPACES: Final = ("envoy.lb.subset_hint", "envoy.lb")


@attrs.frozen
class TlsSettings:
    """Files in PEM form, read again for the next connection after they have changed.

    Attributes:
        certificate: The server's certificate and what leads from it to its authority.
        key: Its private key, without a passphrase.
        client_ca: Whose certificates clients must show; None asks clients for none.
    """

    certificate: str = attrs.field(validator=instance_of(str))
    key: str = attrs.field(validator=instance_of(str))
    client_ca: str | None = attrs.field(default=None, validator=optional(instance_of(str)))


@attrs.frozen
class ServerSettings:
    """Where Envoy finds us, and within which bounds.

    Attributes:
        host: The address to listen at; ``"::"`` takes IPv4 and IPv6.
        port: The port, 0 for any that is free.
        tls: The certificate; None speaks plaintext.
        max_body_bytes: The longest request body to be looked at, in bytes; a longer one is answered with 413.
        metadata_namespaces: The namespaces of Envoy's filter metadata that a decision may need; others are not read.
        drain_timeout: Seconds that the streams which are open at a shutdown may still last.
        lame_duck: Seconds before that in which a shutdown still takes new requests, though it says that it is not to be
            sent any: for as long as those who send them may not have noticed. Where one of several leads, its health
            stays good for the first half of them, in which Envoy finds the next leader. None: 4 there, for so long
            Envoy may take; else 0.
        keepalive: Seconds of silence after which a connection of Envoy's is asked for a sign of life, so that the slots
            of an Envoy that has vanished come back.
    """

    host: str = attrs.field(default="0.0.0.0", validator=instance_of(str))  # noqa: S104 - Envoy is another machine
    port: int = attrs.field(default=9002, validator=[an_int, number_in(0, 65535)])
    tls: TlsSettings | None = None
    max_body_bytes: int = attrs.field(default=16 * _MEBIBYTE, validator=at_least(0))
    metadata_namespaces: tuple[str, ...] = attrs.field(
        default=_NAMESPACES, converter=tuple, validator=deep_iterable(instance_of(str))
    )
    drain_timeout: float = attrs.field(default=30.0, validator=finite_seconds)
    lame_duck: float | None = attrs.field(default=None, validator=optional(number_in(0, _LONGEST_LAME_DUCK)))
    keepalive: float = attrs.field(default=30.0, validator=[finite_seconds, number_in(0, _LONGEST_KEEPALIVE)])
