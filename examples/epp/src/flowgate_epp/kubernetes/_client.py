"""A small client of the API server: requests and watches, and each failure an `ApiError`."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from types import MappingProxyType
from typing import Any, Self

import aiohttp
from yarl import URL

from flowgate_epp.kubernetes._answers import decode, events_of, refusal
from flowgate_epp.kubernetes._credentials import Access, find_credentials
from flowgate_epp.kubernetes._errors import ApiError, BrokenConnectionError, CredentialsError
from flowgate_epp.kubernetes._keepalive import keep_alive
from flowgate_epp.kubernetes._ledger import Object
from flowgate_epp.kubernetes._lines import Lines
from flowgate_epp.kubernetes._settings import ClusterSettings
from flowgate_epp.pods import jittered

__all__ = ["ApiClient"]

_NO_QUERY: Mapping[str, str] = MappingProxyType({})
_JSON = "application/json"
_MERGE_PATCH = "application/merge-patch+json"
_UNAUTHORIZED = 401
_FIRST_REFUSAL = 300
_KEEPALIVE = 30.0
_UNLIMITED = aiohttp.ClientTimeout(total=None)  # bounded from outside
_READ_BUFFER = 262_144
# Compressed, a list costs both sides more time than the network between them saves.
_HEADERS = {"Accept": _JSON, "Accept-Encoding": "identity", "User-Agent": "flowgate-epp"}


class ApiClient:
    """One API server, asked over connections that stay open: ``async with ApiClient(settings) as client``.

    A `get` is asked again once when its connection broke, and anything once more after a 401, with credentials read
    anew. No proxy is used and no redirect followed. `replace` and `delete` may be asked twice, too, when a connection
    breaks that was kept: a conditional one may then say "Conflict" of what it did itself.

    Args:
        settings: Where, as whom, and how patiently.

    Attributes:
        settings: The same.
        namespace: The namespace of what is named without one.
        failures: Of what is followed by it at present, by its name: attempts that failed since it was last well.

    Raises:
        CredentialsError: There are no credentials, or they cannot be used.
    """

    def __init__(self, settings: ClusterSettings | None = None) -> None:
        self.settings: ClusterSettings = settings or ClusterSettings()
        self._credentials = find_credentials(self.settings)
        self.namespace: str = self.settings.namespace or self._credentials.namespace
        self.failures: dict[str, int] = {}
        self._session: aiohttp.ClientSession | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self._credentials.server}>"

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEPALIVE),
            headers=_HEADERS,
            cookie_jar=aiohttp.DummyCookieJar(),
            read_bufsize=_READ_BUFFER,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def get(self, path: str, query: Mapping[str, str] = _NO_QUERY) -> Object:
        """Return an object, or a list of them.

        Args:
            path: Such as ``/api/v1/namespaces/x/pods``.
            query: Such as ``{"limit": "10"}``.

        Raises:
            ApiError: The server said no, or nothing.
        """
        try:
            return await self._ask("GET", path, query)
        except BrokenConnectionError:
            return await self._ask("GET", path, query)

    async def create(self, path: str, body: Object) -> Object:
        """Make an object (POST), and return it as it is now.

        Raises:
            ApiError: The server said no, or nothing: then it may be made or not.
        """
        return await self._ask("POST", path, body=body)

    async def replace(self, path: str, body: Object) -> Object:
        """Put an object in another's place, if that still has the body's ``resourceVersion``; any, where it names none.

        Raises:
            ApiError: The server said no ("Conflict"), or nothing.
        """
        return await self._ask("PUT", path, body=body)

    async def patch(self, path: str, body: Object) -> Object:
        """Change some fields (a JSON merge patch); conditional, where it names a ``metadata.resourceVersion``.

        Raises:
            ApiError: The server said no, or nothing.
        """
        return await self._ask("PATCH", path, body=body, content_type=_MERGE_PATCH)

    async def delete(self, path: str) -> Object:
        """Delete an object.

        Raises:
            ApiError: The server said no, or nothing.
        """
        return await self._ask("DELETE", path)

    async def watch(self, path: str, query: Mapping[str, str] = _NO_QUERY) -> AsyncIterator[Object]:
        """Yield events, BOOKMARKs included, until the server ends the watch.

        Whoever stops before that closes it (``contextlib.aclosing``), for it holds a connection.

        Args:
            path: Of a list.
            query: Such as ``{"resourceVersion": "123"}``; that it is a watch, with bookmarks, and how long, is added.

        Raises:
            ApiError: The server said no, also by an ERROR event; or the watch broke, or was silent for too long.
        """
        async with self.open_watch(path, query) as bursts:
            async for burst in bursts:
                for event in burst:
                    yield event

    @asynccontextmanager
    async def open_watch(
        self, path: str, query: Mapping[str, str] = _NO_QUERY
    ) -> AsyncIterator[AsyncIterator[Sequence[Object]]]:
        """Begin a watch, whose events then come as they are read: those that were there together, together.

        Raises:
            ApiError: As for `watch`; inside the context, only the iterator raises it.
        """
        settings = self.settings
        seconds = max(1, round(jittered(settings.watch_timeout)))
        watched = {**query, "watch": "true", "allowWatchBookmarks": "true", "timeoutSeconds": str(seconds)}
        timeout = aiohttp.ClientTimeout(total=seconds + settings.request_timeout, sock_read=settings.silence)
        with _unreachable(settings.request_timeout):
            async with asyncio.timeout(settings.request_timeout):
                response = await self._open("GET", path, watched, limits=timeout)
        try:
            keep_alive(response)
            yield self._bursts(response)
        finally:
            response.close()

    async def _bursts(self, response: aiohttp.ClientResponse) -> AsyncIterator[Sequence[Object]]:
        lines = Lines()
        while True:
            with _unreachable(self.settings.silence):
                chunk = await response.content.readany()
            if not chunk:
                return
            events, error = events_of(lines.feed(chunk))
            if events:
                yield events
            if error is not None:
                raise error

    async def _ask(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] = _NO_QUERY,
        body: Object | None = None,
        content_type: str = _JSON,
    ) -> Object:
        patience = self.settings.request_timeout
        # One timeout for all of it: a second attempt after a 401 included.
        with _unreachable(patience):
            async with asyncio.timeout(patience):
                response = await self._open(method, path, query, body, content_type)
                content = await response.read()
        return decode(content, response)

    async def _open(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: Object | None = None,
        content_type: str = _JSON,
        limits: aiohttp.ClientTimeout = _UNLIMITED,
    ) -> aiohttp.ClientResponse:
        if self._session is None:
            raise RuntimeError("the client must be entered before it is used: `async with ApiClient(...)`")
        options: dict[str, Any] = {"params": query, "timeout": limits, "allow_redirects": False}
        headers: dict[str, str] = {}
        if body is not None:
            options["json"], headers["Content-Type"] = body, content_type
        response = await self._send(self._session, method, path, headers, options)
        if response.status == _UNAUTHORIZED:
            response.release()
            response = await self._send(self._session, method, path, headers, options)
        if response.status >= _FIRST_REFUSAL:
            raise refusal(await response.read(), response)
        return response

    async def _send(
        self,
        session: aiohttp.ClientSession,
        method: str,
        path: str,
        headers: Mapping[str, str],
        options: dict[str, Any],
    ) -> aiohttp.ClientResponse:
        access = await self._access()
        authorization = access.identity.authorization
        try:
            response = await session.request(
                method,
                URL(self._credentials.server + path),
                headers=headers if authorization is None else {**headers, "Authorization": authorization},
                ssl=True if access.tls is None else access.tls,
                server_hostname=self._credentials.server_name,
                **options,
            )
        except aiohttp.ClientConnectorCertificateError:
            self._credentials.refuse(access)
            raise
        if response.status == _UNAUTHORIZED:
            self._credentials.refuse(access)
        return response

    async def _access(self) -> Access:
        try:
            return await self._credentials.access()
        except CredentialsError as error:
            raise ApiError(0, "NoCredentials", str(error)) from None


@contextmanager
def _unreachable(patience: float) -> Iterator[None]:
    try:
        yield
    except TimeoutError:  # aiohttp's own are
        raise ApiError(0, "Unreachable", f"no answer within {patience:g} s") from None
    except aiohttp.ClientConnectorError as error:
        raise ApiError(0, "Unreachable", _connector_words(error)) from None
    except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, OSError) as error:
        words = str(error) or type(error).__name__
        raise BrokenConnectionError(0, "Unreachable", f"the connection broke: {words}") from None
    except aiohttp.ClientError as error:
        # Not the error's own repr: it holds the request's headers.
        raise ApiError(0, "InvalidAnswer", f"no HTTP: {type(error).__name__}") from None


def _connector_words(error: aiohttp.ClientConnectorError) -> str:
    # Not the error's own: they name an object of ours by its address in memory.
    where = f"no connection to {error.host}:{error.port}"
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        cause = error.certificate_error
        words = str(getattr(cause, "verify_message", "") or cause).rstrip(".")
        return f"{where}: its certificate is not accepted: {words}"
    number = error.os_error.errno
    if type(error) is aiohttp.ClientConnectorError and number:  # else the number is TLS's, or DNS's
        return f"{where}: {os.strerror(number)}"  # asyncio's own words say again where to, and not why
    return f"{where}: {error.os_error.strerror or error.os_error}"
