"""What a server tells of itself: its version, its health, and which kinds it serves."""

from collections.abc import Iterable
from typing import Any

from examples.stage.kubernetes._fake_kinds import Kind
from examples.stage.kubernetes._fake_status import StatusError
from examples.stage.kubernetes._fake_store import Store

__all__ = ["discovered"]

_VERSION = {
    "major": "1",
    "minor": "35",
    "gitVersion": "v1.35.0-fake",
    "gitCommit": "",
    "gitTreeState": "",
    "buildDate": "1970-01-01T00:00:00Z",
    "goVersion": "",
    "compiler": "",
    "platform": "",
}
_VERBS = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]
_PART_VERBS = ["get", "patch", "update"]


def discovered(  # noqa: PLR0911 - a table of paths
    store: Store, path: str, host: str
) -> dict[str, Any] | str | None:
    """Return what a path without objects tells; None for a path that may have objects.

    Raises:
        StatusError: 404, nothing that is served.
    """
    kinds = [shelf.kind for shelf in store]
    groups = {kind.group for kind in kinds}
    match path.strip("/").split("/"):
        case ["version"]:
            return _VERSION
        case ["healthz" | "livez" | "readyz"]:
            return "ok"
        case ["api"]:
            at = [{"clientCIDR": "0.0.0.0/0", "serverAddress": host}]
            return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": at}
        case ["api", "v1"]:
            return _resources("v1", [kind for kind in kinds if not kind.group])
        case ["api", "v1", *_]:
            return None
        case ["apis"]:
            told = [_group(group, kinds) for group in dict.fromkeys(kind.group for kind in kinds) if group]
            return {"kind": "APIGroupList", "apiVersion": "v1", "groups": told}
        case ["apis", group] if group in groups:
            return {"kind": "APIGroup", "apiVersion": "v1", **_group(group, kinds)}
        case ["apis", group, version, *rest]:
            served = [kind for kind in kinds if kind.group == group and kind.version == version]
            if served:
                return None if rest else _resources(f"{group}/{version}", served)
    raise StatusError(404, "404 page not found", reason="")


def _group(group: str, kinds: Iterable[Kind]) -> dict[str, Any]:
    versions = dict.fromkeys(kind.version for kind in kinds if kind.group == group)
    told = [{"groupVersion": f"{group}/{version}", "version": version} for version in versions]
    return {"name": group, "versions": told, "preferredVersion": told[0]}


def _resources(group_version: str, kinds: Iterable[Kind]) -> dict[str, Any]:
    resources: list[dict[str, Any]] = []
    for kind in kinds:
        common = {"singularName": "", "namespaced": kind.is_namespaced, "kind": kind.kind}
        resources.append({"name": kind.plural, **common, "singularName": kind.kind.lower(), "verbs": _VERBS})
        if kind.has_status:
            resources.append({"name": f"{kind.plural}/status", **common, "verbs": _PART_VERBS})
        if kind.scale_selector is not None:
            scale = {"group": "autoscaling", "version": "v1", "kind": "Scale"}
            resources.append({"name": f"{kind.plural}/scale", **common, **scale, "verbs": _PART_VERBS})
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": resources}
