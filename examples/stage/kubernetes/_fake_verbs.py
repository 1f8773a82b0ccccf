"""What may be done to objects, by the rules of a real server: versions, subresources, finalizers, graceful ends."""

import datetime
import json
import random
import re
import string
import uuid
from collections.abc import Mapping
from typing import Any

import attrs

from examples.stage.kubernetes._fake_kinds import Kind
from examples.stage.kubernetes._fake_patches import patched
from examples.stage.kubernetes._fake_scale import scale_of, scaled
from examples.stage.kubernetes._fake_status import (
    StatusError,
    already_exists,
    bad_request,
    conflict,
    invalid,
    not_found,
    unmet,
)
from examples.stage.kubernetes._fake_store import Shelf, Store, Stored

__all__ = ["Target", "Verbs"]

_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_SERVERS_OWN = (
    "uid",
    "creationTimestamp",
    "generation",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "namespace",
)
_POD_GRACE = 30


@attrs.frozen
class Target:
    """What a request is about.

    Attributes:
        shelf: The kind.
        namespace: The namespace; None for all of them, and for kinds without.
        name: The object; None for the collection.
        subresource: "status", "scale" or "".
    """

    shelf: Shelf
    namespace: str | None
    name: str | None
    subresource: str = ""

    @property
    def key(self) -> str:
        """The object's key in its shelf."""
        return f"{self.namespace or ''}/{self.name}"

    @property
    def stored(self) -> Stored:
        """The object as it is.

        Raises:
            StatusError: 404, it is not there.
        """
        found: Stored | None = self.shelf.items.get(self.key)
        if found is None:
            raise not_found(self.shelf.kind, self.name or "")
        return found


