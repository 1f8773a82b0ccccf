"""What an operator asks over HTTP: is it well, what does it count, and what is going on."""

from flowgate_epp.admin._board import Board
from flowgate_epp.admin._server import AdminServer
from flowgate_epp.admin._settings import AdminSettings

__all__ = ["AdminServer", "AdminSettings", "Board"]
