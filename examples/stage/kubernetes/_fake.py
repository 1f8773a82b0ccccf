"""A Kubernetes API server for tests: real HTTP, real semantics, nothing but this process."""

import json
from collections.abc import Mapping, MutableMapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import aiohttp
from aiohttp import web

from examples.stage._processes import free_port
from examples.stage.kubernetes._fake_access import Certificates
from examples.stage.kubernetes._fake_faults import Asked, Faults
from examples.stage.kubernetes._fake_kinds import CATALOG, Kind
from examples.stage.kubernetes._fake_routes import Routes, target_of
from examples.stage.kubernetes._fake_status import StatusError
from examples.stage.kubernetes._fake_store import Store
from examples.stage.kubernetes._fake_verbs import Verbs
from examples.stage.kubernetes._kubeconfig import kubeconfig

__all__ = ["FakeApiServer"]

_LOG_SIZE = 50_000
_BACKLOG = 100_000
_BOOKMARK_PERIOD = 60.0
_LARGEST_BODY = 3 * 2**20


class FakeApiServer:
    """An API server on a free port of loopback, with the semantics of a real one.

    One version grows over all objects; lists are consistent; watches resume, end, tell bookmarks, and answer 410 for
    what is forgotten; writes are conditional. It differs from a real server in this: it validates names and little
    else, all namespaces exist, nobody but the caller acts (no scheduler, no node, no controllers), it speaks JSON only,
    there is no apply and no strategic merge patch, and a list "not older than" a version to come is refused at once,
    not after three seconds.

    Attributes:
        port: Its TCP port; the same after each start.
        requests: The last requests, oldest first.
    """

    def __init__(
        self,
        *,
        tokens: Mapping[str, str] | None = None,
        tls: bool = False,
        graceful_pods: bool = False,
        bookmark_period: float = _BOOKMARK_PERIOD,
        log_size: int = _LOG_SIZE,
        backlog: int = _BACKLOG,
    ) -> None:
        """Prepare a server.

        Args:
            tokens: Users by bearer token; None lets everyone in.
            tls: Whether it speaks TLS. Its certificate is its own authority's, which also signs one for a client.
            graceful_pods: Whether a pod on a node is only marked when it is deleted, until someone deletes it with a
                grace period of 0. Otherwise it is gone at once.
            bookmark_period: Seconds between the bookmarks of a watch.
            log_size: How many changes of each kind are remembered.
            backlog: How many events a client of a watch may be behind before the watch ends.
        """
        self.port = 0
        self._certificates = Certificates() if tls else None
        self._faults = Faults(None if tokens is None else dict(tokens))
        self._store = Store(log_size)
        self._verbs = Verbs(self._store, has_graceful_pods=graceful_pods)
        self._routes = Routes(self._store, self._verbs, self._faults, bookmark_period, backlog)
        self._runner: web.AppRunner | None = None
        for kind in CATALOG:
            self._store.add(kind)

    async def __aenter__(self) -> Self:
        """Start."""
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        await self.stop()

    @property
    def url(self) -> str:
        """Where it is found."""
        return f"{'http' if self._certificates is None else 'https'}://127.0.0.1:{self.port}"

    @property
    def version(self) -> int:
        """The resourceVersion of the last change."""
        return self._store.version

    @property
    def requests(self) -> Sequence[Asked]:
        """The last requests, oldest first."""
        return self._faults.requests

    @property
    def tokens(self) -> MutableMapping[str, str] | None:
        """Users by bearer token, to be changed at will; None when everyone is let in."""
        return self._faults.tokens

    @property
    def certificates(self) -> Certificates | None:
        """Its certificates; None without TLS."""
        return self._certificates

    @property
    def watches(self) -> int:
        """How many watches there are."""
        return sum(len(shelf.listeners) for shelf in self._store)

    async def start(self) -> None:
        """Listen, at the port of the last time; the objects are those of the last time."""
        app = web.Application(client_max_size=_LARGEST_BODY)
        app.router.add_route("*", "/{path:.*}", self._answer)
        # A watch that nobody reads any more must end.
        runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        self.port = self.port or free_port()
        tls = None if self._certificates is None else self._certificates.for_server()
        await web.TCPSite(runner, "127.0.0.1", self.port, ssl_context=tls).start()
        self._runner = runner

    async def stop(self) -> None:
        """End all connections and listen no more."""
        if self._runner is not None:
            runner, self._runner = self._runner, None
            for site in tuple(runner.sites):
                await site.stop()
            _abort(runner)
            await runner.cleanup()

    def session(self) -> aiohttp.ClientSession:
        """Return a client that may ask for anything, with paths such as "/api/v1/pods"."""
        tls = True if self._certificates is None else self._certificates.for_client()
        token = self._token()
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        return aiohttp.ClientSession(self.url, headers=headers, connector=aiohttp.TCPConnector(ssl=tls, limit=0))

    def write_kubeconfig(
        self,
        path: Path,
        *,
        namespace: str = "default",
        credential: Literal["token", "certificate"] = "token",
        port: int | None = None,
    ) -> None:
        """Write a kubeconfig that leads here.

        Args:
            path: The file.
            namespace: The context's namespace.
            credential: What to authorise with, when the server asks. A certificate needs TLS.
            port: Of a way to here that is not the direct one.

        Raises:
            ValueError: A certificate is wished without TLS.
        """
        if credential == "token":
            token = self._token()
            user = {} if token is None else {"token": token}
        elif self._certificates is None:
            raise ValueError("a server without TLS knows no certificates")
        else:
            user = self._certificates.for_kubeconfig
        url = self.url if port is None else self.url.replace(f":{self.port}", f":{port}")
        authority = None if self._certificates is None else self._certificates.authority
        kubeconfig(path, url, namespace, authority, user)

    def serve(
        self, group_version: str, plural: str, kind: str, *, scale: bool = False, namespaced: bool = True
    ) -> None:
        """Serve one more kind, as a definition of custom resources does, with /status.

        Args:
            group_version: Its group and version, such as "example.com/v1".
            plural: Its name in paths.
            kind: Its name in objects.
            scale: Whether it has /scale: spec.replicas, status.replicas, status.selector.
            namespaced: Whether its objects live in namespaces.
        """
        group, _, version = group_version.rpartition("/")
        selector = "status.selector" if scale else None
        self._store.add(
            Kind(group, version, plural, kind, is_namespaced=namespaced, is_custom=True, scale_selector=selector)
        )

    async def create(self, path: str, content: Mapping[str, Any]) -> dict[str, Any]:
        """Create an object in a collection such as "/api/v1/namespaces/x/pods", with its status.

        Raises:
            StatusError: The server says no.
        """
        return _copied(self._verbs.create(target_of(self._store, path), _copied(content), is_status_kept=True))

    async def get(self, path: str) -> dict[str, Any]:
        """Return an object.

        Raises:
            StatusError: It is not there.
        """
        return _copied(self._verbs.get(target_of(self._store, path)))

    async def update(self, path: str, content: Mapping[str, Any]) -> dict[str, Any]:
        """Replace an object, with its status; without a resourceVersion, whatever it is now.

        Raises:
            StatusError: The server says no.
        """
        target = target_of(self._store, path)
        metadata = {"resourceVersion": str(target.stored.version), **content.get("metadata", {})}
        return _copied(self._verbs.replace(target, _copied({**content, "metadata": metadata}), is_status_kept=True))

    async def delete(self, path: str, *, grace: int | None = None) -> None:
        """Delete an object.

        Args:
            path: Where it is.
            grace: Seconds that a pod has to end; None for those that it names.

        Raises:
            StatusError: It is not there.
        """
        options = {} if grace is None else {"gracePeriodSeconds": grace}
        self._verbs.delete(target_of(self._store, path), options)

    def compact(self) -> None:
        """Forget what happened: lists and watches from an older version get 410."""
        self._store.compact()

    def drop_connections(self) -> None:
        """Reset all connections; new ones are welcome."""
        if self._runner is not None:
            _abort(self._runner)

    def pause(self) -> None:
        """Accept connections and requests, and answer none; watches fall silent."""
        self._faults.running.clear()

    def resume(self) -> None:
        """Answer again."""
        self._faults.running.set()

    def fail_next(
        self, status: int, count: int = 1, retry_after: int | None = None, *, method: str = "", path: str = ""
    ) -> None:
        """Refuse the next requests.

        Args:
            status: The HTTP status to refuse with.
            count: How many.
            retry_after: Seconds to tell in Retry-After; None for no such header.
            method: Only requests with this HTTP method; "" for all.
            path: Only requests with this in their path.
        """
        self._faults.fail_next(status, count, retry_after, method, path)

    def heal(self) -> None:
        """Answer again, and refuse nothing on purpose."""
        self._faults.heal()

    def _token(self) -> str | None:
        return next(iter(self._faults.tokens), None) if self._faults.tokens else None

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        try:
            await self._faults.pass_(request)
            return await self._routes.answer(request)
        except StatusError as error:
            headers = {} if error.retry_after is None else {"Retry-After": str(error.retry_after)}
            if "reason" not in error.body and error.code == 404:
                return web.Response(status=404, text=f"{error}\n", headers=headers)
            return web.json_response(error.body, status=error.code, headers=headers)


def _abort(runner: web.AppRunner) -> None:
    for connection in runner.server.connections if runner.server is not None else ():
        if connection.transport is not None:
            connection.transport.abort()


def _copied(content: Mapping[str, Any]) -> dict[str, Any]:
    copied: dict[str, Any] = json.loads(json.dumps(content))
    return copied
