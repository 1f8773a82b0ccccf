"""The certificates of the fake server, and of a client that it knows."""

import base64
import ssl

import trustme

__all__ = ["Certificates"]


class Certificates:
    """An authority of our own, with a certificate for the server and one for a client.

    Attributes:
        authority: The authority's certificate, as PEM.
        client_certificate: The client's chain, as PEM; its common name is "client".
        client_key: The client's key, as PEM.
    """

    def __init__(self) -> None:
        authority = trustme.CA()
        client = authority.issue_cert(common_name="client")
        self.authority = authority.cert_pem.bytes()
        self.client_certificate = b"".join(blob.bytes() for blob in client.cert_chain_pems)
        self.client_key = client.private_key_pem.bytes()
        self._authority = authority

    @property
    def for_kubeconfig(self) -> dict[str, str]:
        """What a kubeconfig says of a user who has the client's certificate."""
        certificate, key = _encoded(self.client_certificate), _encoded(self.client_key)
        return {"client-certificate-data": certificate, "client-key-data": key}

    def for_server(self) -> ssl.SSLContext:
        """Return the server's side; it takes client certificates, and asks for none."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._authority.issue_cert("127.0.0.1", "localhost").configure_cert(context)
        self._authority.configure_trust(context)
        context.verify_mode = ssl.CERT_OPTIONAL
        return context

    def for_client(self) -> ssl.SSLContext:
        """Return the side of a client that trusts the server and has no certificate."""
        return ssl.create_default_context(cadata=self.authority.decode())


def _encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()
