"""What a Kubernetes API server promises: held by the fake one, and by the real one when it is there."""

import asyncio
import calendar
import time

import aiohttp
import pytest

pytestmark = pytest.mark.anyio

MODIFIED = "the object has been modified; please apply your changes to the latest version and try again"


# Create


async def test_a_created_object_is_told_with_all_that_the_server_adds(api):
    made = await api.configmap("a", {"app": "x"}, key="value")
    metadata = made.metadata
    assert made.body["kind"] == "ConfigMap"
    assert made.body["apiVersion"] == "v1"
    assert made.body["data"] == {"key": "value"}
    assert metadata["labels"] == {"app": "x"}
    assert (metadata["name"], metadata["namespace"]) == ("a", api.namespace)
    assert len(metadata["uid"]) == 36
    assert int(metadata["resourceVersion"]) > 0
    assert abs(time.time() - _seconds(metadata["creationTimestamp"])) < 60
    found = await api.get(f"{api.configmaps}/a")
    assert (found.status, found.body) == (200, made.body)


async def test_what_the_server_adds_cannot_be_given(api):
    given = {"uid": "mine", "creationTimestamp": "2000-01-01T00:00:00Z", "generation": 7}
    metadata = (await api.widget("a", **given)).metadata
    assert metadata["uid"] != "mine"
    assert metadata["generation"] == 1
    assert not metadata["creationTimestamp"].startswith("2000")


async def test_one_version_grows_over_all_kinds(api):
    made = [await api.configmap("a"), await api.pod("a"), await api.widget("a"), await api.configmap("b")]
    versions = [int(answer.version) for answer in made]
    assert versions == sorted(set(versions))


async def test_only_some_kinds_count_generations(api):
    assert (await api.pod("a")).metadata["generation"] == 1
    assert (await api.widget("a")).metadata["generation"] == 1
    assert (await api.deployment("a")).metadata["generation"] == 1
    assert "generation" not in (await api.configmap("a")).metadata


async def test_a_name_is_taken_once(api, refusal):
    await api.configmap("a")
    await api.widget("a")
    again = await api.call("POST", api.configmaps, {"metadata": {"name": "a"}})
    details = {"name": "a", "kind": "configmaps"}
    assert again.status == 409
    assert again.body == refusal(409, "AlreadyExists", 'configmaps "a" already exists', details)
    widget = {"apiVersion": "stage.example.com/v1", "kind": "Widget", "metadata": {"name": "a"}}
    again = await api.call("POST", api.widgets, widget)
    details = {"name": "a", "group": "stage.example.com", "kind": "widgets"}
    assert again.body == refusal(409, "AlreadyExists", 'widgets.stage.example.com "a" already exists', details)


async def test_the_server_finds_names_that_start_as_wished(api):
    names = {(await api.widget("", generateName="some-")).metadata["name"] for _ in range(5)}
    assert len(names) == 5
    assert all(name.startswith("some-") and len(name) == 10 for name in names)


async def test_a_name_is_needed(api, refusal):
    answer = await api.call("POST", api.configmaps, {"metadata": {}})
    why = "Required value: name or generateName is required"
    causes = [{"reason": "FieldValueRequired", "message": why, "field": "metadata.name"}]
    details = {"kind": "ConfigMap", "causes": causes}
    assert answer.status == 422
    assert answer.body == refusal(422, "Invalid", f'ConfigMap "" is invalid: metadata.name: {why}', details)


@pytest.mark.parametrize("name", ["Upper", "under_score", "-a", "a.", "a/b"])
async def test_a_name_is_that_of_a_host(api, name):
    answer = await api.call("POST", api.configmaps, {"metadata": {"name": name}})
    assert (answer.status, answer.body["reason"]) == (422, "Invalid")
    assert answer.body["details"]["causes"][0]["field"] == "metadata.name"


@pytest.mark.parametrize("body", ["nonsense", '{"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "a"}}', "[]"])
async def test_what_is_not_of_the_kind_is_a_bad_request(api, body):
    for path in (api.configmaps, api.widgets):
        answer = await api.call("POST", path, body)
        assert (answer.status, answer.body["reason"]) == (400, "BadRequest")


@pytest.mark.parametrize("metadata", ["a", {"name": "a", "labels": ["x"]}, {"name": "a", "annotations": "x"}])
async def test_metadata_has_its_form(api, metadata):
    answer = await api.call("POST", api.configmaps, {"metadata": metadata})
    assert (answer.status, answer.body["reason"]) == (400, "BadRequest")


async def test_custom_objects_must_say_their_kind(api):
    answer = await api.call("POST", api.widgets, {"metadata": {"name": "a"}})
    assert (answer.status, answer.body["reason"]) == (400, "BadRequest")
    assert "Object 'Kind' is missing" in answer.body["message"]


async def test_an_object_is_not_created_in_another_namespace(api, refusal):
    answer = await api.call("POST", api.configmaps, {"metadata": {"name": "a", "namespace": "other"}})
    message = "the namespace of the provided object does not match the namespace sent on the request"
    assert answer.body == refusal(400, "BadRequest", message)


async def test_a_new_object_has_no_version_yet(api):
    answer = await api.call("POST", api.configmaps, {"metadata": {"name": "a", "resourceVersion": "5"}})
    assert answer.status == 500
    assert answer.body["message"] == "resourceVersion should not be set on objects to be created"
    assert "reason" not in answer.body


async def test_a_body_is_json(api):
    answer = await api.call("POST", api.configmaps, "a=b", content_type="application/x-www-form-urlencoded")
    assert (answer.status, answer.body["reason"]) == (415, "UnsupportedMediaType")


