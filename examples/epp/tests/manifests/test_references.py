"""What one manifest says of another is so."""

import itertools
import re

import yaml


def labels_of(deployment):
    return deployment["spec"]["template"]["metadata"]["labels"]


def selects(selector, labels):
    return selector.items() <= labels.items()


def ports_of(deployment):
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    return {port["name"]: port["containerPort"] for port in container["ports"]}


def selected(overlay, selector):
    (deployment,) = [each for each in overlay.all("Deployment") if selects(selector, labels_of(each))]
    return deployment


def test_every_file_of_the_manifests_is_used_and_yaml(manifests):
    """No file is forgotten in its folder's kustomization."""
    for folder in {path.parent for path in manifests.rglob("kustomization.yaml")}:
        kustomization = yaml.safe_load((folder / "kustomization.yaml").read_text("utf-8"))
        used = [*kustomization.get("resources", ()), *(each["path"] for each in kustomization.get("patches", ()))]
        used += itertools.chain(*(each["files"] for each in kustomization.get("configMapGenerator", ())))
        here = {path.name for path in folder.iterdir()} - {"kustomization.yaml"}
        assert here == {name for name in used if "/" not in name}, folder


def test_no_object_is_there_twice_and_none_names_a_namespace(overlay):
    names = [(each["kind"], each["metadata"]["name"]) for each in overlay.objects]
    assert len(names) == len(set(names))
    assert not [each for each in overlay.objects if "namespace" in each["metadata"]]


def test_no_object_has_the_name_of_a_generated_one(overlay):
    """Kustomize would write the digest wherever that name stands in a Role."""
    assert not overlay.files.keys() & {each["metadata"]["name"] for each in overlay.objects}


def test_deployments_select_their_own_pods(overlay):
    for deployment in overlay.all("Deployment"):
        assert selected(overlay, deployment["spec"]["selector"]["matchLabels"]) is deployment
        for spread in deployment["spec"]["template"]["spec"].get("topologySpreadConstraints", ()):
            assert selected(overlay, spread["labelSelector"]["matchLabels"]) is deployment


def test_services_lead_to_ports_that_are_there(overlay):
    for service in overlay.all("Service"):
        ports = ports_of(selected(overlay, service["spec"]["selector"]))
        for port in service["spec"]["ports"]:
            assert port["targetPort"] in ports


def test_probes_ask_ports_that_are_there(overlay):
    for deployment in overlay.all("Deployment"):
        (container,) = deployment["spec"]["template"]["spec"]["containers"]
        probes = [value for name, value in container.items() if name.endswith("Probe")]
        assert probes
        for probe in probes:
            (check,) = [probe[kind] for kind in ("httpGet", "tcpSocket") if kind in probe]
            assert check["port"] in ports_of(deployment)


