"""The external processing server: one gRPC stream of Envoy's for each HTTP request."""

from flowgate_epp.extproc._certificates import Certificates
from flowgate_epp.extproc._exchange import Exchange
from flowgate_epp.extproc._listening import start_listening
from flowgate_epp.extproc._notices import Notices
from flowgate_epp.extproc._server import ExtProcServer
from flowgate_epp.extproc._settings import ServerSettings, TlsSettings

__all__ = [
    "Certificates",
    "Exchange",
    "ExtProcServer",
    "Notices",
    "ServerSettings",
    "TlsSettings",
    "start_listening",
]
