"""Envoy's configuration: generated, so that no line of it is forgotten, and each with its reason."""

from flowgate_epp.envoy_config._config import envoy_config
from flowgate_epp.envoy_config._settings import BodyMode, EnvoySettings

__all__ = ["BodyMode", "EnvoySettings", "envoy_config"]