# Read


async def test_what_is_not_there_is_not_found(api, refusal):
    for method, body in (("GET", None), ("DELETE", None), ("PUT", {"metadata": {"name": "a"}})):
        answer = await api.call(method, f"{api.configmaps}/a", body)
        details = {"name": "a", "kind": "configmaps"}
        assert answer.status == 404
        assert answer.body == refusal(404, "NotFound", 'configmaps "a" not found', details)
    answer = await api.merge(f"{api.widgets}/a", {})
    details = {"name": "a", "group": "stage.example.com", "kind": "widgets"}
    assert answer.body == refusal(404, "NotFound", 'widgets.stage.example.com "a" not found', details)


async def test_a_kind_that_is_not_served_is_not_found(api, refusal):
    message = "the server could not find the requested resource"
    for path in (
        f"/api/v1/namespaces/{api.namespace}/nones",
        "/apis/apps/v1/nones",
        f"{api.pods}/a/none",
        "/api/v1/pods/a",
    ):
        answer = await api.get(path)
        assert (answer.status, answer.body) == (404, refusal(404, "NotFound", message, {}))


async def test_configmaps_have_no_status(api):
    await api.configmap("a")
    assert (await api.get(f"{api.configmaps}/a/status")).status == 404
    assert (await api.get(f"{api.configmaps}/a/scale")).status == 404


@pytest.mark.parametrize("path", ["/apis/none.io", "/apis/none.io/v1", "/apis/none.io/v1/nones", "/nothing"])
async def test_a_group_that_is_not_served_is_not_found_without_a_status(api, path):
    answer = await api.get(path)
    assert (answer.status, answer.body) == (404, "404 page not found\n")


async def test_an_unknown_kind_of_a_custom_group_is_not_found_without_a_status(api):
    answer = await api.get(f"/apis/stage.example.com/v1/namespaces/{api.namespace}/gadgets")
    assert (answer.status, answer.body) == (404, "404 page not found\n")


async def test_methods_that_make_no_sense_are_not_allowed(api, refusal):
    message = "the server does not allow this method on the requested resource"
    for method, path in (("PUT", api.configmaps), ("POST", f"{api.configmaps}/a"), ("POST", "/api/v1/configmaps")):
        answer = await api.call(method, path, {"metadata": {"name": "a"}})
        assert (answer.status, answer.body) == (405, refusal(405, "MethodNotAllowed", message, {}))


async def test_only_those_with_a_credential_may_ask(api, refusal):
    status = refusal(401, "Unauthorized", "Unauthorized")
    for headers in ({}, {"Authorization": "Bearer wrong"}):
        async with (
            aiohttp.ClientSession() as stranger,
            stranger.get(f"{api.server.url}{api.pods}", headers=headers, ssl=False) as response,
        ):
            assert (response.status, await response.json()) == (401, status)


# Replace


async def test_a_put_replaces_all_but_what_is_the_servers(api):
    made = await api.configmap("a", {"app": "x"}, old="1")
    replaced = await api.put(f"{api.configmaps}/a", {"metadata": {"name": "a"}, "data": {"new": "2"}})
    assert replaced.status == 200
    assert replaced.body["data"] == {"new": "2"}
    assert "labels" not in replaced.metadata
    assert int(replaced.version) > int(made.version)
    for kept in ("uid", "creationTimestamp", "namespace"):
        assert replaced.metadata[kept] == made.metadata[kept]


async def test_a_put_of_what_is_there_already_changes_nothing(api):
    made = await api.configmap("a", key="value")
    assert (await api.put(f"{api.configmaps}/a", made.body)).body == made.body


async def test_of_two_puts_on_one_version_the_second_is_refused(api, refusal):
    first = await api.configmap("a", key="1")
    second = await api.put(f"{api.configmaps}/a", {**first.body, "data": {"key": "2"}})
    third = await api.put(f"{api.configmaps}/a", {**first.body, "data": {"key": "3"}})
    message = f'Operation cannot be fulfilled on configmaps "a": {MODIFIED}'
    assert second.status == 200
    assert (third.status, third.body) == (
        409,
        refusal(409, "Conflict", message, {"name": "a", "kind": "configmaps"}),
    )
    assert (await api.get(f"{api.configmaps}/a")).body["data"] == {"key": "2"}


async def test_leases_and_custom_objects_are_replaced_only_by_those_who_know_their_version(api):
    await api.widget("a")
    lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "a"}}
    await api.create(api.leases, lease)
    widget = {"apiVersion": "stage.example.com/v1", "kind": "Widget", "metadata": {"name": "a"}}
    for path, body in ((api.leases, lease), (api.widgets, widget)):
        answer = await api.put(f"{path}/a", body)
        assert (answer.status, answer.body["reason"]) == (422, "Invalid")
        assert answer.body["details"]["causes"][0]["field"] == "metadata.resourceVersion"
        assert answer.body["message"].endswith(
            "metadata.resourceVersion: Invalid value: 0: must be specified for an update"
        )


async def test_a_lease_is_made_by_a_put_too(api):
    lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "a"}}
    made = await api.put(f"{api.leases}/a", {**lease, "spec": {"holderIdentity": "me"}})
    assert (made.status, made.body["spec"]["holderIdentity"]) == (201, "me")
    stale = await api.put(f"{api.leases}/a", {**lease, "metadata": {"name": "a", "resourceVersion": "1"}})
    assert (stale.status, stale.body["reason"]) == (409, "Conflict")


