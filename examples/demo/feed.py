"""What the Endpoint Picker's page is told, read as the page reads it: server-sent events, a picture in each."""

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import aiohttp
import attrs

__all__ = ["Feed", "Picture", "read_picture"]

PAUSE = 0.1


@attrs.frozen
class Picture:
    """What goes on in the Endpoint Picker, at one moment.

    Attributes:
        queued: Requests that wait.
        in_flight: Requests that hold a slot, those of pods that are gone included.
        waiting: Requests that wait, by priority and tenant.
        pods: Requests in flight by the name of the pod, of the pods that it knows.
        running: What each of those pods works on, as it last said itself; without those that have not said.
    """

    queued: int = 0
    in_flight: int = 0
    waiting: Mapping[int, Mapping[str, int]] = attrs.field(factory=dict)
    pods: Mapping[str, int] = attrs.field(factory=dict)
    running: Mapping[str, int] = attrs.field(factory=dict)

    def waiting_in(self, priority: int) -> int:
        """Return how many requests of a band wait."""
        return sum(self.waiting.get(priority, {}).values())

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits, and nothing is in flight."""
        return not self.queued and not self.in_flight


def read_picture(told: Mapping[str, Any]) -> Picture:
    """Read one picture."""
    waiting = {}
    for band in told["bands"]:
        tenants = Counter[str]()
        for flow in band["flows"]:  # of one tenant there is one for each model
            tenants[flow["flow"]] += flow["queued"]
        waiting[band["priority"]] = tenants
    return Picture(
        queued=told["queued"],
        in_flight=told["in_flight"],
        waiting=waiting,
        pods={pod["name"]: pod["in_flight"] for pod in told["pods"]},
        running={pod["name"]: pod["running"] for pod in told["pods"] if pod["running"] is not None},
    )


class Feed:
    """Follows the pictures.

    Args:
        admin_url: Where the Endpoint Picker tells of itself.
        http: A client.
        listener: Told of each picture.

    Attributes:
        now: The newest picture.
        most_in_flight: The most requests that any picture showed in flight, by pod.
    """

    def __init__(self, admin_url: str, http: aiohttp.ClientSession, listener: Callable[[Picture], None]) -> None:
        self._url = admin_url
        self._http = http
        self._listener = listener
        self._arrived = asyncio.Event()
        self.now: Picture = Picture()
        self.most_in_flight: Counter[str] = Counter()

    async def run(self) -> None:
        """Follow until cancelled; where the connection breaks, open another."""
        forever = aiohttp.ClientTimeout(total=None)
        while True:
            try:
                async with self._http.get(f"{self._url}/events", timeout=forever) as response:
                    async for line in response.content:
                        if line.startswith(b"data:"):
                            self._take(read_picture(json.loads(line[5:])))
            except aiohttp.ClientError:
                pass  # if it is dead, whoever watches its process says so
            await asyncio.sleep(PAUSE)

    async def next(self) -> Picture:
        """Wait for the next picture."""
        self._arrived.clear()
        await self._arrived.wait()
        return self.now

    def _take(self, picture: Picture) -> None:
        self.now = picture
        for pod, in_flight in picture.pods.items():
            self.most_in_flight[pod] = max(self.most_in_flight[pod], in_flight)
        self._listener(picture)
        self._arrived.set()
