"""A whole gateway and its clients, for tests: beside what the stage needs, this needs h2 and prometheus-client."""

from examples.stage.gateway._gateway import Call, Gateway, completion
from examples.stage.gateway._http2 import Answer, Broken, Http2Connection, Http2Request
from examples.stage.gateway._readings import Readings

__all__ = ["Answer", "Broken", "Call", "Gateway", "Http2Connection", "Http2Request", "Readings", "completion"]
