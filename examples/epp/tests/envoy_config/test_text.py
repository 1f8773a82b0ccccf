"""The text: valid whatever is chosen, with the values that a hold needs."""

import itertools
import re
import subprocess
import sys

import pytest
import trustme
import yaml

from flowgate_epp.envoy_config import EnvoySettings, envoy_config
from flowgate_epp.envoy_config.__main__ import main

PLACES = {
    "address": {},
    "name": {"epp_host": "epp.example", "listen_host": "0.0.0.0", "admin_port": None},  # noqa: S104 - it is asked from other machines
    "several": {"epp_endpoints": ["10.0.0.1:9002", "[::1]:9003"], "epp_server_name": "epp.example"},
    "ipv6": {"epp_host": "[::1]", "listen_host": "::"},
}
EXTRAS = {"plain": {}, "all": {"subset_header": "x-subset", "access_log": True, "max_held": 2**31 - 1}}


def manager(text):
    listener = yaml.safe_load(text)["static_resources"]["listeners"][0]
    return listener["filter_chains"][0]["filters"][0]["typed_config"]


def filters(text):
    return {
        each["name"].removeprefix("envoy.filters.http."): each["typed_config"] for each in manager(text)["http_filters"]
    }


def clusters(text):
    return {cluster["name"]: cluster for cluster in yaml.safe_load(text)["static_resources"]["clusters"]}


@pytest.fixture(scope="session")
def authority(tmp_path_factory):
    file = tmp_path_factory.mktemp("tls") / 'a "b" #c.pem'
    trustme.CA().cert_pem.write_to_path(file)
    return str(file)


@pytest.mark.parametrize(
    ("body_mode", "place", "extra", "is_tls"),
    list(itertools.product(["none", "buffered", "streamed"], PLACES, EXTRAS, [False, True])),
)
def test_envoy_accepts_every_combination_without_a_warning(validate, authority, body_mode, place, extra, is_tls):
    tls = {"epp_tls_ca": authority} if is_tls else {}
    code, said = validate(envoy_config(EnvoySettings(body_mode=body_mode, **PLACES[place], **EXTRAS[extra], **tls)))
    assert (code, said) == (0, "")


def test_the_answer_to_a_hold_is_awaited_for_longer_than_any_hold():
    text = envoy_config(EnvoySettings(longest_hold=1_234.5))
    assert filters(text)["ext_proc"]["message_timeout"] == "1244.5s"
    assert manager(text)["stream_idle_timeout"] == "0s"
    route = manager(text)["route_config"]["virtual_hosts"][0]["routes"][0]["route"]
    assert route["timeout"] == "0s"
    assert "retry_on" not in route["retry_policy"]


@pytest.mark.parametrize(("body_mode", "seconds"), [("none", "107s"), ("buffered", "7s"), ("streamed", "7s")])
def test_an_upload_has_its_time_and_that_of_the_hold_where_the_hold_stops_it(body_mode, seconds):
    text = envoy_config(EnvoySettings(body_mode=body_mode, longest_hold=100.0, longest_upload=7.0))
    assert manager(text)["request_timeout"] == seconds


def test_all_limits_follow_the_number_of_held_requests():
    text = envoy_config(EnvoySettings(max_held=5_000, max_connections=6_000))
    for cluster in clusters(text).values():
        assert set(cluster["circuit_breakers"]["thresholds"][0].values()) == {5_000}
    (options,) = clusters(text)["epp"]["typed_extension_protocol_options"].values()
    options = options["explicit_http_config"]["http2_protocol_options"]
    assert options["max_concurrent_streams"] == 5_000
    assert options["max_outbound_control_frames"] >= 5_000
    assert options["max_outbound_frames"] >= 10 * 5_000
    assert manager(text)["http2_protocol_options"]["max_concurrent_streams"] == 5_000
    assert manager(text)["http2_protocol_options"]["initial_connection_window_size"] == 5_000 * 65_536
    (monitor,) = yaml.safe_load(text)["overload_manager"]["resource_monitors"]
    assert monitor["typed_config"]["max_active_downstream_connections"] == 6_000


def test_a_name_is_resolved_and_an_address_is_not():
    assert clusters(envoy_config(EnvoySettings(epp_host="10.0.0.1")))["epp"]["type"] == "STATIC"
    named = clusters(envoy_config(EnvoySettings(epp_host="epp")))["epp"]
    assert named["cluster_type"]["name"] == "envoy.cluster.dns"
    assert "type" not in named


def test_several_endpoint_pickers_are_several_hosts_of_one_cluster():
    cluster = clusters(envoy_config(EnvoySettings(epp_endpoints=("10.0.0.1:9002", "[::1]:9003"))))["epp"]
    assert cluster["type"] == "STATIC"
    (place,) = cluster["load_assignment"]["endpoints"]
    hosts = [each["endpoint"]["address"]["socket_address"] for each in place["lb_endpoints"]]
    assert hosts == [{"address": "10.0.0.1", "port_value": 9002}, {"address": "::1", "port_value": 9003}]


