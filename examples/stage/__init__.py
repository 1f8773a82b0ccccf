"""Real processes on loopback: Envoy, the Endpoint Picker and model servers, for demo, tests and benchmark."""

from examples.stage._parts import Envoy, Epp, ModelServer
from examples.stage._processes import Spawned, StartError, free_port, wait_until
from examples.stage._stage import Stage

__all__ = ["Envoy", "Epp", "ModelServer", "Spawned", "Stage", "StartError", "free_port", "wait_until"]
