"""What is stored: the objects of each kind, and a bounded log of what happened to them."""

import json
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import attrs
from sortedcontainers import SortedDict

from examples.stage.kubernetes._fake_kinds import Kind
from examples.stage.kubernetes._fake_status import expired

__all__ = ["Change", "Shelf", "Store", "Stored"]


@attrs.frozen(eq=False)
class Stored:
    """An object at one version; nobody changes it.

    Attributes:
        key: Its namespace and its name, in the order of lists.
        version: Its resourceVersion.
        object: All of it.
        rest: Its JSON without kind, apiVersion and the brace before them.
    """

    key: str
    version: int
    object: dict[str, Any]
    rest: str

    @classmethod
    def of(cls, key: str, version: int, content: dict[str, Any]) -> "Stored":
        """Return an object with the version written into it."""
        metadata = {**content["metadata"], "resourceVersion": str(version)}
        bare = {name: value for name, value in content.items() if name not in {"kind", "apiVersion"}}
        bare["metadata"] = metadata
        rest = json.dumps(bare, separators=(",", ":"))[1:]
        return cls(key, version, {**content, "metadata": metadata}, rest)

    @property
    def text(self) -> str:
        """Its JSON."""
        head = json.dumps({"kind": self.object["kind"], "apiVersion": self.object["apiVersion"]}, separators=(",", ":"))
        return f"{head[:-1]},{self.rest}"

    @property
    def labels(self) -> dict[str, str]:
        """Its labels."""
        labels: dict[str, str] | None = self.object["metadata"].get("labels")
        return labels or {}


@attrs.frozen(eq=False)
class Change:
    """What happened to an object.

    Attributes:
        version: The version at which it happened.
        key: The object's key.
        before: The object before; None for a new one.
        after: The object after; None for one that is gone.
    """

    version: int
    key: str
    before: Stored | None
    after: Stored | None


class Shelf:
    """The objects of one kind.

    Attributes:
        kind: The kind.
        items: The objects by key, in the order of lists.
        compacted: What happened up to this version is forgotten.
        listeners: Called with each change, in the turn in which it happens.
    """

    def __init__(self, kind: Kind, log_size: int, compacted: int) -> None:
        self.kind = kind
        self.items: SortedDict[str, Stored] = SortedDict()
        self.compacted = compacted
        self.listeners: set[Callable[[Change], None]] = set()
        self._log: deque[Change] = deque()
        self._log_size = log_size

    def record(self, change: Change) -> None:
        """Do a change, remember it, and tell of it."""
        if change.after is None:
            del self.items[change.key]
        else:
            self.items[change.key] = change.after
        self._log.append(change)
        if len(self._log) > self._log_size:
            self.compacted = self._log.popleft().version
        for listener in tuple(self.listeners):
            listener(change)

    def compact(self, version: int) -> None:
        """Forget what happened up to a version that is not ahead."""
        self._log.clear()
        self.compacted = version

    def since(self, version: int) -> list[Change]:
        """Return what happened after a version.

        Raises:
            StatusError: 410, it is forgotten.
        """
        if version < self.compacted:
            raise expired(f"too old resource version: {version} ({self.compacted})")
        return list(self._log)[bisect_right(self._log, version, key=lambda change: change.version) :]

    def at(self, version: int) -> SortedDict[str, Stored]:
        """Return the objects as they were at a version.

        Raises:
            StatusError: 410, it is forgotten.
        """
        later = self.since(version)
        if not later:
            return self.items
        items = self.items.copy()
        for change in reversed(later):
            if change.before is None:
                del items[change.key]
            else:
                items[change.key] = change.before
        return items


class Store:
    """All objects, under one version that grows with each change of any of them.

    Attributes:
        version: The version of the last change.
    """

    def __init__(self, log_size: int) -> None:
        self.version = 0
        self._log_size = log_size
        self._shelves: dict[tuple[str, str, str], Shelf] = {}

    def __iter__(self) -> Iterator[Shelf]:
        """Go through the shelves, in the order in which they came."""
        return iter(self._shelves.values())

    def add(self, kind: Kind) -> Shelf:
        """Serve a kind; one that is served stays as it is."""
        at = (kind.group, kind.version, kind.plural)
        return self._shelves.setdefault(at, Shelf(kind, self._log_size, self.version))

    def find(self, group: str, version: str, plural: str) -> Shelf | None:
        """Return the shelf of a kind; None when it is not served."""
        return self._shelves.get((group, version, plural))

    def put(self, shelf: Shelf, key: str, content: dict[str, Any]) -> Stored:
        """Store an object; returns it with its new version."""
        self.version += 1
        stored = Stored.of(key, self.version, content)
        shelf.record(Change(self.version, key, shelf.items.get(key), stored))
        return stored

    def remove(self, shelf: Shelf, key: str) -> None:
        """Remove an object that is there."""
        self.version += 1
        shelf.record(Change(self.version, key, shelf.items[key], None))

    def compact(self) -> None:
        """Forget all that happened."""
        for shelf in self:
            shelf.compact(self.version)
