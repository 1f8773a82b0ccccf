"""From a path and a query to objects: what an HTTP request asks for, and how it is answered."""

import base64
import json
import random
from collections.abc import Iterable, Mapping
from typing import Any

import attrs
from aiohttp import web

from examples.stage.kubernetes._fake_discovery import discovered
from examples.stage.kubernetes._fake_faults import Faults
from examples.stage.kubernetes._fake_selectors import Selection, field_requirements, label_requirements
from examples.stage.kubernetes._fake_status import StatusError, bad_request
from examples.stage.kubernetes._fake_store import Shelf, Store, Stored
from examples.stage.kubernetes._fake_verbs import Target, Verbs
from examples.stage.kubernetes._fake_watch import Watch

__all__ = ["Routes", "target_of"]

_ALLOWED = {
    "collection": {"GET", "POST", "DELETE"},
    "object": {"GET", "PUT", "PATCH", "DELETE"},
    "part": {"GET", "PUT", "PATCH"},
}
_SHORTEST_WATCH, _LONGEST_WATCH = 1800.0, 3600.0
_TRUE = {"1", "true", "True", "TRUE", "t", "T"}


@attrs.define(eq=False)
class Routes:
    """Answers requests.

    Attributes:
        store: What there is.
        verbs: What may be done to it.
        faults: What goes wrong.
        bookmark_period: Seconds between bookmarks of a watch.
        backlog: How many events a client of a watch may be behind.
    """

    store: Store
    verbs: Verbs
    faults: Faults
    bookmark_period: float
    backlog: int

    async def answer(  # noqa: PLR0911 - a table of verbs
        self, request: web.Request
    ) -> web.StreamResponse:
        """Answer one request.

        Raises:
            StatusError: The request is refused.
        """
        found = discovered(self.store, request.path, request.host)
        if found is not None:
            return web.Response(text=found) if isinstance(found, str) else web.json_response(found)
        target = target_of(self.store, request.path)
        kind = target.shelf.kind
        shape = "part" if target.subresource else "object" if target.name else "collection"
        is_homeless = kind.is_namespaced and target.namespace is None
        if request.method not in _ALLOWED[shape] or (is_homeless and request.method != "GET"):
            raise StatusError.plain(405)
        if request.query.get("dryRun"):
            raise bad_request("this server does nothing dry")
        match request.method, shape:
            case "GET", "collection":
                return await self._collection(request, target)
            case "GET", _:
                return web.json_response(self.verbs.get(target))
            case "POST", _:
                return web.json_response(self.verbs.create(target, await _body(request)), status=201)
            case "PUT", _:
                is_new = kind.is_made_by_put and target.key not in target.shelf.items
                replaced = self.verbs.replace(target, await _body(request))
                return web.json_response(replaced, status=201 if is_new else 200)
            case "PATCH", _:
                patch = _json(await request.read())
                return web.json_response(self.verbs.patch(target, patch, request.content_type))
            case "DELETE", "object":
                return web.json_response(self.verbs.delete(target, await _options(request)))
            case _:
                return await self._delete_all(request, target)

    async def _collection(self, request: web.Request, target: Target) -> web.StreamResponse:
        selection = _selection(target, request.query)
        if request.query.get("watch") not in _TRUE:
            return self._list(target.shelf, selection, request.query)
        response = web.StreamResponse(
            headers={"Content-Type": "application/json", "Cache-Control": "no-cache, private"}
        )
        watch = self._watch(target.shelf, selection, request.query)
        await response.prepare(request)
        await watch.tell(response)
        await response.write_eof()
        return response

    def _watch(self, shelf: Shelf, selection: Selection, query: Mapping[str, str]) -> Watch:
        try:
            version = _version(query.get("resourceVersion", ""))
        except StatusError as error:
            raise StatusError(500, str(error), reason="") from None
        has_bookmarks = query.get("allowWatchBookmarks") in _TRUE
        sends_initial = query.get("sendInitialEvents")
        if sends_initial is not None and query.get("resourceVersionMatch") != "NotOlderThan":
            why = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
            raise StatusError(422, f'ListOptions.meta.k8s.io "" is invalid: resourceVersionMatch: Forbidden: {why}')
        timeout = float(_number(query, "timeoutSeconds") or random.uniform(_SHORTEST_WATCH, _LONGEST_WATCH))
        is_from_start = sends_initial in _TRUE or (sends_initial is None and not version)
        return Watch(
            self.store,
            shelf,
            selection,
            version=None if is_from_start else version or self.store.version,
            timeout=timeout,
            bookmark_period=self.bookmark_period if has_bookmarks else None,
            marks_start=has_bookmarks and is_from_start,
            running=self.faults.running,
            backlog=self.backlog,
        )

    def _list(self, shelf: Shelf, selection: Selection, query: Mapping[str, str]) -> web.Response:
        limit = _number(query, "limit")
        version, after = self._asked_version(query, limit)
        items = shelf.at(version) if version is not None else shelf.items
        keys = items.irange(after, inclusive=(False, True)) if after else iter(items)
        matching = [items[key] for key in keys if selection.matches(items[key])]
        page = matching[:limit] if limit else matching
        metadata: dict[str, Any] = {"resourceVersion": str(self.store.version if version is None else version)}
        if shelf.kind.is_custom:
            metadata["continue"] = ""
        if len(page) < len(matching):
            metadata["continue"] = _token(int(metadata["resourceVersion"]), page[-1].key)
            if not selection.labels and not selection.fields:
                metadata["remainingItemCount"] = len(matching) - len(page)
        return web.Response(text=_list_text(shelf, metadata, page), content_type="application/json")

    def _asked_version(self, query: Mapping[str, str], limit: int) -> tuple[int | None, str]:
        """Return the version whose objects are asked for (None: any new one) and the key after which they start."""
        given, match = query.get("resourceVersion", ""), query.get("resourceVersionMatch", "")
        if token := query.get("continue"):
            version, after = _read_token(token)
            if given not in {"", "0"}:
                raise bad_request("specifying resource version is not allowed when using continue")
            return version, after
        if match and not given:
            why = "resourceVersionMatch is forbidden unless resourceVersion is provided"
            raise StatusError(422, f'ListOptions.meta.k8s.io "" is invalid: resourceVersionMatch: Forbidden: {why}')
        if match not in {"", "Exact", "NotOlderThan"}:
            raise StatusError(
                422, f'ListOptions.meta.k8s.io "" is invalid: resourceVersionMatch: "{match}" is not known'
            )
        asked = _version(given)
        if asked is not None and asked > self.store.version:
            message = f"Timeout: Too large resource version: {asked}, current: {self.store.version}"
            causes = [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}]
            raise StatusError(504, message, details={"causes": causes, "retryAfterSeconds": 1}, retry_after=1)
        return (asked if asked and (match == "Exact" or (limit and not match)) else None), ""

    async def _delete_all(self, request: web.Request, target: Target) -> web.Response:
        options = await _options(request)
        selection = _selection(target, request.query)
        found = [stored for stored in target.shelf.items.values() if selection.matches(stored)]
        for stored in found:
            self.verbs.delete(attrs.evolve(target, name=stored.object["metadata"]["name"]), options)
        metadata = {"resourceVersion": str(self.store.version)}
        return web.Response(text=_list_text(target.shelf, metadata, found), content_type="application/json")


