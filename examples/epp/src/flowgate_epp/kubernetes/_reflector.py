"""A resource of the cluster, followed: listed once, then watched, through whatever happens on the way."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import NoReturn

from flowgate_epp.kubernetes._client import ApiClient
from flowgate_epp.kubernetes._errors import ApiError
from flowgate_epp.kubernetes._ledger import Key, Ledger, Object, Version, without_managed_fields
from flowgate_epp.kubernetes._telling import Follower, Telling
from flowgate_epp.pods import Backoff, Outage

__all__ = ["Reflector"]

_logger = logging.getLogger("flowgate_epp.kubernetes")

_FIRST_PAUSE = 0.1
_LONGEST_WAIT = 300.0
# A watch that has lived so long was well, whatever ends it; the next attempt comes at once.
_SETTLED_AFTER = 0.5
_CHANGES = frozenset({"ADDED", "MODIFIED", "DELETED"})
_FORBIDDEN = 403
_NOT_FOUND = 404
_GONE = 410
# After these the version that was seen last is of no use: 504 is said of one that the server has not heard of.
_FORGETTING = frozenset({200, 400, 404, 410, 504})
_ADVICE: Mapping[int, str] = {
    401: "the server does not accept the credentials: they are wrong, or have expired",
    _FORBIDDEN: 'its Role must allow "list" and "watch" of the resource',
    _NOT_FOUND: "the server does not know the resource: is its CustomResourceDefinition installed?",
}


class Reflector:
    """Tells a follower of all objects of a resource, of each change, and of what has gone, whatever it takes to know.

    It lists in pages, watches from there, and resumes from the newest version it has seen when a watch ends, breaks or
    falls silent. When the server has forgotten that version (410) it lists again and tells the difference. It keeps of
    each object its name, uid and version only.

    Args:
        client: The cluster.
        path: Of the list, such as ``/api/v1/namespaces/x/pods``.
        follower: Who is told.
        label_selector: Which objects; all, when it is empty.
        field_selector: The same by fields.
        what: What is followed, for the log, such as "the pods of the pool x".
        trim: Makes of an object what the follower is told; called once for each as it is read, so that a list of
            thousands is never there at full length. By default ``metadata.managedFields`` goes.

    Attributes:
        what: The same.
    """

    def __init__(
        self,
        client: ApiClient,
        path: str,
        follower: Follower,
        *,
        label_selector: str = "",
        field_selector: str = "",
        what: str,
        trim: Callable[[Object], Object] = without_managed_fields,
    ) -> None:
        selectors = {"labelSelector": label_selector, "fieldSelector": field_selector}
        self.what = what
        self._client = client
        self._path = path
        self._telling = Telling(follower, what)
        self._query = {name: selector for name, selector in selectors.items() if selector}
        self._ledger = Ledger(trim)
        self._version: str | None = None
        self._backoff = Backoff(_FIRST_PAUSE, client.settings.max_pause)
        self._outage = Outage(_logger, what, "what is known of them stays in force")
        self._is_settled = False
        self._has_told = False

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.what}, {len(self._ledger)} objects>"

    @property
    def failures(self) -> int:
        """Attempts that failed since it was last well; 0 when it is."""
        return self._outage.failures

    async def run(self) -> NoReturn:
        """Follow until cancelled."""
        try:
            await self._follow()
        finally:
            self._client.failures.pop(self.what, None)

    async def _follow(self) -> NoReturn:
        while True:
            self._client.failures[self.what] = self.failures
            error = await self._attempt()
            if self._is_settled:
                self._is_settled = False
                continue
            self._outage.fail(_words(error))
            self._client.failures[self.what] = self.failures
            await asyncio.sleep(max(self._backoff.pause(), min(error.retry_after or 0.0, _LONGEST_WAIT)))

    async def _attempt(self) -> ApiError:
        try:
            if self._version is None:
                self._version = await self._list()
            await self._watch(self._version)
        except ApiError as error:
            if error.status in _FORGETTING:
                self._version = None
            return error
        return ApiError(0, "Ended", "the server ended the watch as soon as it had begun")

    async def _list(self) -> str:
        page = self._client.settings.page_size
        try:
            version, present = await self._read_pages(page)
        except ApiError as error:
            if error.status != _GONE:
                raise
            # What the pages were of is forgotten by now. A list in one piece cannot be overtaken.
            version, present = await self._read_pages(None)
        change = self._ledger.replace(present)
        if change.changed or change.removed or not self._has_told:
            self._has_told = True
            self._telling.tell(change)
        return version

    async def _read_pages(self, size: int | None) -> tuple[str, Mapping[Key, tuple[Version, Object]]]:
        query = dict(self._query) if size is None else {**self._query, "limit": str(size)}
        present: dict[Key, tuple[Version, Object]] = {}
        version = ""
        while True:
            page = await self._client.get(self._path, query)
            items, first_version, follows = _page_of(page)
            present.update(self._ledger.read(items))
            version = version or first_version
            if not follows:
                return version, present
            query["continue"] = follows

    async def _watch(self, version: str) -> None:
        loop = asyncio.get_running_loop()
        query = {**self._query, "resourceVersion": version}
        async with self._client.open_watch(self._path, query) as bursts:
            settling = loop.call_later(_SETTLED_AFTER, self._settle)
            try:
                async for burst in bursts:
                    self._take(burst)
            finally:
                settling.cancel()

    def _settle(self) -> None:
        self._is_settled = True
        self._outage.recover()
        self._backoff.reset()
        self._client.failures[self.what] = 0

    def _take(self, burst: Sequence[Object]) -> None:
        version = _resource_version(burst[-1]["object"])
        change = self._ledger.apply([event for event in burst if event["type"] in _CHANGES])
        self._version = version
        if change.changed or change.removed:
            self._telling.tell(change)


def _page_of(page: Object) -> tuple[Sequence[Object], str, str]:
    items, metadata = page.get("items"), page.get("metadata")
    if items is None and str(page.get("kind")).endswith("List"):
        items = []  # Go's way to write an empty one
    if not isinstance(items, list) or not isinstance(metadata, dict):
        raise ApiError(200, "InvalidAnswer", "an answer that is no list")
    return items, _resource_version(page), str(metadata.get("continue") or "")


def _resource_version(one: Object) -> str:
    metadata = one.get("metadata")
    version = metadata.get("resourceVersion") if isinstance(metadata, dict) else None
    if not isinstance(version, str) or not version:
        raise ApiError(200, "InvalidAnswer", "a list or an event without metadata.resourceVersion")
    return version


def _words(error: ApiError) -> str:
    advice = _ADVICE.get(error.status)
    return str(error) if advice is None else f"{error} ({advice})"
