"""What happens to a request on its way: a subset, the Endpoint Picker, and who has served it."""

from flowgate_epp.envoy_config._settings import BodyMode, EnvoySettings
from flowgate_epp.envoy_config._yaml import duration, quoted

__all__ = ["access_log", "http_filters"]

_MARGIN = 10.0
"""Seconds that the Endpoint Picker has, after the longest hold, to say so itself."""

_BODY_MODES: dict[BodyMode, str] = {"none": "NONE", "buffered": "BUFFERED", "streamed": "FULL_DUPLEX_STREAMED"}


def http_filters(settings: EnvoySettings) -> str:
    """Return the filters, in the order in which they see a request."""
    subset = "" if settings.subset_header is None else _subset(settings.subset_header)
    return subset + _ext_proc(settings) + _SERVED + _ROUTER


def _ext_proc(settings: EnvoySettings) -> str:
    trailers = "SEND  # FULL_DUPLEX_STREAMED demands it" if settings.body_mode == "streamed" else "SKIP"
    return f"""\
- name: envoy.filters.http.ext_proc
  typed_config:
    "@type": type.googleapis.com/envoy.extensions.filters.http.ext_proc.v3.ExternalProcessor
    grpc_service: {{envoy_grpc: {{cluster_name: epp}}}}
    # The hold itself. The default, 200 ms, ends it with 504, and status_on_error does not
    # change that. Longer than the longest TTL, so that it is the EPP who says 503 or 429.
    message_timeout: {duration(settings.longest_hold + _MARGIN)}
    # No EPP, no pick, and so no pod: never go on without it.
    failure_mode_allow: false
    # An EPP that is dead, or dies while it holds: 503, which clients may retry. The default is
    # 500.
    status_on_error: {{code: ServiceUnavailable}}
    metadata_options:
      # The pick comes as metadata, which no client can write.
      receiving_namespaces: {{untyped: [envoy.lb]}}
      # The subset of endpoints to the EPP; envoy.lb comes back with the endpoint that has
      # served.
      forwarding_namespaces: {{untyped: [envoy.lb, envoy.lb.subset_hint]}}
    processing_mode:
      request_header_mode: SEND
      request_body_mode: {_BODY_MODES[settings.body_mode]}
      request_trailer_mode: {trailers}
      # Both keep the stream to the EPP open until the response has ended, or the client has
      # gone: so it knows when to give the slot back. The response's body is not sent: tokens
      # pass at once, and cost the EPP nothing.
      response_header_mode: SEND
      response_body_mode: NONE
      response_trailer_mode: SEND
"""


def _subset(header: str) -> str:
    key = "metadata_namespace: envoy.lb.subset_hint, key: x-gateway-destination-endpoint-subset"
    return f"""\
# The subset of endpoints that a proxy before this one allows, separated by commas. Whoever
# reaches this Envoy can name it.
- name: envoy.filters.http.header_to_metadata
  typed_config:
    "@type": type.googleapis.com/envoy.extensions.filters.http.header_to_metadata.v3.Config
    request_rules:
    # An empty list, as a serialized Value: Lua below knows no empty list, its {{}} becomes a struct.
    - header: {quoted(header)}
      on_header_present: {{{key}, value: "MgA=", type: PROTOBUF_VALUE, encode: BASE64}}
- name: envoy.filters.http.lua
  typed_config:
    "@type": type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua
    default_source_code:
      inline_string: |
        function envoy_on_request(handle)
          local subset = handle:headers():get({quoted(header)})
          if subset == nil then return end
          local endpoints = {{}}
          for endpoint in string.gmatch(subset, "[^,%s]+") do table.insert(endpoints, endpoint) end
          if #endpoints > 0 then
            handle:streamInfo():dynamicMetadata():set(
              "envoy.lb.subset_hint", "x-gateway-destination-endpoint-subset", endpoints)
          end
          handle:headers():remove({quoted(header)})
        end
"""


_SERVED = """\
# Responses pass the filters from the last to the first, so this is there when ext_proc tells
# the EPP of the response.
- name: envoy.filters.http.header_to_metadata
  typed_config:
    "@type": type.googleapis.com/envoy.extensions.filters.http.header_to_metadata.v3.Config
    response_rules:
    - header: x-gateway-destination-endpoint-served
      on_header_present: {metadata_namespace: envoy.lb, key: x-gateway-destination-endpoint-served, type: STRING}
      remove: true
"""

_ROUTER = """\
- name: envoy.filters.http.router
  typed_config:
    "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
    # No x-envoy-upstream-service-time and the like: how long a pod took is not for clients.
    suppress_envoy_headers: true
"""

_ACCESS_LOG = """\
access_log:
- name: envoy.access_loggers.stdout
  typed_config:
    "@type": type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog
    log_format:
      json_format:
        time: "%START_TIME%"
        request_id: "%REQ(X-REQUEST-ID)%"
        method: "%REQ(:METHOD)%"
        path: "%REQ(:PATH)%"
        status: "%RESPONSE_CODE%"
        # Why Envoy itself has answered, if it has: UF no connection to the pod, DC the client
        # hung up, ...
        flags: "%RESPONSE_FLAGS%"
        details: "%RESPONSE_CODE_DETAILS%"
        picked: "%DYNAMIC_METADATA(envoy.lb:x-gateway-destination-endpoint)%"
        served: "%UPSTREAM_REMOTE_ADDRESS%"
        milliseconds: "%DURATION%"
        # Until the response began, the hold included.
        first_byte_milliseconds: "%RESPONSE_DURATION%"
        bytes_received: "%BYTES_RECEIVED%"
        bytes_sent: "%BYTES_SENT%"
"""


def access_log(settings: EnvoySettings) -> str:
    """Return the log of requests, where it is asked for."""
    return _ACCESS_LOG if settings.access_log else ""
