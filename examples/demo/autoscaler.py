"""A small autoscaler: starts model servers while requests wait for them, and stops them when they are idle.

It sees what any autoscaler may see, the Endpoint Picker's own figures, and writes the file of pods that the Endpoint
Picker follows.
"""

import asyncio
import math

from examples.demo.feed import Feed
from examples.demo.journal import Journal
from examples.demo.model_pod import ModelPod
from examples.demo.settings import IDLE_SECONDS, MAX_PODS, REQUESTS_PER_POD, SCALE_DOWN_PAUSE, SCALE_UP_PAUSE
from examples.demo.watching import must_live
from examples.stage import Stage

__all__ = ["Autoscaler"]


class Autoscaler:
    """Keeps as many pods as demand asks for, from none to `MAX_PODS`.

    Args:
        stage: Where processes are started, and the file of pods is.
        feed: What the Endpoint Picker tells.
        journal: Told what happens.

    Attributes:
        pods: Every pod there was, the oldest first.
    """

    def __init__(self, stage: Stage, feed: Feed, journal: Journal) -> None:
        self._stage = stage
        self._feed = feed
        self._journal = journal
        self._time = asyncio.get_running_loop().time
        self._watches: dict[str, asyncio.Task[None]] = {}
        self._next_start = -math.inf
        self._next_stop = -math.inf
        self.pods: list[ModelPod] = []

    @property
    def alive(self) -> list[ModelPod]:
        """Pods that have not stopped."""
        return [pod for pod in self.pods if pod.phase != "stopped"]

    async def run(self) -> None:
        """Follow demand until cancelled.

        Raises:
            StartError: A pod has ended before it was ready.
            EarlyEnd: A pod has ended that was to live.
        """
        async with asyncio.TaskGroup() as tasks:
            while True:
                await self._feed.next()
                self._look(self._time(), tasks)

    async def wait_for_zero(self) -> None:
        """Wait until no request waits and no pod is left."""
        while self.alive or not self._feed.now.is_idle:
            await self._feed.next()

    def _look(self, now: float, tasks: asyncio.TaskGroup) -> None:
        picture = self._feed.now
        wanted = min(MAX_PODS, math.ceil((picture.queued + picture.in_flight) / REQUESTS_PER_POD))
        if len(self.alive) < wanted and now >= self._next_start:
            self._next_start = now + SCALE_UP_PAUSE
            pod = ModelPod(f"pod-{len(self.pods) + 1}", now)
            self.pods.append(pod)
            tasks.create_task(self._start(pod, tasks))
        idle = self._idle_pods(now)
        if idle and not picture.queued and now >= self._next_stop:
            self._next_stop = now + SCALE_DOWN_PAUSE
            tasks.create_task(self._stop(idle[-1]))

    def _idle_pods(self, now: float) -> list[ModelPod]:
        idle: list[ModelPod] = []
        for pod in self.pods:
            if pod.phase != "ready" or self._feed.now.pods.get(pod.name):
                pod.idle_since = None
                continue
            pod.idle_since = now if pod.idle_since is None else pod.idle_since
            if now - pod.idle_since >= IDLE_SECONDS:
                idle.append(pod)
        return idle

    async def _start(self, pod: ModelPod, tasks: asyncio.TaskGroup) -> None:
        self._journal.note(f"{self._feed.now.queued} requests wait: {pod.name} is starting")
        server = await pod.start(self._stage)
        self._journal.note(f"{pod.name} is ready after {self._time() - pod.born:.1f} s")
        self._watches[pod.name] = tasks.create_task(must_live(server.process))
        self._publish()

    async def _stop(self, pod: ModelPod) -> None:
        self._journal.note(f"{pod.name} was idle for {IDLE_SECONDS:g} s: it stops")
        pod.phase = "stopping"
        self._publish()
        picture = self._feed.now
        # Until the Endpoint Picker has read the file it may send a request there.
        while pod.name in picture.pods or picture.in_flight > sum(picture.pods.values()):
            picture = await self._feed.next()
        self._watches.pop(pod.name).cancel()
        await pod.stop()
        if not self.alive:
            self._journal.note("no pods are left: back to zero")

    def _publish(self) -> None:
        self._stage.set_pods(pod.server for pod in self.pods if pod.phase == "ready" and pod.server is not None)