class Verbs:
    """Creates, changes and deletes.

    Attributes:
        has_graceful_pods: Whether a pod on a node outlives its deletion until it is deleted with a grace period of 0,
            as its node's agent would do it.
    """

    def __init__(self, store: Store, *, has_graceful_pods: bool) -> None:
        self.has_graceful_pods = has_graceful_pods
        self._store = store

    def get(self, target: Target) -> dict[str, Any]:
        """Return an object, or its Scale."""
        stored = target.stored
        return scale_of(target.shelf.kind, stored.object) if target.subresource == "scale" else stored.object

    def create(self, target: Target, body: dict[str, Any], *, is_status_kept: bool = False) -> dict[str, Any]:
        """Create an object of a name that is free.

        Raises:
            StatusError: 400, 409 or 422.
        """
        kind = target.shelf.kind
        content = self._checked(target, body)
        metadata = content["metadata"]
        if metadata.get("resourceVersion"):
            raise StatusError(500, "resourceVersion should not be set on objects to be created", reason="")
        name = _named(kind, metadata)
        named = attrs.evolve(target, name=name)
        if named.key in target.shelf.items:
            raise already_exists(kind, name)
        for own in _SERVERS_OWN:
            metadata.pop(own, None)
        metadata |= {"name": name, "uid": str(uuid.uuid4()), "creationTimestamp": _now()}
        if target.namespace is not None:
            metadata["namespace"] = target.namespace
        if kind.has_generation:
            metadata["generation"] = 1
        if kind.has_status and not is_status_kept:
            content.pop("status", None)
            if kind.kind == "Pod":
                content["status"] = {"phase": "Pending"}
        _fill_in(target.shelf, content)
        return self._store.put(target.shelf, named.key, content).object

    def replace(self, target: Target, body: dict[str, Any], *, is_status_kept: bool = False) -> dict[str, Any]:
        """Replace an object, or its status or scale, with what a PUT brings.

        Raises:
            StatusError: 400, 404, 409 or 422.
        """
        kind = target.shelf.kind
        if target.subresource == "scale":
            return self._rescale(target, body)
        content = self._checked(target, body)
        name = content["metadata"].get("name")
        if not name:
            raise bad_request(
                f"the name of the object ({target.name} based on URL) was undeterminable: name must be provided"
            )
        self._check_name(target, name)
        if kind.is_made_by_put and target.key not in target.shelf.items:
            return self.create(target, content)
        stored = target.stored
        if (kind.is_strict or kind.is_custom) and not content["metadata"].get("resourceVersion"):
            why = "Invalid value: 0: must be specified for an update"
            raise invalid(kind, name, "metadata.resourceVersion", why)
        return self._change(target, stored, content, is_status_kept=is_status_kept)

    def patch(self, target: Target, patch: object, media_type: str) -> dict[str, Any]:
        """Change an object, or its status or scale, by a patch.

        Raises:
            StatusError: 400, 404, 409, 415 or 422.
        """
        stored = target.stored
        if target.subresource == "scale":
            return self._rescale(target, patched(scale_of(target.shelf.kind, stored.object), patch, media_type))
        content = self._checked(target, patched(stored.object, patch, media_type))
        self._check_name(target, content["metadata"].get("name"))
        return self._change(target, stored, content)

    def delete(self, target: Target, options: Mapping[str, Any]) -> dict[str, Any]:
        """Delete an object; returns what a server answers: the object, or a Status.

        Raises:
            StatusError: 404, or 409 for a precondition that does not hold.
        """
        shelf, stored = target.shelf, target.stored
        metadata = stored.object["metadata"]
        for field, called in (("uid", "UID"), ("resourceVersion", "ResourceVersion")):
            wanted = (options.get("preconditions") or {}).get(field)
            if wanted is not None and wanted != metadata[field]:
                happened = "deleted and then recreated" if field == "uid" else "modified"
                raise unmet(
                    shelf.kind,
                    metadata["name"],
                    f"the {called} in the precondition ({wanted}) does not match the {called} in record "
                    f"({metadata[field]}). The object might have been {happened}",
                )
        grace = self._grace(shelf, stored.object, options.get("gracePeriodSeconds"))
        if grace or metadata.get("finalizers"):
            if "deletionTimestamp" not in metadata or grace < metadata["deletionGracePeriodSeconds"]:
                stored = self._mark(target, stored, grace)
            return stored.object
        self._store.remove(shelf, stored.key)
        if shelf.kind.tells_deleted:
            return stored.object
        details = {"name": metadata["name"], "group": shelf.kind.group, "kind": shelf.kind.plural}
        said = {key: value for key, value in details.items() if value} | {"uid": metadata["uid"]}
        return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": said}

    def _checked(self, target: Target, body: dict[str, Any]) -> dict[str, Any]:
        kind = target.shelf.kind
        if kind.is_custom and not body.get("kind"):
            raise bad_request(
                f"the object provided is unrecognized (must be of type {kind.kind}): Object 'Kind' is missing"
            )
        given = (body.get("apiVersion") or kind.api_version, body.get("kind") or kind.kind)
        if given != (kind.api_version, kind.kind):
            raise bad_request(f'{given[1]} in version "{given[0]}" cannot be handled as a {kind.kind}')
        metadata = body.get("metadata") or {}
        if not isinstance(metadata, dict):
            raise bad_request(f"{kind.kind} cannot be read: metadata is no object")
        for field in ("labels", "annotations"):
            if not isinstance(metadata.get(field) or {}, dict):
                raise bad_request(f"{kind.kind} cannot be read: metadata.{field} is no object")
        if metadata.get("namespace") and metadata["namespace"] != target.namespace:
            raise bad_request("the namespace of the provided object does not match the namespace sent on the request")
        return {"kind": kind.kind, "apiVersion": kind.api_version, **body, "metadata": dict(metadata)}

    def _check_name(self, target: Target, name: object) -> None:
        if name != target.name:
            raise bad_request(f"the name of the object ({name}) does not match the name on the URL ({target.name})")

    def _change(
        self, target: Target, stored: Stored, content: dict[str, Any], *, is_status_kept: bool = False
    ) -> dict[str, Any]:
        kind, old = target.shelf.kind, stored.object
        name = old["metadata"]["name"]
        metadata = content["metadata"]
        if metadata.get("resourceVersion") not in {None, "", "0", str(stored.version)}:
            raise conflict(kind, name)
        if metadata.get("uid", old["metadata"]["uid"]) != old["metadata"]["uid"]:
            why = f'Invalid value: "{metadata["uid"]}": field is immutable'
            raise invalid(kind, name, "metadata.uid", why)
        if target.subresource == "status":
            content = {**{key: value for key, value in old.items() if key != "status"}, **_only(content, "status")}
        elif kind.has_status and not is_status_kept:
            content = {**{key: value for key, value in content.items() if key != "status"}, **_only(old, "status")}
        if target.subresource == "status":
            metadata = old["metadata"]
        metadata = {key: value for key, value in metadata.items() if key not in _SERVERS_OWN}
        content["metadata"] = metadata | {key: old["metadata"][key] for key in _SERVERS_OWN if key in old["metadata"]}
        content["metadata"]["resourceVersion"] = str(stored.version)
        _fill_in(target.shelf, content)
        self._check_finalizers(target, old["metadata"], metadata)
        if kind.has_generation and _wish(kind.has_status, content) != _wish(kind.has_status, old):
            content["metadata"]["generation"] = old["metadata"]["generation"] + 1
        return self._settle(target, stored, content)

    def _settle(self, target: Target, stored: Stored, content: dict[str, Any]) -> dict[str, Any]:
        metadata = content["metadata"]
        if metadata.get("deletionGracePeriodSeconds") == 0 and not metadata.get("finalizers"):
            self._store.remove(target.shelf, stored.key)
            return content
        if content == stored.object:
            return stored.object  # nothing changed: no new version, and no event
        return self._store.put(target.shelf, stored.key, content).object

    def _rescale(self, target: Target, scale: dict[str, Any]) -> dict[str, Any]:
        kind, stored = target.shelf.kind, target.stored
        content = scaled(kind, stored.object, scale)
        return scale_of(kind, self._change(attrs.evolve(target, subresource=""), stored, content))

    def _check_finalizers(self, target: Target, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
        added = [one for one in new.get("finalizers") or () if one not in (old.get("finalizers") or ())]
        if added and "deletionTimestamp" in old:
            rule = "no new finalizers can be added if the object is being deleted"
            why = f"Forbidden: {rule}, found new finalizers {added}"
            raise invalid(target.shelf.kind, target.name or "", "metadata.finalizers", why, "FieldValueForbidden")

    def _grace(self, shelf: Shelf, content: Mapping[str, Any], asked: int | None) -> int:
        if shelf.kind.kind != "Pod" or not self.has_graceful_pods:
            return 0
        spec = content.get("spec") or {}
        is_over = (content.get("status") or {}).get("phase") in {"Failed", "Succeeded"}
        if not spec.get("nodeName") or is_over:
            return 0
        grace = spec.get("terminationGracePeriodSeconds", _POD_GRACE) if asked is None else asked
        return int(grace)

    def _mark(self, target: Target, stored: Stored, grace: int) -> Stored:
        old = stored.object["metadata"]
        metadata = {**old, "deletionTimestamp": _now(grace), "deletionGracePeriodSeconds": grace}
        if "generation" in old:
            metadata["generation"] = old["generation"] + 1
        return self._store.put(target.shelf, stored.key, {**stored.object, "metadata": metadata})


def _named(kind: Kind, metadata: Mapping[str, Any]) -> str:
    name: str = metadata.get("name") or ""
    if not name and metadata.get("generateName"):
        name = metadata["generateName"] + "".join(random.choices(string.ascii_lowercase + string.digits, k=5))
    if not name:
        why = "Required value: name or generateName is required"
        raise invalid(kind, "", "metadata.name", why, "FieldValueRequired")
    if not _NAME.fullmatch(name):
        why = (
            f'Invalid value: "{name}": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric '
            "characters, '-' or '.', and must start and end with an alphanumeric character"
        )
        raise invalid(kind, name, "metadata.name", why)
    return name


def _fill_in(shelf: Shelf, content: dict[str, Any]) -> None:
    if shelf.kind.scale_selector is not None and not shelf.kind.is_custom:
        content["spec"] = {"replicas": 1, **(content.get("spec") or {})}


def _only(content: Mapping[str, Any], key: str) -> dict[str, Any]:
    return {key: content[key]} if key in content else {}


def _wish(has_status: bool, content: Mapping[str, Any]) -> str:
    left_out = {"metadata", "status"} if has_status else {"metadata"}
    return json.dumps({key: value for key, value in content.items() if key not in left_out}, sort_keys=True)


def _now(later: int = 0) -> str:
    moment = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=later)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
