"""What the API server says: objects, events, and no."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, cast

import aiohttp

from flowgate_epp.kubernetes._errors import ApiError
from flowgate_epp.kubernetes._ledger import Object

__all__ = ["decode", "events_of", "refusal"]

_INVALID = "InvalidAnswer"
_LONGEST_MESSAGE = 500
_OK = 200
_UNKNOWN_PATH = b"404 page not found"
"""What an API server says of a group of resources that it does not have."""


def decode(content: bytes, response: aiohttp.ClientResponse) -> Object:
    """Return the object that an answer holds.

    Raises:
        ApiError: It holds none.
    """
    answer = _parse(content)
    if answer is None:
        raise ApiError(response.status, _INVALID, f"an answer that is no JSON object{_described(content, response)}")
    return answer


def refusal(content: bytes, response: aiohttp.ClientResponse) -> ApiError:
    """Return what an answer that says no comes to; of one that an API server never gave, only what it is."""
    retry_after = _seconds(response.headers.get("Retry-After"))
    status = _parse(content)
    if status is not None and status.get("kind") == "Status":
        return _no(status, response.status, retry_after)
    if response.status == HTTPStatus.NOT_FOUND and content.strip() == _UNKNOWN_PATH:
        return ApiError(response.status, _reason(response.status), "there is no such path", retry_after)
    message = f"an answer that is none of an API server's{_described(content, response)}"
    return ApiError(response.status, _reason(response.status), message, retry_after)


def events_of(lines: Iterable[bytes]) -> tuple[Sequence[Object], ApiError | None]:
    """Return the events that lines hold, and what ends them, if anything does: an ERROR event, or nonsense."""
    events: list[Object] = []
    for line in lines:
        event = _parse(line)
        if event is None or not isinstance(event.get("type"), str) or not isinstance(event.get("object"), dict):
            return events, ApiError(_OK, _INVALID, f"a watch's line that is no event ({len(line)} bytes)")
        if event["type"] == "ERROR":
            return events, _no(event["object"], 0, None)
        events.append(event)
    return events, None


def _parse(content: bytes) -> Mapping[str, Any] | None:
    try:
        parsed = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return cast("dict[str, Any]", parsed) if isinstance(parsed, dict) else None


def _no(status: Object, code: int, retry_after: float | None) -> ApiError:
    told = status.get("code")
    if isinstance(told, int) and not isinstance(told, bool):
        code = code or told
    reason = status.get("reason") or _reason(code)
    details = status.get("details")
    if retry_after is None and isinstance(details, dict):
        retry_after = _seconds(details.get("retryAfterSeconds"))
    return ApiError(code, str(reason), str(status.get("message") or reason)[:_LONGEST_MESSAGE], retry_after)


def _reason(code: int) -> str:
    try:
        return HTTPStatus(code).phrase.title().replace(" ", "")
    except ValueError:
        return "Unknown"


def _described(content: bytes, response: aiohttp.ClientResponse) -> str:
    # Its text is not quoted: whoever stands between may echo our headers.
    return f" ({response.content_type}, {len(content)} bytes)"


def _seconds(told: object) -> float | None:
    try:
        seconds = float(cast("str", told))
    except (TypeError, ValueError):
        return None  # absent, or a date: API servers tell seconds
    return seconds if 0 < seconds < math.inf else None