async def test_the_name_in_the_path_is_the_objects(api, refusal):
    await api.configmap("a")
    answer = await api.put(f"{api.configmaps}/a", {"metadata": {"name": "b"}})
    message = "the name of the object (b) does not match the name on the URL (a)"
    assert (answer.status, answer.body) == (400, refusal(400, "BadRequest", message))
    answer = await api.put(f"{api.configmaps}/a", {"metadata": {}})
    message = "the name of the object (a based on URL) was undeterminable: name must be provided"
    assert (answer.status, answer.body) == (400, refusal(400, "BadRequest", message))
    assert (await api.merge(f"{api.configmaps}/a", {"metadata": {"name": "b"}})).status == 400


async def test_status_and_the_rest_are_written_apart(api):
    made = await api.widget("a", {"size": 1})
    both = {"spec": {"size": 2}, "status": {"found": 3}}
    first = await api.put(f"{api.widgets}/a", {**made.body, **both})
    assert (first.body["spec"], first.metadata["generation"]) == ({"size": 2}, 2)
    assert "status" not in first.body
    both = {"spec": {"size": 4}, "status": {"found": 5}}
    second = await api.put(f"{api.widgets}/a/status", {**first.body, **both})
    assert (second.body["spec"], second.body["status"], second.metadata["generation"]) == ({"size": 2}, {"found": 5}, 2)
    third = await api.merge(f"{api.widgets}/a/status", {"status": {"more": 6}})
    assert third.body["status"] == {"found": 5, "more": 6}
    fourth = await api.merge(f"{api.widgets}/a", {"metadata": {"labels": {"a": "b"}}, "status": {"found": 7}})
    assert (fourth.body["status"], fourth.metadata["generation"]) == ({"found": 5, "more": 6}, 2)
    assert (await api.get(f"{api.widgets}/a/status")).body == fourth.body


async def test_a_new_object_has_no_status_of_its_makers(api):
    body = {"apiVersion": "stage.example.com/v1", "kind": "Widget", "metadata": {"name": "a"}, "status": {"a": "b"}}
    assert "status" not in (await api.create(api.widgets, body)).body
    pod = (await api.pod("a")).body
    assert pod["status"]["phase"] == "Pending"


# Patch


async def test_a_merge_patch_merges_and_null_deletes(api):
    await api.widget("a", {"keep": {"x": 1, "y": 2}, "drop": 1, "list": [1, 2]})
    patch = {"spec": {"keep": {"x": None, "z": 3}, "drop": None, "list": [9], "deep": {"er": {"a": None, "b": 1}}}}
    answer = await api.merge(f"{api.widgets}/a", patch)
    assert answer.status == 200
    assert answer.body["spec"] == {"keep": {"y": 2, "z": 3}, "list": [9], "deep": {"er": {"b": 1}}}


async def test_a_patch_that_changes_nothing_makes_no_version(api):
    made = await api.configmap("a", key="value")
    assert (await api.merge(f"{api.configmaps}/a", {"data": {"key": "value"}})).body == made.body


async def test_a_patch_with_a_version_is_conditional(api, refusal):
    first = await api.configmap("a", key="1")
    patch = {"metadata": {"resourceVersion": first.version}, "data": {"key": "2"}}
    assert (await api.merge(f"{api.configmaps}/a", patch)).status == 200
    stale = await api.merge(f"{api.configmaps}/a", patch)
    message = f'Operation cannot be fulfilled on configmaps "a": {MODIFIED}'
    assert stale.body == refusal(409, "Conflict", message, {"name": "a", "kind": "configmaps"})


async def test_json_patch_does_what_it_says(api):
    await api.widget("a", {"list": [1, 2, 3], "map": {"a/b": 1, "c~d": 2}, "old": 5})
    answer = await api.steps(
        f"{api.widgets}/a",
        {"op": "test", "path": "/spec/list/0", "value": 1},
        {"op": "add", "path": "/spec/list/1", "value": 9},
        {"op": "add", "path": "/spec/list/-", "value": 8},
        {"op": "remove", "path": "/spec/list/0"},
        {"op": "replace", "path": "/spec/list/1", "value": 7},
        {"op": "replace", "path": "/spec/map/a~1b", "value": 10},
        {"op": "remove", "path": "/spec/map/c~0d"},
        {"op": "copy", "from": "/spec/old", "path": "/spec/copied"},
        {"op": "move", "from": "/spec/old", "path": "/spec/moved"},
    )
    assert answer.status == 200
    assert answer.body["spec"] == {"list": [9, 7, 3, 8], "map": {"a/b": 10}, "copied": 5, "moved": 5}


@pytest.mark.parametrize(
    "step",
    [
        {"op": "test", "path": "/spec/a", "value": 2},
        {"op": "test", "path": "/spec/none", "value": 2},
        {"op": "remove", "path": "/spec/none"},
        {"op": "add", "path": "/spec/none/deeper", "value": 1},
        {"op": "add", "path": "/spec/list/7", "value": 1},
        {"op": "move", "from": "/spec/none", "path": "/spec/b"},
        {"op": "strange", "path": "/spec/a", "value": 1},
        {"op": "add", "path": "spec", "value": 1},
    ],
)
async def test_a_json_patch_that_does_not_fit_changes_nothing(api, step):
    made = await api.widget("a", {"a": 1, "list": []})
    answer = await api.steps(f"{api.widgets}/a", {"op": "add", "path": "/spec/b", "value": 1}, step)
    assert (answer.status, answer.body["reason"]) == (422, "Invalid")
    assert (await api.get(f"{api.widgets}/a")).body == made.body


