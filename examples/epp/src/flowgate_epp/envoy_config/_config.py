"""The whole file."""

from flowgate_epp.envoy_config._clusters import clusters
from flowgate_epp.envoy_config._listener import listener
from flowgate_epp.envoy_config._settings import EnvoySettings
from flowgate_epp.envoy_config._yaml import address, block

__all__ = ["envoy_config"]

_CONNECTIONS = "envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig"


def envoy_config(settings: EnvoySettings) -> str:
    """Return Envoy's configuration as YAML, with the reason for each line as a comment.

    It holds requests for long and in great numbers, and what clients send cannot choose where they go.

    Args:
        settings: What may differ.
    """
    return f"""\
# Envoy 1.37 or newer before flowgate's Endpoint Picker (EPP). A held request is an open
# connection and a stream to the EPP: the limits and timeouts below are what lets thousands of
# them wait for minutes. Allow as many open files (ulimit -n) as there are connections of
# clients and to pods together. To stop gracefully: POST /drain_listeners?graceful to the admin
# interface, and SIGTERM once no request is active; SIGTERM alone cuts what is held.
{_admin(settings)}\
overload_manager:
  resource_monitors:
  # What is beyond it is closed unseen, so that Envoy never runs out of files.
  - name: envoy.resource_monitors.global_downstream_max_connections
    typed_config:
      "@type": type.googleapis.com/{_CONNECTIONS}
      max_active_downstream_connections: {settings.max_connections}
static_resources:
  listeners:
{block(1, listener(settings))}\
  clusters:
{block(1, clusters(settings))}"""


def _admin(settings: EnvoySettings) -> str:
    if settings.admin_port is None:
        return ""
    return f"""\
# /ready, /stats/prometheus, /drain_listeners?graceful, and the means to stop Envoy: for its
# operators only.
admin:
  address: {address(settings.admin_host, settings.admin_port)}
"""
