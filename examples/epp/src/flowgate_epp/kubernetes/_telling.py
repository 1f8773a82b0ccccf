"""A follower, told of changes, though it may choke on some object."""

import logging
from collections.abc import Sequence
from typing import Protocol

from flowgate_epp.kubernetes._ledger import Change, Object, version_of

__all__ = ["Follower", "Telling"]

_logger = logging.getLogger("flowgate_epp.kubernetes")

_MOST_WORDS = 8


class Follower(Protocol):
    """Hears what a `Reflector` learns."""

    def update(self, changed: Sequence[Object], removed: Sequence[Object]) -> None:
        """Take what differs from the update before; the first one is the whole list, be it empty.

        Called in the turn in which it was read, once for all events that were read together; must return at once. When
        it raises, that is logged and each object is told once more on its own, for the others' sake.

        Args:
            changed: Objects that are new, or have another version; of several versions of one, the newest.
            removed: Those that have gone: only ``metadata`` with name, namespace, uid and resourceVersion. An object
                that was made anew under its old name is in both: take `removed` first.
        """
        ...


class Telling:
    """Tells a follower; what it raises ends nothing, and is logged for a few objects at most.

    Args:
        follower: Who is told.
        what: What it follows, for the log.
    """

    def __init__(self, follower: Follower, what: str) -> None:
        self._follower = follower
        self._what = what
        self._words: set[str] = set()

    def tell(self, change: Change) -> None:
        """Tell of everything at once; one by one, if that fails."""
        is_alone = len(change.changed) + len(change.removed) <= 1
        if self._is_taken(change.changed, change.removed, is_alone) or is_alone:
            return
        for one in change.removed:
            self._is_taken((), (one,), is_alone=True)
        for one in change.changed:
            self._is_taken((one,), (), is_alone=True)

    def _is_taken(self, changed: Sequence[Object], removed: Sequence[Object], is_alone: bool) -> bool:
        try:
            self._follower.update(changed, removed)
        except Exception:
            if is_alone:
                self._complain((*changed, *removed))
            return False
        return True

    def _complain(self, objects: Sequence[Object]) -> None:
        key = version_of(objects[0])[0] if objects else None
        name = "an empty list" if key is None else "/".join(part for part in key if part)
        if name not in self._words and len(self._words) < _MOST_WORDS:
            self._words.add(name)
            _logger.exception("%s: %s is passed over, for it cannot be taken", self._what, name)
