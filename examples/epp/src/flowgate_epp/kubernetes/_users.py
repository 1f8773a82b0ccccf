"""Who we are to the API server."""

from typing import Protocol

import attrs

from flowgate_epp.kubernetes._errors import CredentialsError
from flowgate_epp.kubernetes._files import Content

__all__ = ["Identity", "KeyPair", "KnownUser", "User", "bearer"]


@attrs.frozen
class KeyPair:
    """A client's certificate and its key, both PEM."""

    certificate: bytes = attrs.field(repr=False)
    key: bytes = attrs.field(repr=False)


@attrs.frozen
class Identity:
    """What a request shows of us.

    Args:
        authorization: The header's value.
        key_pair: What TLS shows.
    """

    authorization: str | None = attrs.field(default=None, repr=False)
    key_pair: KeyPair | None = None


class User(Protocol):
    """Knows who we are: asked before each request."""

    async def identity(self) -> Identity:
        """Return what holds now.

        Raises:
            CredentialsError: There is nothing to show.
        """
        ...

    def refuse(self, identity: Identity) -> None:
        """Hear that the server did not accept an identity: return a newer one from now on, if there is any."""
        ...


@attrs.frozen
class KnownUser:
    """A user whose token or key pair stands somewhere; anonymous where there is neither.

    Args:
        token: A bearer token.
        certificate: A client certificate, PEM.
        key: Its key, PEM; there exactly when the certificate is.
        where: Where they are named, for error messages.
    """

    token: Content | None = None
    certificate: Content | None = None
    key: Content | None = None
    where: str = ""

    @property
    def is_anonymous(self) -> bool:
        """Whether there is nothing to show."""
        return self.token is None and self.certificate is None

    async def identity(self) -> Identity:
        """Return what the files hold now."""
        return self.now()

    def now(self) -> Identity:
        """Return the same without a loop."""
        authorization = None if self.token is None else bearer(self.token.read(), self.where)
        if self.certificate is None or self.key is None:
            return Identity(authorization)
        return Identity(authorization, KeyPair(self.certificate.read(), self.key.read()))

    def refuse(self, identity: Identity) -> None:  # noqa: ARG002 - the contract's
        """Read the files anew."""
        for content in (self.token, self.certificate, self.key):
            if content is not None:
                content.forget()


def bearer(token: bytes, where: str) -> str:
    """Return the header's value for a token.

    Raises:
        CredentialsError: No header may hold it; it is not shown.
    """
    try:
        text = token.decode("ascii").strip()
    except UnicodeDecodeError:
        text = ""
    if not text or not all("!" <= character <= "~" for character in text):
        raise CredentialsError(f"{where}: the token must be one word of visible ASCII characters")
    return f"Bearer {text}"