async def test_other_patches_are_not_taken(api):
    await api.widget("a")
    for content_type in ("application/json", "application/strange", "application/strategic-merge-patch+json"):
        answer = await api.call("PATCH", f"{api.widgets}/a", {}, content_type=content_type)
        assert (answer.status, answer.body["reason"]) == (415, "UnsupportedMediaType")


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        ("x", "application/merge-patch+json"),
        ("[]", "application/merge-patch+json"),
        ("{}", "application/json-patch+json"),
    ],
)
async def test_a_patch_that_cannot_be_read_is_a_bad_request(api, body, content_type):
    await api.widget("a")
    answer = await api.call("PATCH", f"{api.widgets}/a", body, content_type=content_type)
    assert (answer.status, answer.body["reason"]) == (400, "BadRequest")


async def test_an_object_is_the_same_for_ever(api):
    await api.widget("a")
    answer = await api.merge(f"{api.widgets}/a", {"metadata": {"uid": "other"}})
    assert (answer.status, answer.body["reason"]) == (422, "Invalid")
    assert 'metadata.uid: Invalid value: "other": field is immutable' in answer.body["message"]


# Delete


async def test_what_is_deleted_is_told_and_gone(api):
    made = await api.configmap("a")
    answer = await api.delete(f"{api.configmaps}/a")
    details = {"name": "a", "kind": "configmaps", "uid": made.metadata["uid"]}
    status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}
    assert (answer.status, answer.body) == (200, status)
    assert (await api.delete(f"{api.configmaps}/a")).status == 404
    again = await api.configmap("a")
    assert again.metadata["uid"] != made.metadata["uid"]


async def test_a_pod_without_a_node_is_gone_at_once(api):
    made = await api.pod("a")
    answer = await api.delete(f"{api.pods}/a")
    assert (answer.body["kind"], answer.metadata["uid"]) == ("Pod", made.metadata["uid"])
    assert (await api.get(f"{api.pods}/a")).status == 404


async def test_a_pod_on_a_node_is_marked_until_the_node_deletes_it(api):
    made = await api.pod("a", node="n1")
    async with api.watch(api.pods, resourceVersion=made.version) as events:
        marked = await api.delete(f"{api.pods}/a")
        assert marked.metadata["deletionGracePeriodSeconds"] == 30
        assert 25 < _seconds(marked.metadata["deletionTimestamp"]) - time.time() < 35
        event = await events.next()
        assert event["type"] == "MODIFIED"
        assert "deletionTimestamp" in event["object"]["metadata"]
        again = await api.delete(f"{api.pods}/a")
        assert again.version == marked.version
        sooner = await api.delete(f"{api.pods}/a", gracePeriodSeconds=5)
        assert sooner.metadata["deletionGracePeriodSeconds"] == 5
        assert (await events.next())["type"] == "MODIFIED"
        await api.delete(f"{api.pods}/a", {"gracePeriodSeconds": 0})
        while (event := await events.next())["type"] == "MODIFIED":
            pass
        assert event["type"] == "DELETED"
    assert (await api.get(f"{api.pods}/a")).status == 404


async def test_a_delete_may_ask_for_one_object_or_one_version(api):
    first = await api.widget("a")
    other = await api.delete(f"{api.widgets}/a", {"preconditions": {"uid": "other"}})
    assert (other.status, other.body["reason"]) == (409, "Conflict")
    assert other.body["message"] == (
        'Operation cannot be fulfilled on Widget.stage.example.com "a": the UID in the precondition (other) does not '
        f"match the UID in record ({first.metadata['uid']}). The object might have been deleted and then recreated"
    )
    second = await api.merge(f"{api.widgets}/a", {"spec": {"a": 1}})
    stale = await api.delete(f"{api.widgets}/a", {"preconditions": {"resourceVersion": first.version}})
    assert (stale.status, stale.body["reason"]) == (409, "Conflict")
    fits = {"preconditions": {"uid": first.metadata["uid"], "resourceVersion": second.version}}
    assert (await api.delete(f"{api.widgets}/a", fits)).status == 200


async def test_an_object_with_finalizers_stays_until_they_are_gone(api):
    made = await api.widget("a", finalizers=["example.com/f", "example.com/e"])
    async with api.watch(api.widgets, resourceVersion=made.version) as events:
        marked = await api.delete(f"{api.widgets}/a")
        assert marked.body["kind"] == "Widget"
        assert marked.metadata["deletionGracePeriodSeconds"] == 0
        assert marked.metadata["generation"] == 2
        assert (await api.delete(f"{api.widgets}/a")).version == marked.version
        more = await api.merge(f"{api.widgets}/a", {"metadata": {"finalizers": ["example.com/f", "example.com/g"]}})
        assert (more.status, more.body["reason"]) == (422, "Invalid")
        fewer = await api.merge(f"{api.widgets}/a", {"metadata": {"finalizers": ["example.com/f"]}})
        assert (await api.get(f"{api.widgets}/a")).version == fewer.version
        last = await api.merge(f"{api.widgets}/a", {"metadata": {"finalizers": None}})
        assert last.status == 200
        assert await events.brief(3) == [("MODIFIED", "a"), ("MODIFIED", "a"), ("DELETED", "a")]
    assert (await api.get(f"{api.widgets}/a")).status == 404


async def test_a_collection_is_deleted_by_selector(api):
    await api.configmap("a", {"app": "x"})
    await api.configmap("b", {"app": "y"})
    await api.configmap("c", {"app": "x"})
    answer = await api.delete(api.configmaps, labelSelector="app=x")
    assert answer.body["kind"] == "ConfigMapList"
    assert sorted(answer.names) == ["a", "c"]
    left = await api.get(api.configmaps)
    assert [name for name in left.names if len(name) == 1] == ["b"]


