"""A whole gateway: Envoy, an Endpoint Picker behind it, and whatever pods are announced."""

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from io import BytesIO
from typing import Any, Self

import attrs

from examples.stage._parts import Envoy, Epp, ModelServer
from examples.stage._processes import wait_until
from examples.stage._stage import Stage
from examples.stage.gateway._http2 import Answer, Http2Connection
from examples.stage.gateway._readings import Readings
from flowgate_epp.envoy_config import EnvoySettings

__all__ = ["Call", "Gateway", "completion"]

_PATH = "/v1/completions"
_PATIENCE = 10.0


def completion(prompt: str = "hello", tokens: int = 1, **more: object) -> bytes:
    """Write the body of a request for a completion."""
    return json.dumps({"prompt": prompt, "max_tokens": tokens, **more}).encode()


class Call:
    """A request under way, by a client that speaks HTTP/1.1.

    Attributes:
        seconds: From its beginning to the end of its answer; to now while there is none.
    """

    def __init__(self, answer: "asyncio.Task[Answer]") -> None:
        self._began = time.monotonic()
        self._ended: float | None = None
        self._answer = answer
        answer.add_done_callback(self._end)

    @property
    def is_over(self) -> bool:
        """Whether it was answered, or has failed."""
        return self._answer.done()

    @property
    def ended_at(self) -> float:
        """When it ended, on the monotonic clock; infinity while it has not."""
        return float("inf") if self._ended is None else self._ended

    @property
    def seconds(self) -> float:
        """From its beginning to its end, or to now."""
        return (time.monotonic() if self._ended is None else self._ended) - self._began

    async def answer(self) -> Answer:
        """Wait for the answer; raises what the client raises."""
        return await asyncio.shield(self._answer)

    def hang_up(self) -> None:
        """Close the connection, as a client does whose user has gone."""
        self._answer.cancel()

    def _end(self, answer: "asyncio.Task[Answer]") -> None:
        self._ended = time.monotonic()
        if not answer.cancelled():
            answer.exception()