@pytest.mark.parametrize(("server_name", "sni"), [(None, "epp"), ("other", "other")])
def test_tls_checks_the_name(server_name, sni):
    text = envoy_config(EnvoySettings(epp_host="epp", epp_tls_ca="/ca", epp_server_name=server_name))
    context = clusters(text)["epp"]["transport_socket"]["typed_config"]
    assert (context["sni"], context["auto_sni_san_validation"]) == (sni, True)
    assert context["common_tls_context"]["alpn_protocols"] == ["h2"]


def test_every_comment_fits_on_a_line():
    text = envoy_config(EnvoySettings(subset_header="x-subset", access_log=True, epp_tls_ca="/ca"))
    assert [line for line in text.splitlines() if line.lstrip().startswith("#") and len(line) > 120] == []


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"epp_port": 0}, "epp_port must lie in 1..65535, not 0"),
        ({"listen_port": 65_536}, "listen_port must lie in 0..65535, not 65536"),
        ({"admin_port": -1}, "admin_port must lie in 0..65535, not -1"),
        ({"max_held": 2**31}, "max_held must lie in 1..2147483647, not 2147483648"),
        ({"epp_host": ""}, "epp_host must be an address or a name, not ''"),
        ({"epp_host": "a b"}, "epp_host must be an address or a name, not 'a b'"),
        ({"listen_host": "a\nb"}, "listen_host must be an address or a name, not 'a\\nb'"),
        (
            {"epp_endpoints": ["epp:9002"]},
            "epp_endpoints must each be ADDRESS:PORT, such as '10.0.0.1:9002', not 'epp:9002'",
        ),
        (
            {"epp_endpoints": ["10.0.0.1:0"]},
            "epp_endpoints must each be ADDRESS:PORT, such as '10.0.0.1:9002', not '10.0.0.1:0'",
        ),
        (
            {"epp_endpoints": ["10.0.0.1:1"], "epp_tls_ca": "/ca"},
            "epp_server_name must be given where epp_endpoints are spoken to over TLS, not None",
        ),
        ({"epp_tls_ca": ""}, "epp_tls_ca must be a file's path, not ''"),
        ({"body_mode": "all"}, "body_mode must be one of 'none', 'buffered', 'streamed', not 'all'"),
        ({"longest_hold": 0}, "longest_hold must be more than 0 seconds, not 0"),
        ({"longest_silence": float("inf")}, "longest_silence must be finite, not inf"),
        ({"subset_header": "X-Subset"}, "subset_header must be a header's name in lower case"),
        ({"subset_header": ""}, "subset_header must be a header's name in lower case"),
        (
            {"subset_header": "x-gateway-destination-endpoint-subset"},
            "subset_header must not begin with x-gateway-destination-endpoint, which clients may not send",
        ),
    ],
)
def test_a_bad_setting_is_told_with_its_rule(changes, says):
    with pytest.raises(ValueError, match=f"^{re.escape(says)}"):
        EnvoySettings(**changes)


@pytest.mark.parametrize("changes", [{"max_held": 1.5}, {"access_log": "yes"}, {"epp_host": 1}, {"epp_tls_ca": 1}])
def test_a_setting_has_its_type(changes):
    with pytest.raises(TypeError, match=f"{next(iter(changes))} must be an? "):
        EnvoySettings(**changes)


def test_the_command_line_prints_it(capsys):
    options = (
        "--listen [::]:80 --admin none --epp epp:9 --body streamed --longest-hold 30 --subset-header x-s --access-log"
    )
    assert main(options.split()) == 0
    settings = EnvoySettings(
        listen_host="[::]", listen_port=80, admin_port=None, epp_host="epp", epp_port=9, body_mode="streamed",
        longest_hold=30.0, subset_header="x-s", access_log=True,
    )  # fmt: skip
    assert capsys.readouterr().out == envoy_config(settings)


def test_the_command_line_takes_several(capsys):
    assert main(["--epp", "10.0.0.1:9,10.0.0.2:9"]) == 0
    assert capsys.readouterr().out == envoy_config(EnvoySettings(epp_endpoints=("10.0.0.1:9", "10.0.0.2:9")))


def test_as_a_program_it_prints_the_default():
    done = subprocess.run(
        [sys.executable, "-m", "flowgate_epp.envoy_config"],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": ":".join(sys.path)},
        timeout=30,
        check=True,
    )
    assert done.stdout == envoy_config(EnvoySettings())


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ("--epp 9002", "epp must be HOST:PORT, not '9002'"),
        ("--listen a:b", "listen must be HOST:PORT, not 'a:b'"),
        ("--admin none:none", "admin must be HOST:PORT, not 'none:none'"),
        ("--epp none", "epp must be HOST:PORT, not 'none'"),
        ("--epp a:0", "epp_port must lie in 1..65535, not 0"),
        ("--max-held 0", "max_held must lie in 1..2147483647, not 0"),
        ("--body all", "invalid choice: 'all'"),
    ],
)
def test_a_bad_command_line_is_told_why(capsys, options, says):
    with pytest.raises(SystemExit) as ended:
        main(options.split())
    assert ended.value.code == 2
    assert says in capsys.readouterr().err