async def test_a_finalizer_keeps_kinds_without_generations_too(api):
    body = {"metadata": {"name": "a", "finalizers": ["example.com/f"]}}
    await api.create(api.configmaps, body)
    marked = await api.delete(f"{api.configmaps}/a")
    assert "deletionTimestamp" in marked.metadata
    assert "generation" not in marked.metadata
    released = await api.steps(f"{api.configmaps}/a", {"op": "remove", "path": "/metadata/finalizers"})
    assert released.status == 200
    assert (await api.get(f"{api.configmaps}/a")).status == 404


async def test_the_options_of_a_delete_are_an_object(api):
    await api.configmap("a")
    assert (await api.delete(f"{api.configmaps}/a", "[]")).status == 400
    assert (await api.get(f"{api.configmaps}/a")).status == 200


# Scale


async def test_scale_tells_and_sets_replicas(api):
    made = await api.widget("a", {"replicas": 2})
    scale = await api.get(f"{api.widgets}/a/scale")
    told = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    assert scale.body == {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {key: made.metadata[key] for key in told},
        "spec": {"replicas": 2},
        "status": {"replicas": 0},
    }
    patched = await api.merge(f"{api.widgets}/a/scale", {"spec": {"replicas": 5}})
    assert (patched.status, patched.body["spec"]) == (200, {"replicas": 5})
    replaced = await api.put(f"{api.widgets}/a/scale", {**patched.body, "spec": {"replicas": 7}})
    assert (replaced.status, replaced.body["spec"]) == (200, {"replicas": 7})
    stale = await api.put(f"{api.widgets}/a/scale", {**patched.body, "spec": {"replicas": 9}})
    assert (stale.status, stale.body["reason"]) == (409, "Conflict")
    await api.merge(f"{api.widgets}/a/status", {"status": {"replicas": 6, "selector": "a=b"}})
    assert (await api.get(f"{api.widgets}/a/scale")).body["status"] == {"replicas": 6, "selector": "a=b"}
    whole = (await api.get(f"{api.widgets}/a")).body
    assert (whole["spec"]["replicas"], whole["metadata"]["generation"]) == (7, 3)


async def test_scale_of_a_deployment_tells_its_selector(api):
    await api.deployment("a")
    scale = await api.get(f"{api.deployments}/a/scale")
    assert scale.body["spec"] == {"replicas": 1}
    assert scale.body["status"] == {"replicas": 0, "selector": "app=a,tier=x"}
    patched = await api.merge(f"{api.deployments}/a/scale", {"spec": {"replicas": 0}})
    assert patched.body["spec"] == {}
    assert (await api.get(f"{api.deployments}/a")).body["spec"]["replicas"] == 0


async def test_replicas_are_never_below_zero(api):
    await api.deployment("a")
    answer = await api.merge(f"{api.deployments}/a/scale", {"spec": {"replicas": -1}})
    assert (answer.status, answer.body["reason"]) == (422, "Invalid")
    assert answer.body["details"]["causes"][0]["field"] == "spec.replicas"


@pytest.mark.parametrize(
    "wish", [{"spec": {"replicas": "many"}}, {"kind": "Pod", "apiVersion": "v1", "spec": {"replicas": 1}}]
)
async def test_what_is_no_scale_is_refused(api, wish):
    made = await api.deployment("a")
    assert (await api.merge(f"{api.deployments}/a/scale", wish)).status in {400, 422}
    assert (await api.get(f"{api.deployments}/a")).metadata["generation"] == made.metadata["generation"]


async def test_a_custom_object_without_replicas_has_no_scale(api):
    await api.widget("a", {"size": 1})
    answer = await api.get(f"{api.widgets}/a/scale")
    assert (answer.status, answer.body["reason"]) == (500, "InternalError")


async def test_scale_of_what_is_not_there_is_not_found(api):
    assert (await api.get(f"{api.deployments}/none/scale")).status == 404
    assert (await api.merge(f"{api.widgets}/none/scale", {"spec": {"replicas": 1}})).status == 404


# List


async def test_a_list_is_in_the_order_of_names_and_has_a_version(api):
    for name in ("b", "c", "a", "a-1", "a.1"):
        await api.widget(name)
    last = await api.widget("d")
    found = await api.get(api.widgets)
    assert found.body["kind"] == "WidgetList"
    assert found.body["apiVersion"] == "stage.example.com/v1"
    assert found.names == ["a", "a-1", "a.1", "b", "c", "d"]
    assert int(found.version) >= int(last.version)


async def test_only_custom_objects_say_their_kind_in_lists(api):
    await api.pod("a")
    await api.widget("a")
    assert not {"kind", "apiVersion"} & (await api.get(api.pods)).body["items"][0].keys()
    assert (await api.get(api.widgets)).body["items"][0]["kind"] == "Widget"


async def test_a_list_over_all_namespaces_has_each_object(api):
    await api.widget("a")
    found = (await api.get("/apis/stage.example.com/v1/widgets")).body["items"]
    assert (api.namespace, "a") in {(item["metadata"]["namespace"], item["metadata"]["name"]) for item in found}
    assert (await api.get(api.widgets.replace(api.namespace, "none"))).names == []


