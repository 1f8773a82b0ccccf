"""A small autoscaler: starts model servers while requests wait for them, and stops them when they are idle.

It is the only one who tells the locator which pods there are. Each change is announced to flowgate, whose dispatch pass
follows at once; nothing is polled.
"""

import math
from collections.abc import Callable, Mapping

import anyio
import httpx
from anyio.abc import TaskGroup

from examples.demo.journal import Journal
from examples.demo.model_pod import ModelPod
from examples.demo.settings import IDLE_SECONDS, MAX_PODS, REQUESTS_PER_POD, SCALE_DOWN_PAUSE, SCALE_UP_PAUSE
from flowgate.locators import StaticPodLocator

__all__ = ["Autoscaler"]

PERIOD = 0.1
DRAIN_PERIOD = 0.02


class Autoscaler:
    """Keeps as many pods as demand asks for, from none to `MAX_PODS`.

    Args:
        locator: Told of each pod that becomes ready or goes.
        waiting: Says how many requests wait.
        in_flight: Requests in flight by pod name.
        journal: Told what happens.

    Attributes:
        pods: Every pod there was, the oldest first.
    """

    def __init__(
        self,
        locator: StaticPodLocator,
        *,
        waiting: Callable[[], int],
        in_flight: Mapping[str, int],
        journal: Journal,
    ) -> None:
        self._locator = locator
        self._waiting = waiting
        self._in_flight = in_flight
        self._journal = journal
        self._next_start = -math.inf
        self._next_stop = -math.inf
        self.pods: list[ModelPod] = []

    @property
    def alive(self) -> list[ModelPod]:
        """Pods that have not stopped."""
        return [pod for pod in self.pods if pod.phase != "stopped"]

    async def run(self) -> None:
        """Follow demand until cancelled; then stop what is left."""
        async with httpx.AsyncClient(trust_env=False) as http, anyio.create_task_group() as tasks:
            try:
                while True:
                    self._look(anyio.current_time(), tasks, http)
                    await anyio.sleep(PERIOD)
            finally:
                with anyio.CancelScope(shield=True):
                    await self._stop_all()

    async def wait_for_zero(self) -> None:
        """Wait until no request waits and no pod is left."""
        while self._waiting() or self.alive:  # noqa: ASYNC110 - demand is looked at, not announced
            await anyio.sleep(PERIOD)

    def _look(self, now: float, tasks: TaskGroup, http: httpx.AsyncClient) -> None:
        self._bury_the_dead()
        demand = self._waiting() + sum(self._in_flight.values())
        wanted = min(MAX_PODS, math.ceil(demand / REQUESTS_PER_POD))
        if len(self.alive) < wanted and now >= self._next_start:
            self._next_start = now + SCALE_UP_PAUSE
            pod = ModelPod(f"pod-{len(self.pods) + 1}", now)
            self.pods.append(pod)
            tasks.start_soon(self._start, pod, http)
        idle = self._idle_pods(now)
        if idle and not self._waiting() and now >= self._next_stop:
            self._next_stop = now + SCALE_DOWN_PAUSE
            idle[-1].phase = "stopping"
            tasks.start_soon(self._stop, idle[-1])

    def _idle_pods(self, now: float) -> list[ModelPod]:
        idle: list[ModelPod] = []
        for pod in self.pods:
            if pod.phase != "ready" or self._in_flight.get(pod.name):
                pod.idle_since = None
                continue
            pod.idle_since = now if pod.idle_since is None else pod.idle_since
            if now - pod.idle_since >= IDLE_SECONDS:
                idle.append(pod)
        return idle

    async def _start(self, pod: ModelPod, http: httpx.AsyncClient) -> None:
        self._journal.note(f"{self._waiting()} requests wait: {pod.name} is starting")
        await pod.start(http)
        pod.phase = "ready"
        self._journal.note(f"{pod.name} is ready after {anyio.current_time() - pod.born:.1f} s")
        self._publish()

    async def _stop(self, pod: ModelPod) -> None:
        self._journal.note(f"{pod.name} was idle for {IDLE_SECONDS} s: it stops")
        self._publish()
        while self._in_flight.get(pod.name):  # noqa: ASYNC110 - so is this
            await anyio.sleep(DRAIN_PERIOD)
        await pod.stop()
        if not self.alive:
            self._journal.note("no pods are left: back to zero")

    def _bury_the_dead(self) -> None:
        for pod in self.pods:
            if pod.has_died:
                pod.phase = "stopped"
                self._journal.note(f"{pod.name} has died")
                self._publish()

    def _publish(self) -> None:
        self._locator.set_pods(pod.pod for pod in self.pods if pod.phase == "ready" and pod.pod is not None)

    async def _stop_all(self) -> None:
        async with anyio.create_task_group() as tasks:
            for pod in self.alive:
                tasks.start_soon(pod.stop)
