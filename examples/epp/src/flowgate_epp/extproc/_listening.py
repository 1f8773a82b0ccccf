"""A gRPC server of ours begins to listen, or says why it cannot."""

from typing import Any, Protocol

from flowgate_epp.extproc._certificates import Certificates
from flowgate_epp.extproc._settings import TlsSettings

__all__ = ["start_listening"]


class _Place(Protocol):
    @property
    def host(self) -> str: ...

    @property
    def port(self) -> int: ...

    @property
    def tls(self) -> TlsSettings | None: ...


async def start_listening(server: Any, place: _Place, table: str) -> int:
    """Start a server of ``grpc.aio``, and return its port.

    Args:
        server: The server, with all that it serves.
        place: Where it is to listen.
        table: The table of the program's file that says so.

    Raises:
        OSError: The address cannot be had.
        ValueError: The certificate's files cannot be used.
    """
    host = f"[{place.host}]" if ":" in place.host else place.host
    address = f"{host}:{place.port}"
    try:
        port = _bind(server, address, place.tls, table)
        await server.start()
    except BaseException as error:
        await server.stop(None)  # or it would do so by itself, when it is collected and the loop may be closed
        if isinstance(error, RuntimeError):
            raise OSError(f"{table}: {address} cannot be listened at: is another program there?") from error
        raise
    return port


def _bind(server: Any, address: str, tls: TlsSettings | None, table: str) -> int:
    if tls is None:
        return int(server.add_insecure_port(address))
    return int(server.add_secure_port(address, Certificates(tls, table).credentials()))
