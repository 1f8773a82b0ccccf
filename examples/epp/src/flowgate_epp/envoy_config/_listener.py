"""Where clients come in: limits and timeouts under which a request can be held for long."""

from flowgate_epp.envoy_config._filters import access_log, http_filters
from flowgate_epp.envoy_config._settings import EnvoySettings
from flowgate_epp.envoy_config._yaml import address, block, duration

__all__ = ["listener"]

_STREAM_WINDOW = 65_536
_MOST_WINDOW = 2**31 - 1  # bytes; HTTP/2's own limit


def listener(settings: EnvoySettings) -> str:
    """Return the one listener, with its connection manager, its route and its filters."""
    manager = _connection_manager(settings) + _route(settings) + "http_filters:\n" + http_filters(settings)
    return f"""\
- name: clients
  address: {address(settings.listen_host, settings.listen_port)}
  # Of a body that nobody reads yet, since its request is held, this much is kept in memory; the
  # rest stays with the client. With the default, a megabyte, ten thousand held uploads are ten
  # gigabytes.
  per_connection_buffer_limit_bytes: {_STREAM_WINDOW}
  # A client that vanished without a word keeps its place in the queue until somebody asks for
  # it: after a minute.
  tcp_keepalive: {{keepalive_time: 30, keepalive_interval: 10, keepalive_probes: 3}}
  filter_chains:
  - filters:
    - name: envoy.filters.network.http_connection_manager
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
{block(4, manager)}"""


def _connection_manager(settings: EnvoySettings) -> str:
    window = min(_STREAM_WINDOW * settings.max_held, _MOST_WINDOW)
    # Only where the body is not asked for does a hold stop its upload.
    is_stopped = settings.body_mode == "none"
    held = settings.longest_hold if is_stopped else 0.0
    upload = "# From a request's first byte to its last" + (
        ", the hold included: it stops large uploads." if is_stopped else "."
    )
    return f"""\
stat_prefix: clients
# HTTP/1.1 and HTTP/2, told apart by their first bytes (by ALPN once there is TLS).
codec_type: AUTO
http2_protocol_options:
  # The default, 1024, is what one HTTP/2 connection may have held; what is beyond it waits
  # unseen in the client.
  max_concurrent_streams: {settings.max_held}
  # Of each upload that is held, one window is on its way. The connection's window must have
  # room for all of them, or a few held uploads stop every other request of their connection.
  initial_stream_window_size: {_STREAM_WINDOW}
  initial_connection_window_size: {window}
common_http_protocol_options:
  # For connections without a request; one whose request is held is not idle.
  idle_timeout: 300s
# The default, five minutes without a byte in either direction, would end a hold with 504.
stream_idle_timeout: 0s
# Headers that do not end; the default is for ever.
request_headers_timeout: 10s
{upload}
request_timeout: {duration(held + settings.longest_upload)}
# The peer is the client, and goes on in x-forwarded-for; behind another proxy say
# xff_num_trusted_hops. No client is an internal one, unless internal_address_config makes it
# so: Envoy would obey its x-envoy-max-retries and x-envoy-upstream-rq-timeout-ms.
use_remote_address: true
normalize_path: true
# One id for a request, from the client through the EPP's logs to the pod: its own, or a new
# one; told in the answer.
generate_request_id: true
preserve_external_request_id: true
always_set_request_id_in_response: true
# Without `tracing` here, traceparent and tracestate go on as the client sent them; the EPP
# joins its spans to them.
early_header_mutation_extensions:
# Before any filter: where a request goes, may go and was served is not for clients to say.
- name: envoy.http.early_header_mutation.header_mutation
  typed_config:
    "@type": type.googleapis.com/envoy.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation
    mutations:
    - remove_on_match: {{key_matcher: {{prefix: x-gateway-destination-endpoint}}}}
{_LOCAL_REPLIES}{access_log(settings)}"""


_LOCAL_REPLIES = """\
# A 503 of Envoy's own means that an EPP or a pod was lost, or that no EPP leads: within seconds
# another has taken its place. The EPP's refusals pass here, too: whether, and when, to come again
# is for it to say.
local_reply_config:
  mappers:
  - filter:
      extension_filter:
        name: envoy.access_loggers.extension_filters.cel
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.access_loggers.filters.cel.v3.ExpressionFilter
          expression: response.code == 503 && !response.code_details.startsWith("flowgate_epp")
    headers_to_add:
    - header: {key: retry-after, value: "2"}
      append_action: ADD_IF_ABSENT
"""


def _route(settings: EnvoySettings) -> str:
    # Not the connection's limit, which would let every socket buffer as much.
    limit = (
        f"""\
    # The EPP gets each body in one message: {settings.max_body} bytes, 413 beyond. Its gRPC server must take as much.
    request_body_buffer_limit: {settings.max_body}
"""
        if settings.body_mode == "buffered"
        else ""
    )
    return f"""\
route_config:
  name: all
  virtual_hosts:
  - name: all
    domains: ["*"]
{limit}    routes:
    - match: {{prefix: /}}
      route:
        cluster: pods
        # The default, 15 s, is shorter than many an answer.
        timeout: 0s
        retry_policy:
          # No retry_on, on purpose. A retry does not ask the EPP again: it goes to the same
          # pod, dead or full, behind the back of whoever counts its requests. The client's own
          # retry is a new request, and a new pick.
          num_retries: 0
          # A pod that says nothing for so long has hung: 504. It starts when the pod has the
          # request, not with the hold, as the route's own idle_timeout would.
          per_try_idle_timeout: {duration(settings.longest_silence)}
      response_headers_to_add:
      # Who has served it, for the EPP: made metadata below, and never seen by clients.
      - header: {{key: x-gateway-destination-endpoint-served, value: "%UPSTREAM_REMOTE_ADDRESS%"}}
        append_action: OVERWRITE_IF_EXISTS_OR_ADD
"""
