"""What is known of the cluster's objects, and what has changed."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from flowgate_epp.kubernetes._errors import ApiError

__all__ = ["Change", "Key", "Ledger", "Object", "Version", "version_of", "without_managed_fields"]

Object = Mapping[str, Any]
"""A Kubernetes object as JSON says it."""


class Key(NamedTuple):
    """An object's place: there is one at most at a time."""

    namespace: str
    name: str


class Version(NamedTuple):
    """Which object is there, and in which version."""

    uid: str
    resource_version: str


class Change(NamedTuple):
    """What differs from before."""

    changed: Sequence[Object]
    removed: Sequence[Object]


def without_managed_fields(one: Object) -> Object:
    """Return an object without what nobody reads, and what is often its greater part."""
    metadata = one["metadata"]
    if "managedFields" not in metadata:
        return one
    return {**one, "metadata": {name: value for name, value in metadata.items() if name != "managedFields"}}


def version_of(one: Object) -> tuple[Key, Version]:
    """Return an object's place and version.

    Raises:
        ApiError: It is none of an API server's.
    """
    try:
        metadata = one["metadata"]
        name, version = metadata["name"], metadata["resourceVersion"]
        namespace, uid = metadata.get("namespace") or "", metadata.get("uid") or ""
    except (AttributeError, KeyError, TypeError):
        raise ApiError(200, "InvalidAnswer", "an object without metadata.name or metadata.resourceVersion") from None
    return Key(str(namespace), str(name)), Version(str(uid), str(version))


class Ledger:
    """The uid and version of each object, some 500 bytes for each: enough to see what has changed and what has gone.

    Args:
        trim: Makes of an object what is told of it, when it is read.
    """

    def __init__(self, trim: Callable[[Object], Object] = without_managed_fields) -> None:
        self._trim = trim
        self._known: dict[Key, Version] = {}

    def __len__(self) -> int:
        return len(self._known)

    def read(self, objects: Iterable[Object]) -> Mapping[Key, tuple[Version, Object]]:
        """Return a page of objects by their places, trimmed.

        Raises:
            ApiError: One is none of an API server's.
        """
        page: dict[Key, tuple[Version, Object]] = {}
        for one in objects:
            key, version = version_of(one)
            page[key] = version, self._trimmed(one)
        return page

    def replace(self, present: Mapping[Key, tuple[Version, Object]]) -> Change:
        """Take the whole list for the truth: what is not in it has gone. O(objects)."""
        return self._take({**dict.fromkeys(self._known), **present})

    def apply(self, events: Iterable[Object]) -> Change:
        """Take events in their order, and return what they come to. O(events).

        Raises:
            ApiError: One is none of an API server's; nothing has changed then.
        """
        latest: dict[Key, tuple[Version, Object] | None] = {}
        for event in events:
            one = event["object"]
            key, version = version_of(one)
            latest[key] = None if event["type"] == "DELETED" else (version, one)
        return self._take({key: then and (then[0], self._trimmed(then[1])) for key, then in latest.items()})

    def _trimmed(self, one: Object) -> Object:
        try:
            return self._trim(one)
        except Exception:  # whoever is told of it will meet what is odd about it
            return one

    def _take(self, latest: Mapping[Key, tuple[Version, Object] | None]) -> Change:
        changed: list[Object] = []
        removed: list[Object] = []
        for key, then in latest.items():
            known = self._known.get(key)
            if known is not None and (then is None or then[0].uid != known.uid):
                del self._known[key]
                removed.append(_stub(key, known))
            if then is not None and then[0] != known:
                self._known[key] = then[0]
                changed.append(then[1])
        return Change(changed, removed)


def _stub(key: Key, version: Version) -> Object:
    metadata = {"name": key.name, "uid": version.uid, "resourceVersion": version.resource_version}
    return {"metadata": {**metadata, "namespace": key.namespace} if key.namespace else metadata}