async def test_a_list_in_pages_is_that_of_one_moment(api):
    for name in "abcde":
        await api.widget(name, {"was": 1})
    first = await api.get(api.widgets, limit=2)
    assert (first.names, first.metadata["remainingItemCount"]) == (["a", "b"], 3)
    await api.delete(f"{api.widgets}/c")
    await api.merge(f"{api.widgets}/d", {"spec": {"was": 2}})
    await api.widget("cc")
    second = await api.get(api.widgets, limit=2, **{"continue": first.metadata["continue"]})
    third = await api.get(api.widgets, limit=2, **{"continue": second.metadata["continue"]})
    assert (second.names, third.names) == (["c", "d"], ["e"])
    assert second.body["items"][1]["spec"] == {"was": 1}
    assert first.version == second.version == third.version
    assert not third.metadata.get("continue")
    assert "remainingItemCount" not in third.metadata
    assert (await api.get(api.widgets)).names == ["a", "b", "cc", "d", "e"]


async def test_a_page_has_the_version_of_the_first(api):
    for name in "ab":
        await api.widget(name)
    page = await api.get(api.widgets, limit=1)
    other = {"continue": page.metadata["continue"], "resourceVersion": page.version}
    assert (await api.get(api.widgets, **other)).status == 400


async def test_pages_of_a_selection_do_not_say_how_much_is_left(api):
    for name in "abc":
        await api.widget(name, labels={"app": "x"})
    page = await api.get(api.widgets, limit=1, labelSelector="app=x")
    assert "continue" in page.metadata
    assert "remainingItemCount" not in page.metadata
    whole = await api.get(api.widgets, limit=3)
    assert not whole.metadata.get("continue")
    assert "remainingItemCount" not in whole.metadata


async def test_a_list_may_be_that_of_an_earlier_version(api):
    first = await api.widget("a")
    await api.widget("b")
    await api.delete(f"{api.widgets}/a")
    exact = await api.get(api.widgets, resourceVersion=first.version, resourceVersionMatch="Exact")
    assert (exact.names, exact.version) == (["a"], first.version)
    newer = await api.get(api.widgets, resourceVersion=first.version, resourceVersionMatch="NotOlderThan")
    assert newer.names == ["b"]
    assert (await api.get(api.widgets, resourceVersion=first.version)).names == ["b"]
    assert (await api.get(api.widgets, resourceVersion="0")).status == 200


async def test_a_version_to_come_is_too_large(api):
    answer = await api.get(api.widgets, resourceVersion="99999999")
    assert (answer.status, answer.body["reason"], answer.headers["Retry-After"]) == (504, "Timeout", "1")
    assert answer.body["message"].startswith("Timeout: Too large resource version: 99999999, current: ")
    assert answer.body["details"] == {
        "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}],
        "retryAfterSeconds": 1,
    }


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({"limit": "abc"}, 400),
        ({"continue": "abc"}, 400),
        ({"resourceVersion": "abc"}, 400),
        ({"resourceVersionMatch": "Exact"}, 422),
        ({"resourceVersion": "1", "resourceVersionMatch": "strange"}, 422),
        ({"labelSelector": "app==="}, 400),
        ({"labelSelector": "app in"}, 400),
        ({"labelSelector": "app in (a"}, 400),
        ({"labelSelector": "app in (a b)"}, 400),
        ({"labelSelector": "a b"}, 400),
        ({"labelSelector": "a,"}, 400),
        ({"labelSelector": "=a"}, 400),
        ({"labelSelector": "n>x"}, 400),
        ({"fieldSelector": "spec.none=x"}, 400),
        ({"fieldSelector": "nonsense"}, 400),
    ],
)
async def test_a_query_that_makes_no_sense_is_refused(api, query, status):
    answer = await api.get(api.pods, **query)
    assert (answer.status, answer.body["kind"]) == (status, "Status")


@pytest.mark.parametrize(
    ("selector", "names"),
    [
        ("", "abcd"),
        ("app", "abc"),
        ("!app", "d"),
        ("app=x", "ab"),
        ("app==x", "ab"),
        ("app!=x", "cd"),
        ("app in (x, y)", "abc"),
        ("app in (y)", "c"),
        ("app notin (x)", "cd"),
        ("app=x,tier=1", "a"),
        ("app=x,tier notin (1),app", "b"),
        ("app=", ""),
        ("app!=", "abcd"),
        ("empty=", "d"),
        ("tier>1", "b"),
        ("tier<2", "a"),
        ("example.com/role=z", "d"),
    ],
)
async def test_a_label_selector_selects(api, selector, names):
    await api.widget("a", labels={"app": "x", "tier": "1"})
    await api.widget("b", labels={"app": "x", "tier": "2"})
    await api.widget("c", labels={"app": "y", "tier": "many"})
    await api.widget("d", labels={"empty": "", "example.com/role": "z"})
    assert "".join((await api.get(api.widgets, labelSelector=selector)).names) == names


async def test_a_field_selector_selects(api):
    await api.pod("a", node="n1")
    await api.pod("b", node="n2")
    await api.pod("c")
    for selector, names in {
        "metadata.name=a": "a",
        "metadata.name==b": "b",
        "metadata.name!=b": "ac",
        f"metadata.namespace={api.namespace},metadata.name=c": "c",
        "metadata.namespace=other": "",
        "spec.nodeName=n1": "a",
        "spec.nodeName=": "c",
        "status.phase!=Pending": "",
    }.items():
        assert "".join((await api.get(api.pods, fieldSelector=selector)).names) == names
    assert (await api.get("/api/v1/pods", fieldSelector=f"metadata.namespace={api.namespace}")).names == list("abc")


# Watch


async def test_a_watch_tells_all_that_happened_after_a_version_and_then_what_happens(api):
    start = await api.widget("a")
    await api.widget("b")
    await api.merge(f"{api.widgets}/a", {"spec": {"x": 1}})
    async with api.watch(api.widgets, resourceVersion=start.version) as events:
        assert events.response.content_type == "application/json"
        assert await events.brief(2) == [("ADDED", "b"), ("MODIFIED", "a")]
        await api.delete(f"{api.widgets}/b")
        made = await api.widget("c")
        assert await events.brief(1) == [("DELETED", "b")]
        assert await events.next() == {"type": "ADDED", "object": made.body}


