"""Asks a running Endpoint Picker over its admin port."""

import json
from collections.abc import Mapping
from http.client import HTTPException
from typing import Any, cast
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode, urlsplit
from urllib.request import ProxyHandler, build_opener

from flowgate.commands._outcome import CommandError

__all__ = ["DEFAULT_URL", "Answer", "ask"]

DEFAULT_URL = "http://127.0.0.1:9090"
Answer = Mapping[str, Any]

_TIMEOUT = 10.0
_MOST_BYTES = 16 * 1024 * 1024
# No proxy of the environment stands between an operator and an admin port.
_opener = build_opener(ProxyHandler({}))


def ask(url: str, path: str, **query: str) -> tuple[int, Answer]:
    """Get one JSON object.

    Args:
        url: Where the admin port is, such as ``http://127.0.0.1:9090``.
        path: What is asked for, such as ``/state``.
        query: Its parameters.

    Returns:
        The status, and the object.

    Raises:
        CommandError: The URL is none, nobody answers there, or somebody else does.
    """
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.netloc:
        raise CommandError(f"{url!r} is no URL of an admin port: write it as {DEFAULT_URL}")
    where = f"{url.rstrip('/')}{path}{'?' if query else ''}{urlencode(query)}"
    try:
        status, body = _get(where)
    except (OSError, HTTPException, ValueError) as error:
        reason = error.reason if isinstance(error, URLError) else error
        raise CommandError(
            f"nobody answers at {url!r} ({str(reason) or type(reason).__name__!s}): "
            "is the Endpoint Picker running, and is this its admin port?"
        ) from error
    return status, _object(url, body)


def _get(where: str) -> tuple[int, bytes]:
    try:
        with _opener.open(where, timeout=_TIMEOUT) as response:
            return cast("int", response.status), cast("bytes", response.read(_MOST_BYTES))
    except HTTPError as error:
        with error:
            return error.code, error.read(_MOST_BYTES)


def _object(url: str, body: bytes) -> Answer:
    try:
        answer: object = json.loads(body)
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise CommandError(f"what answers at {url!r} is no Endpoint Picker of flowgate, or its page is switched off")
    return cast("Answer", answer)
