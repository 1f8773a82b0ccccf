"""From what Envoy tells of a request to the pod that it goes to: read it, admit it, then pick."""

from flowgate_epp.director._director import Director
from flowgate_epp.director._fairness import estimated_tokens, token_counter
from flowgate_epp.director._ids import clean_id
from flowgate_epp.director._objectives import Objectives, StaticObjectives
from flowgate_epp.director._requests import GatewayRequest
from flowgate_epp.director._settings import DirectorSettings

__all__ = [
    "Director",
    "DirectorSettings",
    "GatewayRequest",
    "Objectives",
    "StaticObjectives",
    "clean_id",
    "estimated_tokens",
    "token_counter",
]