def test_what_pods_mount_is_generated_and_holds_what_they_read(overlay):
    for deployment in overlay.all("Deployment"):
        pod = deployment["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        places = {each["name"]: each["mountPath"] for each in container.get("volumeMounts", ())}
        assert places.keys() == {volume["name"] for volume in pod.get("volumes", ())}
        command = [*container.get("command", ()), *container.get("args", ())]
        command += container.get("lifecycle", {}).get("preStop", {}).get("exec", {}).get("command", ())
        for volume in pod.get("volumes", ()):
            if "configMap" not in volume:
                continue
            files = overlay.files[volume["configMap"]["name"]]
            place = places[volume["name"]]
            read = [word.removeprefix(f"{place}/") for word in command if word.startswith(f"{place}/")]
            assert set(read) == set(files)
            assert all(path.is_file() for path in files.values())


def test_service_accounts_have_the_roles_that_bindings_name(overlay):
    (account,) = overlay.all("ServiceAccount")
    deployment = overlay.one("Deployment", "flowgate-epp")
    assert deployment["spec"]["template"]["spec"]["serviceAccountName"] == account["metadata"]["name"]
    roles = {role["metadata"]["name"] for role in overlay.all("Role")}
    bound = set()
    for binding in overlay.all("RoleBinding"):
        assert binding["subjects"] == [{"kind": "ServiceAccount", "name": account["metadata"]["name"]}]
        bound.add(binding["roleRef"]["name"])
    assert bound == roles


def test_the_pool_selects_the_model_server_and_refers_to_the_endpoint_picker(overlay):
    (pool,) = overlay.all("InferencePool")
    servers = selected(overlay, pool["spec"]["selector"]["matchLabels"])
    assert [port["number"] for port in pool["spec"]["targetPorts"]] == list(ports_of(servers).values())
    reference = pool["spec"]["endpointPickerRef"]
    service = overlay.one("Service", reference["name"])
    assert reference["port"]["number"] in [port["port"] for port in service["spec"]["ports"]]
    assert reference["failureMode"] == "FailClose"


def test_objectives_and_routes_name_the_pool(overlay):
    (pool,) = overlay.all("InferencePool")
    group, name = pool["apiVersion"].partition("/")[0], pool["metadata"]["name"]
    assert len(overlay.all("InferenceObjective")) == 2
    for objective in overlay.all("InferenceObjective"):
        assert objective["spec"]["poolRef"] == {"group": group, "name": name}
    for route in overlay.all("HTTPRoute"):
        (rule,) = route["spec"]["rules"]
        assert rule["backendRefs"] == [{"group": group, "kind": "InferencePool", "name": name}]
        assert rule["timeouts"] == {"request": "0s", "backendRequest": "0s"}
        (parent,) = route["spec"]["parentRefs"]
        overlay.one("Gateway", parent["name"])


def test_disruption_budgets_and_network_policies_select_pods_of_ours(overlay):
    for budget in overlay.all("PodDisruptionBudget"):
        assert selected(overlay, budget["spec"]["selector"]["matchLabels"])
    for policy in overlay.all("NetworkPolicy"):
        ports = ports_of(selected(overlay, policy["spec"]["podSelector"]["matchLabels"]))
        for rule in policy["spec"]["ingress"]:
            assert {each["port"] for each in rule["ports"]} <= {*ports, *ports.values()}
            for peer in rule["from"]:
                if "podSelector" in peer:
                    assert selected(overlay, peer["podSelector"]["matchLabels"])


def test_the_leaders_disruption_budget_never_wants_a_standby_to_be_ready(overlay):
    """A standby never is: any other budget would keep the leader where it is, and its node from being drained."""
    budget = overlay.one("PodDisruptionBudget", "flowgate-epp")["spec"]
    assert (budget["maxUnavailable"], budget["unhealthyPodEvictionPolicy"]) == ("100%", "IfHealthyBudget")
    strategy = overlay.one("Deployment", "flowgate-epp")["spec"]["strategy"]
    assert strategy["rollingUpdate"] == {"maxSurge": "100%", "maxUnavailable": "100%"}


def test_whoever_scales_is_the_only_one_and_scales_the_model_server(overlay):
    scaled = overlay.all("ScaledObject")
    model = overlay.one("Deployment", "model")
    assert "replicas" not in model["spec"]
    waking = yaml.safe_load(overlay.files["flowgate-epp-file"]["epp.yaml"].read_text("utf-8"))["waking"]
    assert bool(scaled) != ("activator" in waking)
    for each in scaled:
        assert each["spec"]["scaleTargetRef"] == {
            "apiVersion": model["apiVersion"],
            "kind": model["kind"],
            "name": model["metadata"]["name"],
        }
        assert each["spec"]["minReplicaCount"] == 0
        (trigger,) = each["spec"]["triggers"]
        if trigger["type"] == "external-push":
            service, namespace, rest = trigger["metadata"]["scalerAddress"].split(".")
            ports = overlay.one("Service", service)["spec"]["ports"]
            assert (namespace, rest) == ("NAMESPACE", "svc:9003")
            assert 9003 in [port["port"] for port in ports]
            assert each["spec"]["pollingInterval"] < waking["keda"]["latch"]


def test_the_overlay_replaces_each_namespace_that_is_left_open(overlay):
    """KEDA and Prometheus serve many namespaces, so they are told ours."""
    (top,) = [each for each in overlay.kustomizations if each["kind"] == "Kustomization" and "namespace" in each]
    opened = sum(len(re.findall("NAMESPACE", str(each))) for each in overlay.objects)
    assert len([target for each in top.get("replacements", ()) for target in each["targets"]]) == opened


def test_every_image_is_named_in_the_overlay(overlay):
    (top,) = [each for each in overlay.kustomizations if "images" in each]
    used = {
        container["image"]
        for deployment in overlay.all("Deployment")
        for container in deployment["spec"]["template"]["spec"]["containers"]
    }
    assert used == {image["name"] for image in top["images"]}


def test_our_own_containers_may_nothing(overlay):
    for deployment in overlay.all("Deployment"):
        pod = deployment["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        if container["image"] == "vllm":
            continue
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert "memory" in container["resources"]["limits"]
