"""The picture is small, whatever there is to show, and its numbers are the metrics'."""

import json
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import pytest

from flowgate import PodMetrics, QueueOutcome, Request
from flowgate.testing import make_pods

Scenes = Callable[..., AbstractAsyncContextManager]
pytestmark = pytest.mark.anyio


async def test_it_shows_what_waits_by_band_and_flow(scene: Scenes) -> None:
    async with scene() as here:
        for flow, priority in [("a", 10), ("a", 10), ("b", 10), ("c", -5)]:
            await here.callers.start(Request(flow, priority, byte_size=100))
        picture = here.board.picture()
        assert (picture["queued"], picture["queued_bytes"], picture["in_flight"]) == (4, 400, 0)
        assert (picture["pool"], picture["saturation"], picture["max_requests"]) == ("llamas", 1.0, 1_000)
        assert [(band["priority"], band["name"], band["queued"]) for band in picture["bands"]] == [
            (10, "premium", 3),
            (0, "", 0),
            (-5, "", 1),
        ]
        assert picture["bands"][0]["flows"] == [
            {"flow": "a", "model": "", "queued": 2, "queued_bytes": 200},
            {"flow": "b", "model": "", "queued": 1, "queued_bytes": 100},
        ]


async def test_of_many_flows_the_longest_are_shown_and_the_rest_added_up(scene: Scenes) -> None:
    async with scene() as here:
        for number in range(12):
            for _ in range(1 + number):
                await here.callers.start(Request(f"flow-{number}"))
        (band,) = [band for band in here.board.picture()["bands"] if band["priority"] == 0]
        assert [flow["queued"] for flow in band["flows"]] == [12, 11, 10, 9, 8, 7, 6, 5]
        assert (band["more_flows"], band["more_flows_queued"], band["queued"]) == (4, 10, 78)


async def test_of_many_bands_the_busiest_are_shown_and_the_rest_added_up(scene: Scenes) -> None:
    async with scene() as here:
        for priority in range(100, 120):
            await here.callers.start(Request("a", priority))
        picture = here.board.picture()
        assert len(picture["bands"]) == 16
        assert (picture["more_bands"], picture["more_bands_queued"]) == (7, 4)


async def test_pods_are_shown_with_their_load_and_what_they_said(scene: Scenes) -> None:
    async with scene(pods=2) as here:
        for _ in range(3):
            await here.callers.start(Request("a"))
        first, second = here.pool
        here.pool.report(first, PodMetrics(3, 4, 0.5, updated_at=0.0))
        picture = here.board.picture()
        assert (picture["pod_count"], picture["in_flight"], picture["saturation"]) == (2, 3, 0.75)
        pods = {pod["name"]: pod for pod in picture["pods"]}
        assert list(pods) == [first.name, second.name]
        loads = [pod["in_flight"] for pod in pods.values()]
        assert sorted(loads) == [1, 2]
        assert [pod["is_open"] for pod in pods.values()] == [load == 1 for load in loads]
        said = pods[second.name]
        assert (said["waiting"], said["running"], said["kv_cache_usage"], said["age"]) == (None, None, None, None)


async def test_what_a_pod_said_is_shown_with_its_age(scene: Scenes) -> None:
    async with scene() as here:
        here.pool.add(metrics=PodMetrics(3, 4, 0.5, updated_at=0.0))
        (pod,) = here.board.picture()["pods"]
        assert (pod["waiting"], pod["running"], pod["kv_cache_usage"]) == (3, 4, 0.5)
        assert pod["age"] > 0


async def test_of_many_pods_the_fullest_are_shown(scene: Scenes) -> None:
    async with scene() as here:
        for pod in make_pods(70):
            here.pool.add(pod.name, address=pod.address)
        caller = await here.callers.start(Request("a"))
        picture = here.board.picture()
        assert (picture["pod_count"], len(picture["pods"])) == (70, 64)
        assert caller.ticket.pod.name in {pod["name"] for pod in picture["pods"]}


async def test_recent_decisions_are_kept_newest_first_and_no_more(scene: Scenes) -> None:
    async with scene(pods=1) as here:
        (pod,) = here.pool
        for number in range(100):
            here.decide(number, pod=pod)
        here.decide(100, outcome=QueueOutcome.EVICTED_TTL, status=429, reason="ttl-expired")
        picture = here.board.picture()
        shown = picture["decisions"]
        assert (len(shown), picture["decided"]) == (60, 101)
        assert [decision["request_id"] for decision in shown[:2]] == ["r-100", "r-99"]
        assert (shown[0]["status"], shown[0]["reason"], shown[0]["pod"]) == (429, "ttl-expired", None)
        assert (shown[1]["status"], shown[1]["pod"], shown[1]["endpoint"]) == (200, pod.name, pod.endpoint)
        assert (picture["dropped"], picture["drops"]) == (1, [{"reason": "ttl-expired", "status": 429, "count": 1}])


async def test_it_stays_small_with_a_thousand_hostile_flows(scene: Scenes) -> None:
    async with scene() as here:
        for number in range(900):
            here.callers.begin(Request(f"{number}\x00" + "é" * 1_000, 10 * (number % 3)))
        await here.callers.start(Request("last"))
        for number in range(100):
            here.decide(number, flow_id="\ud800" * 5_000, request_id="\n" * 5_000, model="x" * 5_000)
        text = json.dumps(here.board.picture())
        assert len(text) < 120_000
        assert text.isascii()