async def test_objects_in_events_say_their_kind(api):
    start = await api.pod("a")
    async with api.watch(api.pods, resourceVersion=int(start.version) - 1) as events:
        event = await events.next()
        assert (event["object"]["kind"], event["object"]["apiVersion"]) == ("Pod", "v1")


async def test_what_is_deleted_is_told_with_the_version_at_which_it_went(api):
    last = await api.widget("a", {"x": 1})
    async with api.watch(api.widgets, resourceVersion=last.version) as events:
        await api.delete(f"{api.widgets}/a")
        event = await events.next()
    gone = event["object"]
    assert event["type"] == "DELETED"
    assert gone["spec"] == {"x": 1}
    assert gone["metadata"]["uid"] == last.metadata["uid"]
    assert int(gone["metadata"]["resourceVersion"]) > int(last.version)


@pytest.mark.parametrize("version", [{}, {"resourceVersion": "0"}])
async def test_a_watch_without_a_version_first_tells_what_there_is(api, version):
    for name in ("b", "a"):
        await api.widget(name)
    await api.merge(f"{api.widgets}/a", {"spec": {"x": 1}})
    async with api.watch(api.widgets, **version) as events:
        assert sorted(await events.brief(2)) == [("ADDED", "a"), ("ADDED", "b")]
        await api.delete(f"{api.widgets}/a")
        assert await events.brief(1) == [("DELETED", "a")]


async def test_what_stops_matching_is_deleted_for_a_watch_and_what_starts_is_added(api):
    start = await api.widget("a", {"x": 0}, labels={"app": "x"})
    await api.widget("b", labels={"app": "y"})
    async with api.watch(api.widgets, resourceVersion=start.version, labelSelector="app=x") as events:
        changed = await api.merge(f"{api.widgets}/a", {"metadata": {"labels": {"app": "y"}}, "spec": {"x": 1}})
        event = await events.next()
        assert (event["type"], event["object"]["metadata"]["labels"]) == ("DELETED", {"app": "x"})
        assert (event["object"]["spec"], event["object"]["metadata"]["resourceVersion"]) == ({"x": 0}, changed.version)
        await api.merge(f"{api.widgets}/a", {"spec": {"x": 2}})
        await api.merge(f"{api.widgets}/b", {"metadata": {"labels": {"app": "x"}}})
        assert await events.brief(1) == [("ADDED", "b")]
        await api.delete(f"{api.widgets}/a")
        await api.merge(f"{api.widgets}/b", {"spec": {"x": 3}})
        await api.delete(f"{api.widgets}/b")
        assert await events.brief(2) == [("MODIFIED", "b"), ("DELETED", "b")]


async def test_one_object_can_be_watched(api):
    start = await api.widget("a")
    async with api.watch(api.widgets, resourceVersion=start.version, fieldSelector="metadata.name=b") as events:
        await api.merge(f"{api.widgets}/a", {"spec": {"x": 1}})
        await api.widget("b")
        await api.widget("bb")
        await api.delete(f"{api.widgets}/b")
        assert await events.brief(2) == [("ADDED", "b"), ("DELETED", "b")]


async def test_a_watch_of_a_namespace_does_not_tell_of_others(api):
    start = await api.configmap("a")
    async with (
        api.watch(api.configmaps, resourceVersion=start.version, fieldSelector="metadata.name=here") as own,
        api.watch("/api/v1/configmaps", resourceVersion=start.version, fieldSelector="metadata.name=here") as whole,
    ):
        await api.create("/api/v1/namespaces/default/configmaps", {"metadata": {"name": "here"}})
        await api.delete("/api/v1/namespaces/default/configmaps/here")
        made = await api.configmap("here")
        assert await own.next() == {"type": "ADDED", "object": made.body}
        assert await whole.brief(3) == [("ADDED", "here"), ("DELETED", "here"), ("ADDED", "here")]


async def test_what_changes_nothing_is_not_told(api):
    start = await api.widget("a", {"x": 1})
    async with api.watch(api.widgets, resourceVersion=start.version) as events:
        await api.merge(f"{api.widgets}/a", {"spec": {"x": 1}})
        await api.put(f"{api.widgets}/a", start.body)
        await api.widget("b")
        assert await events.brief(1) == [("ADDED", "b")]


async def test_a_watch_ends_when_its_time_is_over(api):
    made = await api.widget("a")
    started = asyncio.get_running_loop().time()
    async with api.watch(api.widgets, resourceVersion=int(made.version) - 1, timeoutSeconds=1) as events:
        told = [(event["type"], event["object"]) for event in await events.rest()]
    assert told == [("ADDED", made.body)]
    assert 0.9 < asyncio.get_running_loop().time() - started < 5


async def test_only_custom_lists_say_that_nothing_is_left(api):
    assert (await api.get(api.widgets)).metadata["continue"] == ""
    assert "continue" not in (await api.get(api.pods)).metadata


async def test_before_its_end_a_watch_tells_a_bookmark_if_there_is_news(api):
    first = await api.widget("a")
    query = {"timeoutSeconds": 4, "fieldSelector": "metadata.name=none"}
    async with (
        api.watch(api.widgets, allowWatchBookmarks="true", resourceVersion=first.version, **query) as events,
        api.watch(api.widgets, resourceVersion=first.version, **query) as without,
    ):
        second = await api.widget("b")
        async with api.watch(
            api.widgets, allowWatchBookmarks="true", resourceVersion=second.version, **query
        ) as newest:
            told = await events.rest()
            assert await without.rest() == []
            assert await newest.rest() == []
    # The real server may tell two.
    assert {event["type"] for event in told} == {"BOOKMARK"}
    mark = told[-1]["object"]
    assert (mark["kind"], mark["apiVersion"]) == ("Widget", "stage.example.com/v1")
    assert int(mark["metadata"]["resourceVersion"]) >= int(second.version)


