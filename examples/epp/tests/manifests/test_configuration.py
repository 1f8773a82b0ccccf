"""The Endpoint Picker's and Envoy's files fit to each other and to the manifests."""

import itertools
import re
import tomllib
from pathlib import Path

import pytest
import yaml

from flowgate_epp.config import load
from flowgate_epp.envoy_config.__main__ import main
from flowgate_epp.waking import ActivatorSettings, KedaSettings

PAGE = Path(__file__).parents[4] / "docs/how-to/kubernetes.md"


@pytest.fixture
def settings(overlay):
    return load(overlay.files["flowgate-epp-file"]["epp.yaml"])


def container(overlay, name):
    (found,) = overlay.one("Deployment", name)["spec"]["template"]["spec"]["containers"]
    return found


def test_the_ports_are_those_of_the_program(overlay, settings):
    ports = {port["name"]: port["containerPort"] for port in container(overlay, "flowgate-epp")["ports"]}
    assert (ports["ext-proc"], ports["admin"]) == (settings.server.port, settings.admin.port)
    keda = settings.waking.keda
    assert ports["keda"] == (KedaSettings().port if keda is None else keda.port)
    annotations = overlay.one("Deployment", "flowgate-epp")["spec"]["template"]["metadata"]["annotations"]
    assert annotations["prometheus.io/port"] == str(settings.admin.port)


def test_names_in_the_programs_file_are_those_of_the_objects(overlay, settings):
    (pool,) = overlay.all("InferencePool")
    assert settings.pods.pool == pool["metadata"]["name"]
    leases = {
        name
        for role in overlay.all("Role")
        for rule in role["rules"]
        if rule["resources"] == ["leases"]
        for name in rule.get("resourceNames", ())
    }
    assert leases == {settings.leadership.name}
    activator = settings.waking.activator
    if activator is not None:
        assert isinstance(activator, ActivatorSettings)
        overlay.one(activator.kind, activator.target)


def test_what_waits_at_the_end_has_time_to_go(overlay, settings):
    pod = overlay.one("Deployment", "flowgate-epp")["spec"]["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] >= settings.server.lame_duck + settings.server.drain_timeout + 10


def test_the_two_files_differ_in_waking_alone(manifests):
    files = [manifests / "base/epp.yaml", manifests / "components/activator/epp.yaml"]
    tables = [yaml.safe_load(file.read_text("utf-8")) for file in files]
    assert [list(table.pop("waking")) for table in tables] == [["keda"], ["activator"]]
    assert tables[0] == tables[1]


def test_envoys_file_is_what_the_command_of_the_page_prints(manifests, capsys):
    """And so it stays what the generator says, reasons included."""
    command = re.search(r"python -m flowgate_epp\.envoy_config (.+?)> envoy\.yaml", PAGE.read_text("utf-8"), re.DOTALL)
    assert main(command[1].replace("\\\n", " ").split()) == 0
    assert capsys.readouterr().out == (manifests / "components/envoy/envoy.yaml").read_text("utf-8")


def test_envoy_holds_longer_than_any_request_may_wait_and_asks_every_replica(overlay, settings):
    if "envoy-file" not in overlay.files:  # behind another gateway
        assert overlay.all("Gateway")
        return
    envoy = yaml.safe_load(overlay.files["envoy-file"]["envoy.yaml"].read_text("utf-8"))["static_resources"]
    (listener,) = envoy["listeners"]
    (port,) = container(overlay, "envoy")["ports"]
    assert listener["address"]["socket_address"]["port_value"] == port["containerPort"]
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    (hold,) = [
        each["typed_config"]["message_timeout"] for each in manager["http_filters"] if each["name"].endswith("ext_proc")
    ]
    config = settings.flow_control.config
    assert float(hold.removesuffix("s")) > max(config.default_ttl, config.no_pods_ttl, settings.director.max_ttl)
    (cluster,) = [each for each in envoy["clusters"] if each["name"] == "epp"]
    (endpoint,) = itertools.chain(*(each["lb_endpoints"] for each in cluster["load_assignment"]["endpoints"]))
    address = endpoint["endpoint"]["address"]["socket_address"]
    service = overlay.one("Service", address["address"])["spec"]
    assert (service["clusterIP"], service["publishNotReadyAddresses"]) == ("None", True)
    assert (address["port_value"], "kubernetes.io/h2c") in [
        (each["port"], each["appProtocol"]) for each in service["ports"]
    ]


def test_the_container_is_made_of_what_is_there(manifests):
    root = manifests.parents[2]
    lines = (manifests / "Containerfile").read_text("utf-8").splitlines()
    words = [line.split() for line in lines if line.startswith("COPY ") and "--from=" not in line]
    for _, *sources, target in words:
        assert target.startswith("/src")
        for source in sources:
            assert (root / source).exists(), source
    copied = {source for _, *sources, _target in words for source in sources}
    for package in (".", "examples/epp", "examples/fake_vllm"):
        project = tomllib.loads((root / package / "pyproject.toml").read_text("utf-8"))["project"]
        needed = ["pyproject.toml", "src", project["readme"], *project.get("license-files", ())]
        assert {str(Path(package, name)) for name in needed} <= copied


def test_the_container_ends_as_the_user_that_manifests_name(manifests, overlay):
    text = (manifests / "Containerfile").read_text("utf-8")
    assert re.findall(r"^USER (\S+)$", text, re.MULTILINE) == ["10001:10001"]
    assert re.findall(r'^ENTRYPOINT \["(\S+)"\]$', text, re.MULTILINE) == ["flowgate-epp"]
    pod = overlay.one("Deployment", "flowgate-epp")["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsUser"] == pod["securityContext"]["runAsGroup"] == 10001
    assert "command" not in pod["containers"][0]
