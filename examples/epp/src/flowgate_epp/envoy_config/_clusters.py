"""Whom Envoy talks to: the Endpoint Picker, and the pods that it picks."""

from flowgate_epp.envoy_config._settings import EnvoySettings
from flowgate_epp.envoy_config._yaml import address, block, duration, is_ip, quoted

__all__ = ["clusters"]

_MOST_FRAMES = 2**31 - 1


def clusters(settings: EnvoySettings) -> str:
    """Return both clusters."""
    return _epp(settings) + _pods(settings)


def _circuit_breakers(settings: EnvoySettings) -> str:
    most = settings.max_held
    return f"""\
# A held request counts. The defaults are 1024, and what is beyond them is refused.
circuit_breakers:
  thresholds: [{{max_connections: {most}, max_pending_requests: {most}, max_requests: {most}}}]
"""


def _epp(settings: EnvoySettings) -> str:
    return f"""\
- name: epp
{block(1, _discovery(settings))}\
  load_assignment:
    cluster_name: epp
    endpoints:
    - lb_endpoints:
{block(3, _endpoints(settings))}\
  connect_timeout: {duration(settings.connect_timeout)}
{block(1, _http2(settings))}\
{block(1, _circuit_breakers(settings))}\
  # A host that is lost without a word is noticed within half a minute, and those whom it held
  # get 503. Not by HTTP/2 PINGs (connection_keepalive): a gRPC server takes several within five
  # minutes on a connection without data, which is what a hold is, for abuse, and closes it with
  # all that it holds.
  upstream_connection_options:
    tcp_keepalive: {{keepalive_time: 15, keepalive_interval: 5, keepalive_probes: 3}}
{block(1, _HEALTH)}\
{block(1, _tls(settings))}"""


def _endpoints(settings: EnvoySettings) -> str:
    places = [endpoint.rpartition(":")[::2] for endpoint in settings.epp_endpoints]
    places = places or [(settings.epp_host, str(settings.epp_port))]
    return "".join(f"- endpoint: {{address: {address(host, int(port))}}}\n" for host, port in places)


def _discovery(settings: EnvoySettings) -> str:
    return "type: STATIC\n" if settings.epp_endpoints or is_ip(settings.epp_host) else _DNS


_DNS = """\
cluster_type:
  name: envoy.cluster.dns
  typed_config:
    "@type": type.googleapis.com/envoy.extensions.clusters.dns.v3.DnsCluster
    dns_lookup_family: ALL
    # An EPP that comes back with another address is found within a second or two.
    dns_refresh_rate: 1s
    dns_failure_refresh_rate: {base_interval: 0.5s, max_interval: 2s}
"""


def _http2(settings: EnvoySettings) -> str:
    return f"""\
typed_extension_protocol_options:
  envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
    "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
    explicit_http_config:
      http2_protocol_options:
        # Each held request is a stream of one connection; the EPP's own limit counts too.
        max_concurrent_streams: {settings.max_held}
        # Frames may pile up while the EPP is busy with a burst. Beyond these limits (by default
        # 1000 and 10000) Envoy closes the connection: a thousand clients that hang up at once
        # would take all the others with them.
        max_outbound_control_frames: {min(4 * settings.max_held, _MOST_FRAMES)}
        max_outbound_frames: {min(16 * settings.max_held, _MOST_FRAMES)}
"""


_HEALTH = """\
health_checks:
# An EPP that drains, or is no leader, says so: nothing new goes there from then on, and what it
# holds stays. Of those that can only be slow (timeouts), three in a row count: a burst keeps a
# busy EPP from answering for a second or two.
- grpc_health_check: {}
  timeout: 5s
  interval: 1s
  no_traffic_interval: 0.25s  # until the first request; the default is a minute
  unhealthy_interval: 0.25s  # once it is back, traffic flows again within this time
  unhealthy_threshold: 3
  healthy_threshold: 1
# With no healthy EPP, 503 at once. By default Envoy then sends to unhealthy ones: to an EPP
# that hangs, or does not lead.
common_lb_config: {healthy_panic_threshold: {value: 0}}
"""


def _tls(settings: EnvoySettings) -> str:
    if settings.epp_tls_ca is None:
        return ""
    return f"""\
transport_socket:
  name: envoy.transport_sockets.tls
  typed_config:
    "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext
{block(2, _server_name(settings))}\
    common_tls_context:
      # A gRPC server hangs up on who does not say that it speaks HTTP/2. For requests Envoy says so by
      # itself, for health checks it does not.
      alpn_protocols: [h2]
      validation_context:
        trusted_ca: {{filename: {quoted(settings.epp_tls_ca)}}}
{block(4, _address_in_certificate(settings))}\
"""


def _server_name(settings: EnvoySettings) -> str:
    name = settings.epp_server_name or settings.epp_host
    if is_ip(name):  # no name to ask for in the handshake
        return ""
    return f"""\
sni: {quoted(name)}
# Without it any certificate of the authority would do, whoever it was made for.
auto_sni_san_validation: true
"""


def _address_in_certificate(settings: EnvoySettings) -> str:
    name = settings.epp_server_name or settings.epp_host
    if not is_ip(name):
        return ""
    return f"""\
# Without it any certificate of the authority would do, whoever it was made for.
match_typed_subject_alt_names: [{{san_type: IP_ADDRESS, matcher: {{exact: {quoted(name.strip("[]"))}}}}}]
"""


def _pods(settings: EnvoySettings) -> str:
    return f"""\
- name: pods
  # Goes where the metadata says, which only the EPP can write. Not where the header says: with
  # use_http_header a client would choose its own pod whenever the EPP's answer is missing.
  type: ORIGINAL_DST
  lb_policy: CLUSTER_PROVIDED
  original_dst_lb_config:
    metadata_key: {{key: envoy.lb, path: [{{key: x-gateway-destination-endpoint}}]}}
  # A pod that died after it was picked: 503 at once where its host refuses, after this time
  # where nobody answers. More than a second, after which the kernel asks a second time.
  connect_timeout: {duration(settings.connect_timeout)}
{block(1, _circuit_breakers(settings))}\
  typed_extension_protocol_options:
    envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
      "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
      explicit_http_config: {{http_protocol_options: {{}}}}
      common_http_protocol_options:
        # Shorter than the pods' own (5 s in vLLM): a request that meets a connection while the
        # pod closes it gets 503.
        idle_timeout: {duration(settings.pod_keep_alive)}
"""