@attrs.define
class Gateway:
    """Processes that serve together.

    Attributes:
        stage: Where they live.
        config: The Endpoint Picker's file.
        settings: Envoy's.
        envoy: Where clients go.
        epp: Where Envoy asks.
    """

    stage: Stage
    config: Mapping[str, Any]
    settings: EnvoySettings
    envoy: Envoy
    epp: Epp
    _calls: list["asyncio.Task[Answer]"] = attrs.field(factory=list)

    @classmethod
    @asynccontextmanager
    async def open(
        cls, stage: Stage, config: Mapping[str, Any], *, finds_epp: bool = True, **envoy: Any
    ) -> AsyncIterator[Self]:
        """Start an Envoy and an Endpoint Picker, and leave no request behind at the end.

        Args:
            stage: Where; it ends them.
            config: The Endpoint Picker's file.
            finds_epp: Whether to wait until Envoy has found the Endpoint Picker.
            envoy: Settings of Envoy that differ from the defaults.
        """
        settings = EnvoySettings(listen_port=stage.port(), admin_port=stage.port(), epp_port=stage.port(), **envoy)
        epp, running = await asyncio.gather(
            stage.start_epp(config, port=settings.epp_port), stage.start_envoy(settings)
        )
        gateway = cls(stage, config, settings, running, epp)
        try:
            if finds_epp:
                await gateway.finds_epp()
            yield gateway
        finally:
            for call in gateway._calls:
                call.cancel()
            await asyncio.gather(*gateway._calls, return_exceptions=True)

    # -- pods

    async def start_pod(self, name: str = "pod-0", **options: object) -> ModelServer:
        """Start a model server that nobody knows of yet; options are those of its command line."""
        words = [
            f"--{key.replace('_', '-')}={value}"
            for key, value in {"name": name, "ttft": 0, "tpot": 0, **options}.items()
        ]
        return await self.stage.start_model_server(name, *words)

    async def announce(self, *pods: ModelServer | Mapping[str, object]) -> None:
        """Say which pods there are, and wait until the Endpoint Picker has heard."""
        self.stage.set_pods(pods)
        names = {pod.name if isinstance(pod, ModelServer) else pod["name"] for pod in pods}
        await self.until(lambda state: {pod["name"] for pod in state["pods"]} == names, f"pods are {names}")

    # -- requests

    def call(self, body: bytes | None = None, **headers: str) -> Call:
        """Begin a request, on a connection of its own; underscores in headers' names stand for hyphens."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        task = asyncio.get_running_loop().create_task(self._post(completion() if body is None else body, named))
        self._calls.append(task)
        return Call(task)

    async def ask(self, body: bytes | None = None, **headers: str) -> Answer:
        """Send a request, and wait for its answer."""
        return await self.call(body, **headers).answer()

    async def _post(self, body: bytes, headers: Mapping[str, str]) -> Answer:
        named = {"content-type": "application/json", "connection": "close", **headers}
        async with self.stage.http.post(f"{self.envoy.url}{_PATH}", data=BytesIO(body), headers=named) as response:
            received = await response.read()
            return Answer(response.status, {key.lower(): value for key, value in response.headers.items()}, received)

    async def connect(self) -> Http2Connection:
        """Make an HTTP/2 connection."""
        return await Http2Connection.connect(self.envoy.url)

    async def connect_raw(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Make a TCP connection, for what no well-behaved client sends."""
        return await asyncio.open_connection("127.0.0.1", self.settings.listen_port)

    # -- what the Endpoint Picker says

    async def state(self) -> dict[str, Any]:
        """Read what its page shows."""
        async with self.stage.http.get(f"{self.epp.admin_url}/state") as response:
            response.raise_for_status()
            state: dict[str, Any] = await response.json()
            return state

    async def metrics(self) -> Readings:
        """Read its metrics."""
        async with self.stage.http.get(f"{self.epp.admin_url}/metrics") as response:
            response.raise_for_status()
            return Readings.read(await response.text())

    async def until(
        self, is_so: Callable[[dict[str, Any]], bool], what: str, seconds: float = _PATIENCE
    ) -> dict[str, Any]:
        """Wait until its page shows something, and return what it shows then.

        Raises:
            TimeoutError: It does not in time; tells the page.
        """
        state: dict[str, Any] = {}

        async def look() -> bool:
            nonlocal state
            state = await self.state()
            return is_so(state)

        try:
            await wait_until(look, seconds, what)
        except TimeoutError as error:
            raise TimeoutError(f"{error}; {self._outcomes()}; the page shows {json.dumps(state)[:2_000]}") from None
        return state

    def _outcomes(self) -> str:
        over = [call for call in self._calls if call.done() and not call.cancelled()]
        ends = [call.exception() or call.result() for call in over]
        return f"{len(self._calls)} calls were made, the last of those that are over: {ends[-3:]}"

    async def holds(self, requests: int, seconds: float = _PATIENCE) -> dict[str, Any]:
        """Wait until so many requests wait."""
        return await self.until(lambda state: state["queued"] == requests, f"{requests} requests wait", seconds)

    async def serves(self, requests: int, seconds: float = _PATIENCE) -> dict[str, Any]:
        """Wait until so many requests hold a slot of a pod."""
        return await self.until(
            lambda state: state["in_flight"] == requests, f"{requests} requests are in flight", seconds
        )

    async def finds_epp(self, seconds: float = _PATIENCE) -> None:
        """Wait until Envoy has found the Endpoint Picker in good health: until then it answers 503."""

        async def look() -> bool:
            return await self.envoy_counts("cluster.epp.membership_healthy") == 1

        await wait_until(look, seconds, "Envoy has found the Endpoint Picker")

    async def envoy_counts(self, name: str) -> int:
        """Read one of Envoy's own statistics; 0 where there is none."""
        async with self.stage.http.get(f"{self.envoy.admin_url}/stats?filter=^{re.escape(name)}$") as response:
            return int((await response.text()).strip().rpartition(": ")[2] or 0)

    # -- misfortune

    async def restart_epp(self) -> None:
        """Start the Endpoint Picker once more, where it was; Envoy may not have found it yet."""
        self.epp = await self.stage.start_epp(self.config, port=self.settings.epp_port)

    async def restart_envoy(self) -> None:
        """Start Envoy once more, where it was; it may not have found the Endpoint Picker yet."""
        self.envoy = await self.stage.start_envoy(self.settings)
