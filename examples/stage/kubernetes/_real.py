"""A real Kubernetes API: etcd and kube-apiserver as processes on loopback, without nodes and controllers."""

import asyncio
import json
from collections.abc import Mapping
from contextlib import AsyncExitStack
from io import BytesIO
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import aiohttp

from examples.stage._processes import Spawned, free_port, wait_until
from examples.stage.kubernetes._kubeconfig import kubeconfig
from examples.stage.kubernetes._real_keys import Keys

__all__ = ["KubectlError", "RealCluster"]

_OK = 200
_DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


class KubectlError(Exception):
    """Raised when kubectl fails; tells what it said."""


class RealCluster:
    """An API server with an etcd of its own: what it stores is real, and nobody but the caller acts on it.

    There is no scheduler, no kubelet and no controller: a pod turns Ready when someone writes so into its status.

    Args:
        binaries: The folder with kube-apiserver, etcd, kubectl and crds/.
        folder: For data, keys and logs.
        rbac: Whether what a user may do goes by roles; otherwise everyone may do everything.

    Attributes:
        port: The API server's TCP port; the same after each start.
    """

    def __init__(self, binaries: Path, folder: Path, rbac: bool = False) -> None:
        self.port = free_port()
        self._binaries = binaries
        self._folder = folder
        self._authorization = "RBAC" if rbac else "AlwaysAllow"
        self._etcd_port = free_port()
        folder.mkdir(parents=True, exist_ok=True)
        self._keys = Keys(folder)
        self._parts = AsyncExitStack()
        self._server: Spawned | None = None
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        """Start both, and define the custom resources.

        Raises:
            StartError: One of them has ended, or is not ready in time.
        """
        async with AsyncExitStack() as parts:
            await self._start_etcd(parts)
            parts.push_async_callback(self.stop)
            await self.start()
            self._session = await parts.enter_async_context(self.session())
            await self._define()
            self._parts = parts.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End both."""
        await self._parts.aclose()

    @property
    def url(self) -> str:
        """Where the API server is found."""
        return f"https://127.0.0.1:{self.port}"

    @property
    def processes(self) -> list[Spawned]:
        """The processes that run: for their logs, and for what they take."""
        return [process for process in (self._etcd, self._server) if process is not None]

    # -- the API server's life

    async def start(self) -> None:
        """Start the API server, at the port of the last time, and wait until it is ready.

        Raises:
            StartError: It has ended, or is not ready in time.
        """
        self._server = await Spawned.start("kube-apiserver", self._command(), self._folder / "kube-apiserver.log")
        async with self.session() as session:

            async def is_ready() -> bool:
                try:
                    async with session.get("/readyz", timeout=aiohttp.ClientTimeout(total=2)) as response:
                        return response.status == _OK
                except (aiohttp.ClientError, OSError, TimeoutError):
                    return False

            await self._server.ready(is_ready, 60.0)

    async def stop(self) -> None:
        """End the API server at once, as a crash does; etcd keeps what it had."""
        if self._server is not None:
            server, self._server = self._server, None
            server.kill()
            await server.wait()

    async def compact(self) -> None:
        """Forget what happened: watches from an older version get 410. The API server starts anew for that."""
        # The API server keeps a window of what happened in memory, whatever etcd forgets.
        await self.stop()
        version = (await self._ask_etcd("range", {"key": "AA==", "limit": 1}))["header"]["revision"]
        await self._ask_etcd("compaction", {"revision": version, "physical": True})
        await self.start()

    # -- its clients

    def session(self, user: str = "admin") -> aiohttp.ClientSession:
        """Return a client that trusts the server, with paths such as "/api/v1/pods".

        Args:
            user: "admin", who may do everything, or a service account as "namespace/name" with a token.
        """
        headers = {"Authorization": f"Bearer {self._keys.token(user)}"}
        connector = aiohttp.TCPConnector(ssl=self._keys.for_client(), limit=0)
        return aiohttp.ClientSession(self.url, headers=headers, connector=connector, trust_env=False)

    async def make_account(self, namespace: str, name: str) -> str:
        """Give a service account a token, made first if it is not there; returns the user for the other methods."""
        accounts = f"/api/v1/namespaces/{namespace}/serviceaccounts"
        await self.ask("POST", accounts, {"metadata": {"name": name}}, accept=409)
        granted = await self.ask("POST", f"{accounts}/{name}/token", {"spec": {}})
        user = f"{namespace}/{name}"
        self._keys.keep(user, granted["status"]["token"])
        return user

    def token(self, user: str = "admin") -> str:
        """Return the token of a user."""
        return self._keys.token(user)

    def write_kubeconfig(
        self,
        path: Path,
        *,
        user: str = "admin",
        namespace: str = "default",
        credential: Literal["token"] = "token",
        port: int | None = None,
    ) -> None:
        """Write a kubeconfig that leads here.

        Args:
            path: The file.
            user: Whose credentials.
            namespace: The context's namespace.
            credential: What to authorise with: there are tokens only.
            port: Of a way to here that is not the direct one.
        """
        url = self.url if port is None else f"https://127.0.0.1:{port}"
        kubeconfig(path, url, namespace, self._keys.authority, {credential: self._keys.token(user)})

    async def ask(self, method: str, path: str, body: object = None, *, accept: int = _OK) -> dict[str, Any]:
        """Ask as the administrator.

        Args:
            method: The HTTP method.
            path: The path, with its query.
            body: What is sent, as JSON; a PATCH is a merge patch.
            accept: A status that is welcome although it is an error.

        Raises:
            aiohttp.ClientResponseError: The server says no; tells its words.
        """
        assert self._session is not None
        kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
        data = None if body is None else json.dumps(body)
        async with self._session.request(method, path, data=data, headers={"Content-Type": kind}) as response:
            if not response.ok and response.status != accept:
                raise aiohttp.ClientResponseError(
                    response.request_info, (), status=response.status, message=await response.text()
                )
            answer: dict[str, Any] = await response.json()
            return answer

    async def kubectl(self, *arguments: str, user: str = "admin", namespace: str = "default") -> str:
        """Run kubectl, and return what it prints.

        Raises:
            KubectlError: It has failed.
        """
        path = self._folder / f"{user.replace('/', '.')}.kubeconfig"
        self.write_kubeconfig(path, user=user, namespace=namespace)
        process = await asyncio.create_subprocess_exec(
            *(str(self._binaries / "kubectl"), "--kubeconfig", str(path), "--cache-dir", str(self._folder / "cache")),
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        output, errors = await process.communicate()
        if process.returncode != 0:
            raise KubectlError(f"kubectl {' '.join(arguments)}: {errors.decode().strip()}")
        return output.decode()

    async def apply(self, path: Path, namespace: str = "default") -> str:
        """Apply a file of manifests, or a folder with a kustomization.

        Raises:
            KubectlError: It has failed.
        """
        option = "-f" if path.suffix in {".yaml", ".yml"} else "-k"
        return await self.kubectl("apply", "--server-side", option, str(path), namespace=namespace)

    # -- behind the scenes

    _etcd: Spawned | None = None

    async def _start_etcd(self, parts: AsyncExitStack) -> None:
        client, peer = f"http://127.0.0.1:{self._etcd_port}", f"http://127.0.0.1:{free_port()}"
        command = [
            str(self._binaries / "etcd"),
            f"--data-dir={self._folder / 'etcd'}",
            *(f"--listen-client-urls={client}", f"--advertise-client-urls={client}"),
            *(f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}"),
            f"--initial-cluster=default={peer}",
            # Nobody needs what is stored after a crash of the machine.
            "--unsafe-no-fsync",
            "--log-level=warn",
        ]
        self._etcd = await Spawned.start("etcd", command, self._folder / "etcd.log")
        parts.push_async_callback(self._etcd.stop)
        async with aiohttp.ClientSession(trust_env=False) as session:

            async def is_ready() -> bool:
                try:
                    async with session.get(f"{client}/health") as response:
                        return response.status == _OK
                except (aiohttp.ClientError, OSError):
                    return False

            await self._etcd.ready(is_ready)

    def _command(self) -> list[str]:
        return [
            str(self._binaries / "kube-apiserver"),
            f"--etcd-servers=http://127.0.0.1:{self._etcd_port}",
            "--bind-address=127.0.0.1",
            f"--secure-port={self.port}",
            f"--cert-dir={self._folder}",
            *self._keys.options(),
            "--service-account-issuer=https://kubernetes.default.svc",
            "--service-cluster-ip-range=10.0.0.0/24",
            f"--authorization-mode={self._authorization}",
            # Nobody makes the service account that each namespace has, and pods would wait for it.
            "--disable-admission-plugins=ServiceAccount",
            "--endpoint-reconciler-type=none",
            "--enable-priority-and-fairness=false",
        ]

    async def _ask_etcd(self, what: str, body: Mapping[str, object]) -> dict[str, Any]:
        url = f"http://127.0.0.1:{self._etcd_port}/v3/kv/{what}"
        async with aiohttp.ClientSession(trust_env=False) as session, session.post(url, json=body) as response:
            response.raise_for_status()
            answer: dict[str, Any] = await response.json()
            return answer

    async def _define(self) -> None:
        paths = sorted((self._binaries / "crds").glob("*.yaml"))
        lists = await asyncio.gather(*(self._define_one(BytesIO(path.read_bytes())) for path in paths))

        async def are_served() -> bool:
            assert self._session is not None
            for path in lists:
                async with self._session.get(path) as response:
                    if response.status != _OK:
                        return False
            return True

        await wait_until(are_served, 30.0, "custom resources are served")

    async def _define_one(self, text: BytesIO) -> str:
        """Define a custom resource; returns the path of its list."""
        assert self._session is not None
        kind = {"Content-Type": "application/yaml"}
        async with self._session.post(_DEFINITIONS, data=text, headers=kind) as response:
            if not response.ok:
                raise ValueError(f"a definition is refused: {await response.text()}")
            spec = (await response.json())["spec"]
        version = next(version["name"] for version in spec["versions"] if version["served"])
        return f"/apis/{spec['group']}/{version}/{spec['names']['plural']}"
