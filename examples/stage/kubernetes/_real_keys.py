"""What a real API server and its clients trust: certificates, a key for service accounts, and tokens of users."""

import csv
import secrets
import ssl
from pathlib import Path

import trustme
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

__all__ = ["Keys"]

_ADMINS = "system:masters"


class Keys:
    """The keys of one API server, in a folder.

    Args:
        folder: Where the server reads them.

    Attributes:
        authority: The authority's certificate, as PEM.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._tokens = {"admin": secrets.token_urlsafe(16)}
        authority = trustme.CA()
        self.authority = authority.cert_pem.bytes()
        server = authority.issue_cert("127.0.0.1", "localhost")
        self._write("server.crt", b"".join(blob.bytes() for blob in server.cert_chain_pems))
        self._write("server.key", server.private_key_pem.bytes())
        accounts = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self._write("accounts.key", accounts.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        with self._write("tokens.csv", b"").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerow([self._tokens["admin"], "admin", "admin", _ADMINS])

    def options(self) -> list[str]:
        """Return the options that name them on the server's command line."""
        named = {
            "tls-cert-file": "server.crt",
            "tls-private-key-file": "server.key",
            "service-account-key-file": "accounts.key",
            "service-account-signing-key-file": "accounts.key",
            "token-auth-file": "tokens.csv",
        }
        return [f"--{option}={self._folder / name}" for option, name in named.items()]

    def for_client(self) -> ssl.SSLContext:
        """Return the side of a client that trusts the server."""
        return ssl.create_default_context(cadata=self.authority.decode())

    def token(self, user: str) -> str:
        """Return a user's token; raises KeyError for one who has none."""
        return self._tokens[user]

    def keep(self, user: str, token: str) -> None:
        """Remember a token that the server has given to a user."""
        self._tokens[user] = token

    def _write(self, name: str, content: bytes) -> Path:
        path = self._folder / name
        path.touch(mode=0o600)
        path.write_bytes(content)
        return path
