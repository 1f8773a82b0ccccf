"""Server certificates that follow their files."""

import logging
import ssl
from pathlib import Path
from typing import Any

import grpc

from flowgate_epp.extproc._settings import TlsSettings

__all__ = ["Certificates"]

_logger = logging.getLogger("flowgate_epp.extproc")
_Stamp = tuple[tuple[int, int, int], ...]


class Certificates:
    """The files of a `TlsSettings`, looked at for each new connection and read again when they have changed.

    Files that cannot be used are logged once; what was read before stays in force.

    Args:
        settings: The files.
        table: The table of the program's file whose ``tls`` they are.

    Raises:
        ValueError: They cannot be used at the start.
    """

    def __init__(self, settings: TlsSettings, table: str = "server") -> None:
        self._settings = settings
        self._table = f"{table}.tls"
        self._complaint = ""
        self._stamp = self._look()
        self._first = self._read()

    def credentials(self) -> Any:
        """Return what gRPC listens with; it calls back from threads of its own."""
        return grpc.dynamic_ssl_server_credentials(
            self._first, self.changed, require_client_authentication=self._settings.client_ca is not None
        )

    def changed(self) -> Any:
        """Return what the files hold now, or None when that is not new or of no use."""
        try:
            stamp = self._look()
            if stamp == self._stamp:
                return None
            fresh = self._read()
            # Replaced between two reads, certificate and key may not be of one pair; the next connection looks again.
            if self._look() != stamp:
                return None
        except ValueError as error:
            if str(error) != self._complaint:
                self._complaint = str(error)
                _logger.warning("%s; the certificate from before stays in force", error)
            return None
        self._stamp, self._complaint = stamp, ""
        _logger.info("the certificate in %s has been read anew", self._settings.certificate)
        return fresh

    def _look(self) -> _Stamp:
        try:
            stats = [Path(path).stat() for path in self._paths()]
        except OSError as error:
            raise ValueError(f"{self._table}: {error.filename} cannot be read: {error.strerror}") from error
        return tuple((stat.st_ino, stat.st_mtime_ns, stat.st_size) for stat in stats)

    def _read(self) -> Any:
        settings = self._settings
        try:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(settings.certificate, settings.key, password=_no_passphrase)
            if settings.client_ca is not None:
                context.load_verify_locations(settings.client_ca)
            certificate, key, *client_ca = (Path(path).read_bytes() for path in self._paths())
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            paths = " and ".join(self._paths())
            raise ValueError(f"{self._table}: {paths} cannot be used for TLS: {error}") from error
        roots = client_ca[0] if client_ca else None
        return grpc.ssl_server_certificate_configuration([(key, certificate)], root_certificates=roots)

    def _paths(self) -> list[str]:
        settings = self._settings
        return [path for path in (settings.certificate, settings.key, settings.client_ca) if path is not None]


def _no_passphrase() -> str:
    raise ValueError("the key has a passphrase")
