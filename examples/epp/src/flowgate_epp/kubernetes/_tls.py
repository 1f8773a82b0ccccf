"""How the API server is trusted, and how we show who we are beside a token."""

import os
import ssl
import tempfile
from pathlib import Path

import attrs

from flowgate_epp.kubernetes._errors import CredentialsError
from flowgate_epp.kubernetes._files import Content
from flowgate_epp.kubernetes._users import KeyPair

__all__ = ["Trust"]


@attrs.define(eq=False)
class Trust:
    """Makes TLS contexts; the same one for as long as nothing changes, for connections are pooled by it.

    Args:
        authority: Certificates, PEM, of those who may sign the server's; None for the system's.
        is_skipped: Whether any server is trusted.
        where: Where that stands, for error messages.
    """

    authority: Content | None
    is_skipped: bool
    where: str
    _made: "tuple[bytes, KeyPair | None, ssl.SSLContext] | None" = attrs.field(default=None, init=False, repr=False)

    def context(self, pair: KeyPair | None) -> ssl.SSLContext:
        """Return the context for a client certificate, or for none.

        Raises:
            CredentialsError: A certificate or a key is of no use.
        """
        authority = b"" if self.authority is None else self.authority.read()
        if self._made is None or self._made[:2] != (authority, pair):
            self._made = authority, pair, self._make(authority, pair)
        return self._made[2]

    def forget(self) -> None:
        """Read the authority anew: the server's certificate was not accepted."""
        if self.authority is not None:
            self.authority.forget()

    def _make(self, authority: bytes, pair: KeyPair | None) -> ssl.SSLContext:
        # Not create_default_context: from Python 3.13 on it refuses authorities of many a cluster (no key identifier).
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        if self.is_skipped:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        elif self.authority is None:
            context.load_default_certs()
        else:
            try:
                # Between certificates bundles have names of their owners, in any alphabet.
                context.load_verify_locations(cadata=authority.decode("ascii", "ignore"))
            except (OSError, ValueError) as error:  # ssl.SSLError is the one; nothing at all is the other
                raise CredentialsError(
                    f"{self.where}: the certificate authority must be certificates in PEM"
                ) from error
        if pair is not None:
            _show(context, pair, self.where)
        return context


def _show(context: ssl.SSLContext, pair: KeyPair, where: str) -> None:
    # The ssl module reads keys from files only; this one has gone when the function returns.
    with tempfile.TemporaryDirectory(prefix="flowgate-") as folder:
        path = Path(folder) / "pair.pem"
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(pair.certificate.rstrip() + b"\n" + pair.key)
        try:
            context.load_cert_chain(path, password=_no_passphrase)
        except (OSError, ValueError):
            # What ssl says of a key is not told: it may quote from it.
            raise CredentialsError(
                f"{where}: the client's certificate and key must be a pair in PEM, the key without a passphrase"
            ) from None


def _no_passphrase() -> str:
    raise ValueError("the key has a passphrase")