def target_of(store: Store, path: str) -> Target:
    """Return what a path is about.

    Raises:
        StatusError: 404, nothing that is served.
    """
    parts = path.strip("/").split("/")
    if parts[0] == "api":
        group, version, rest = "", *parts[1:2], parts[2:]
    else:
        group, version, rest = parts[1], parts[2], parts[3:]
    namespace = None
    if len(rest) > 2 and rest[0] == "namespaces" and rest[2] not in {"status", "finalize"}:
        namespace, rest = rest[1], rest[2:]
    name = rest[1] if len(rest) > 1 else None
    subresource = rest[2] if len(rest) > 2 else ""
    shelf = store.find(group, version, rest[0]) if rest else None
    if shelf is None and any(other.kind.group == group and other.kind.is_custom for other in store):
        raise StatusError(404, "404 page not found", reason="")
    if shelf is None or len(rest) > 3 or (namespace is not None) > shelf.kind.is_namespaced:
        raise StatusError.plain(404)
    if shelf.kind.is_namespaced and namespace is None and name is not None:
        raise StatusError.plain(404)
    served = {"", "status" if shelf.kind.has_status else "", "scale" if shelf.kind.scale_selector is not None else ""}
    if subresource not in served:
        raise StatusError.plain(404)
    return Target(shelf, namespace, name, subresource)


def _selection(target: Target, query: Mapping[str, str]) -> Selection:
    labels = label_requirements(query.get("labelSelector", ""))
    return Selection(target.namespace, labels, field_requirements(query.get("fieldSelector", ""), target.shelf.kind))


def _version(text: str) -> int | None:
    if not text:
        return None
    if not text.isascii() or not text.isdigit():
        why = f'strconv.ParseUint: parsing "{text}": invalid syntax'
        raise bad_request(f'invalid resource version: resourceVersion: Invalid value: "{text}": {why}')
    return int(text)


def _number(query: Mapping[str, str], name: str) -> int:
    text = query.get(name) or "0"
    try:
        return int(text)
    except ValueError:
        raise bad_request(f'strconv.ParseInt: parsing "{text}": invalid syntax') from None


def _token(version: int, key: str) -> str:
    return base64.urlsafe_b64encode(json.dumps({"rv": version, "start": key}).encode()).decode().rstrip("=")


def _read_token(token: str) -> tuple[int, str]:
    try:
        read = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        return int(read["rv"]), str(read["start"])
    except (ValueError, KeyError, TypeError):
        raise bad_request("invalid continue token: continue key is not valid") from None


def _list_text(shelf: Shelf, metadata: Mapping[str, object], items: Iterable[Stored]) -> str:
    kind = shelf.kind
    head = {"kind": f"{kind.kind}List", "apiVersion": kind.api_version, "metadata": metadata}
    # A real server leaves the kind of items out, except for custom objects.
    texts = (stored.text for stored in items) if kind.is_custom else ("{" + stored.rest for stored in items)
    return f'{json.dumps(head)[:-1]},"items":[{",".join(texts)}]}}'


def _json(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except ValueError as error:
        raise bad_request(f"the object provided is unrecognized: json parse error: {error}") from None


async def _body(request: web.Request) -> dict[str, Any]:
    raw = await request.read()
    if "Content-Type" in request.headers and request.content_type != "application/json":
        known = "application/json"
        message = f"the body of the request was in an unknown format - accepted media types include: {known}"
        raise StatusError(415, message)
    body = _json(raw)
    if not isinstance(body, dict):
        raise bad_request("the object provided is unrecognized: it is no object")
    return body


async def _options(request: web.Request) -> dict[str, Any]:
    options = _json(await request.read() or b"{}")
    if not isinstance(options, dict):
        raise bad_request("the options provided are unrecognized: they are no object")
    if "gracePeriodSeconds" in request.query:
        options["gracePeriodSeconds"] = _number(request.query, "gracePeriodSeconds")
    return options
