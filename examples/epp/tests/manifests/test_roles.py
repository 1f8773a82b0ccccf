"""What the Endpoint Picker may do is what it does."""

BASE = {
    ("", "pods", None): {"list", "watch"},
    ("inference.networking.k8s.io", "inferencepools", "model"): {"list", "watch"},
    ("inference.networking.x-k8s.io", "inferenceobjectives", None): {"list", "watch"},
    ("coordination.k8s.io", "leases", "flowgate-epp"): {"get", "list", "watch", "update"},
    ("coordination.k8s.io", "leases", None): {"create"},
}
ACTIVATOR = {("apps", "deployments/scale", "model"): {"get", "update"}}


def test_roles_allow_this_and_nothing_else(overlay):
    allowed = {}
    for role in overlay.all("Role"):
        for rule in role["rules"]:
            (group,), (resource,), names = rule["apiGroups"], rule["resources"], rule.get("resourceNames", [None])
            for name in names:
                assert (group, resource, name) not in allowed
                allowed[group, resource, name] = set(rule["verbs"])
    has_activator = any(role["metadata"]["name"] == "flowgate-epp-activator" for role in overlay.all("Role"))
    assert allowed == BASE | (ACTIVATOR if has_activator else {})


def test_names_in_roles_are_those_of_the_objects(overlay):
    (pool,) = overlay.all("InferencePool")
    assert pool["metadata"]["name"] == "model"
    overlay.one("Deployment", "model")


def test_nobody_has_a_cluster_role(overlay):
    assert not [each for each in overlay.objects if each["kind"].startswith("Cluster")]