@pytest.mark.parametrize(
    "query", [{}, {"resourceVersion": "0"}, {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan"}]
)
async def test_a_bookmark_tells_that_all_there_was_has_been_told(api, query):
    await api.widget("a")
    async with api.watch(api.widgets, allowWatchBookmarks="true", **query) as events:
        assert await events.brief(1) == [("ADDED", "a")]
        mark = await events.next()
        assert mark["type"] == "BOOKMARK"
        assert mark["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
        await api.widget("b")
        assert await events.brief(1) == [("ADDED", "b")]


async def test_a_watch_that_sends_what_there_is_says_how_new_it_must_be(api):
    answer = await api.get(api.widgets, watch="1", sendInitialEvents="true")
    assert (answer.status, answer.body["reason"]) == (422, "Invalid")


async def test_a_watch_from_what_is_no_version_fails(api):
    answer = await api.get(api.widgets, watch="1", resourceVersion="abc")
    assert (answer.status, answer.body["status"]) == (500, "Failure")


async def test_a_watch_from_ahead_is_silent_until_then(api):
    made = await api.widget("a")
    async with api.watch(api.widgets, resourceVersion=int(made.version) + 10_000, timeoutSeconds=1) as events:
        await api.widget("b")
        assert await events.rest() == []


async def test_what_is_forgotten_is_gone(api, refusal):
    for name in "abc":
        first = await api.widget(name)
    page = await api.get(api.widgets, limit=1)
    await api.widget("d")
    await api.delete(f"{api.widgets}/a")
    await api.compact()
    async with api.watch(api.widgets, resourceVersion=int(first.version) - 1) as events:
        told = await events.rest()
    assert [event["type"] for event in told] == ["ERROR"]
    status = told[0]["object"]
    assert (status["kind"], status["code"], status["reason"]) == ("Status", 410, "Expired")
    assert status["message"].startswith("too old resource version: ")
    for query in (
        {"limit": 1, "continue": page.metadata["continue"]},
        {"resourceVersion": first.version, "resourceVersionMatch": "Exact"},
    ):
        answer = await api.get(api.widgets, **query)
        assert (answer.status, answer.body["reason"], answer.body["code"]) == (410, "Expired", 410)
    whole = await api.get(api.widgets)
    assert whole.names == ["b", "c", "d"]
    exact = await api.get(api.widgets, resourceVersion=whole.version, resourceVersionMatch="Exact")
    assert exact.names == whole.names
    async with api.watch(api.widgets, resourceVersion=whole.version) as events:
        await api.widget("e")
        assert await events.brief(1) == [("ADDED", "e")]


# What a server tells of itself


async def test_a_server_tells_its_version_and_health(api):
    version = (await api.get("/version")).body
    assert version["major"] == "1"
    assert version["gitVersion"].startswith("v1.")
    for path in ("/readyz", "/livez", "/healthz"):
        answer = await api.get(path)
        assert (answer.status, answer.body) == (200, "ok")


async def test_a_server_tells_what_it_serves(api):
    assert (await api.get("/api")).body["versions"] == ["v1"]
    core = {one["name"] for one in (await api.get("/api/v1")).body["resources"]}
    assert {"pods", "pods/status", "nodes", "services", "configmaps", "namespaces"} <= core
    assert "configmaps/status" not in core
    groups = {group["name"]: group for group in (await api.get("/apis")).body["groups"]}
    assert {"apps", "coordination.k8s.io", "stage.example.com"} <= groups.keys()
    served = {"groupVersion": "stage.example.com/v1", "version": "v1"}
    group = {"name": "stage.example.com", "versions": [served], "preferredVersion": served}
    assert groups["stage.example.com"] == group
    found = (await api.get("/apis/stage.example.com")).body
    assert found == {"kind": "APIGroup", "apiVersion": "v1", **group}
    resources = (await api.get("/apis/stage.example.com/v1")).body
    assert (resources["kind"], resources["groupVersion"]) == ("APIResourceList", "stage.example.com/v1")
    named = {one["name"]: one for one in resources["resources"]}
    assert named.keys() == {"widgets", "widgets/status", "widgets/scale"}
    assert named["widgets"]["kind"] == "Widget"
    assert named["widgets"]["namespaced"]
    assert {"get", "list", "watch", "patch", "update", "delete", "create"} <= set(named["widgets"]["verbs"])
    assert named["widgets/scale"]["kind"] == "Scale"


async def test_objects_without_a_namespace_are_served(api):
    name = f"node-{api.namespace}"
    await api.create("/api/v1/nodes", {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}})
    assert "namespace" not in (await api.get(f"/api/v1/nodes/{name}")).metadata
    assert name in (await api.get("/api/v1/nodes")).names
    assert (await api.get(f"/api/v1/namespaces/{api.namespace}")).metadata["name"] == api.namespace
    assert (await api.get(f"/api/v1/namespaces/{api.namespace}/nodes")).status == 404
    assert (await api.delete(f"/api/v1/nodes/{name}")).status == 200


def _seconds(moment: str) -> float:
    return calendar.timegm(time.strptime(moment, "%Y-%m-%dT%H:%M:%SZ"))
