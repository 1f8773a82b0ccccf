"""The two patches that every kind takes: JSON merge patch (RFC 7386) and JSON patch (RFC 6902)."""

import copy
from collections.abc import Sequence
from typing import Any

from examples.stage.kubernetes._fake_status import StatusError, bad_request

__all__ = ["JSON_PATCH", "MERGE_PATCH", "patched"]

MERGE_PATCH = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"


class _MisfitError(Exception):
    """Raised when an operation does not fit the object."""


def patched(content: dict[str, Any], patch: object, media_type: str) -> dict[str, Any]:
    """Return an object with a patch applied; the object stays as it is.

    Raises:
        StatusError: 415 for a media type that is no patch, 400 for a patch that cannot be read, 422 for one that does
            not fit the object.
    """
    if media_type == MERGE_PATCH:
        if not isinstance(patch, dict):
            raise bad_request("error decoding patch: a merge patch is an object")
        merged: dict[str, Any] = _merged(content, patch)
        return merged
    if media_type != JSON_PATCH:
        known = f"{JSON_PATCH}, {MERGE_PATCH}"
        message = f"the body of the request was in an unknown format - accepted media types include: {known}"
        raise StatusError(415, message)
    if not isinstance(patch, list) or not all(isinstance(step, dict) for step in patch):
        raise bad_request("error decoding patch: a JSON patch is a list of operations")
    try:
        result = copy.deepcopy(content)
        for step in patch:
            result = _stepped(result, step)
    except (_MisfitError, KeyError, IndexError, ValueError, TypeError):
        raise StatusError(422, "the server rejected our request due to an error in our request", details={}) from None
    return result


def _merged(target: object, patch: object) -> Any:
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = _merged(result.get(key), value)
    return result


def _stepped(content: Any, step: dict[str, Any]) -> Any:
    path = _parts(step["path"])
    match step["op"]:
        case "add":
            _add(content, path, step["value"])
        case "replace":
            _replace(content, path, step["value"])
        case "remove":
            _remove(content, path)
        case "move":
            _add(content, path, _remove(content, _parts(step["from"])))
        case "copy":
            _add(content, path, copy.deepcopy(_at(content, _parts(step["from"]))))
        case "test":
            if _at(content, path) != step["value"]:
                raise _MisfitError
        case _:
            raise _MisfitError
    return content


def _parts(pointer: str) -> list[str]:
    if not pointer.startswith("/"):
        raise _MisfitError
    return [part.replace("~1", "/").replace("~0", "~") for part in pointer[1:].split("/")]


def _at(content: Any, path: Sequence[str]) -> Any:
    for part in path:
        content = content[int(part)] if isinstance(content, list) else content[part]
    return content


def _add(content: Any, path: Sequence[str], value: Any) -> None:
    parent = _at(content, path[:-1])
    if isinstance(parent, list):
        index = len(parent) if path[-1] == "-" else int(path[-1])
        if not 0 <= index <= len(parent):
            raise _MisfitError
        parent.insert(index, value)
    else:
        parent[path[-1]] = value


def _replace(content: Any, path: Sequence[str], value: Any) -> None:
    parent = _at(content, path[:-1])
    # The real server is as lenient as this with a key that is not there.
    parent[int(path[-1]) if isinstance(parent, list) else path[-1]] = value


def _remove(content: Any, path: Sequence[str]) -> Any:
    parent = _at(content, path[:-1])
    return parent.pop(int(path[-1]) if isinstance(parent, list) else path[-1])
