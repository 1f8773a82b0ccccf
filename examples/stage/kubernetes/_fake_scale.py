"""The /scale of an object: how many replicas there are, and how many there shall be."""

from collections.abc import Mapping
from typing import Any

from examples.stage.kubernetes._fake_kinds import Kind
from examples.stage.kubernetes._fake_selectors import reach
from examples.stage.kubernetes._fake_status import StatusError, bad_request

__all__ = ["scale_of", "scaled"]


def scale_of(kind: Kind, content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the Scale of an object.

    Raises:
        StatusError: 500, a custom object does not say how many replicas it wishes.
    """
    replicas = reach(content, "spec.replicas")
    if replicas is None:
        why = 'the spec replicas field ".spec.replicas" does not exist'
        raise StatusError(500, f"Internal error occurred: {why}", details={"causes": [{"message": why}]})
    told = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    metadata = {key: content["metadata"][key] for key in told if key in content["metadata"]}
    status: dict[str, Any] = {"replicas": reach(content, "status.replicas", 0)}
    selector = reach(content, kind.scale_selector or "")
    if isinstance(selector, Mapping):
        selector = ",".join(f"{key}={value}" for key, value in sorted(selector.get("matchLabels", {}).items()))
    if selector:
        status["selector"] = selector
    spec = {"replicas": replicas} if replicas else {}
    return {"kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": metadata, "spec": spec, "status": status}


def scaled(kind: Kind, content: Mapping[str, Any], scale: Mapping[str, Any]) -> dict[str, Any]:
    """Return an object with the replicas that a Scale wishes.

    Raises:
        StatusError: 400 for what is no Scale, 422 for a negative number.
    """
    given = (scale.get("apiVersion") or "autoscaling/v1", scale.get("kind") or "Scale")
    if given != ("autoscaling/v1", "Scale"):
        raise bad_request(f'{given[1]} in version "{given[0]}" cannot be handled as a Scale')
    replicas = reach(scale, "spec.replicas", 0)
    name = content["metadata"]["name"]
    if not isinstance(replicas, int):
        raise bad_request("Scale cannot be read: spec.replicas is no whole number")
    if replicas < 0:
        why = f"Invalid value: {replicas}: should be a non-negative integer"
        causes = [{"reason": "FieldValueInvalid", "message": why, "field": "spec.replicas"}]
        details = {"name": name, "group": kind.group, "kind": "Scale", "causes": causes}
        raise StatusError(422, f'Scale "{name}" is invalid: spec.replicas: {why}', details=details)
    version = (scale.get("metadata") or {}).get("resourceVersion")
    metadata = {**content["metadata"], "resourceVersion": version}
    return {**content, "metadata": metadata, "spec": {**(content.get("spec") or {}), "replicas": replicas}}
