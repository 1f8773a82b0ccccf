"""What the Endpoint Picker says of itself agrees with what its clients saw."""

import asyncio
from collections import Counter

import pytest

from flowgate_epp.telemetry import METRICS

pytestmark = pytest.mark.anyio

NEEDS_A_LIMIT = {"global_capacity_utilization_requests", "global_capacity_utilization_bytes"}
NEEDS_A_POD = {name for name, metric in METRICS.items() if "pod" in metric.labels}
NEEDS_A_FAILURE = {"plugin_failures_total"}
NEEDS_A_CLUSTER = {"activator_writes_total", "kubernetes_failures"}


async def test_metrics_are_there_at_zero(open_gateway, slots) -> None:
    """Before the first request, so that an autoscaler sees no demand rather than nothing."""
    async with open_gateway(slots(1)) as gateway:
        readings = await gateway.metrics()
        told = {name.removesuffix("_count").removesuffix("_total") for name in readings.names}
        wanted = {f"flowgate_{name}".removesuffix("_total") for name in METRICS.keys() - NEEDS_A_LIMIT - NEEDS_A_POD}
        later = {f"flowgate_{name}".removesuffix("_total") for name in NEEDS_A_FAILURE | NEEDS_A_CLUSTER}
        assert wanted - later <= told
        assert readings.total("flowgate_queue_size", flow="default", priority="0") == 0
        assert readings.total("flowgate_pool_saturation") == 1


async def test_metrics_agree_with_what_clients_saw(open_gateway, slots) -> None:
    """Served, refused, expired and gone: each request is counted once, in every table."""
    bands = [{"priority": 0, "max_requests": 4}]
    async with open_gateway(slots(2, bands=bands)) as gateway:
        pod = await gateway.start_pod(slots=2, ttft=0.3)
        calls = [gateway.call(x_request_ttl_seconds="0.2")]
        await gateway.holds(1)
        calls += [gateway.call() for _ in range(3)]
        await gateway.holds(4)
        calls += [gateway.call() for _ in range(2)]  # no room without pods: 503
        await asyncio.gather(*[call.answer() for call in (calls[0], *calls[4:])])
        await gateway.announce(pod)
        await gateway.until(lambda state: (state["queued"], state["in_flight"]) == (1, 2), "two of three are served")
        calls += [gateway.call() for _ in range(3)]
        await gateway.holds(4)
        calls += [gateway.call() for _ in range(2)]  # no room with pods: 429
        gone = calls[8]
        await asyncio.gather(*[call.answer() for call in calls[9:]])
        gone.hang_up()
        answers = await asyncio.gather(*[call.answer() for call in calls if call is not gone])
        seen = Counter(answer.status for answer in answers)
        assert seen == {200: 5, 429: 2, 503: 3}
        await gateway.serves(0)
        readings = await gateway.metrics()
        assert readings.by("outcome", "flowgate_requests_total") == {
            "dispatched": 5,
            "evicted_cancelled": 1,
            "evicted_no_pods": 1,
            "rejected_capacity": 2,
            "rejected_no_pods": 2,
        }
        durations = readings.by("outcome", "flowgate_request_queue_duration_seconds_count")
        assert durations == readings.by("outcome", "flowgate_requests_total")
        assert readings.by("status", "flowgate_drops_total") == {"429": 2, "499": 1, "503": 3}
        assert readings.total("flowgate_pick_duration_seconds_count") == 5
        assert readings.total("flowgate_queue_size") == 0
        assert readings.total("flowgate_in_flight_requests") == 0
        state = await gateway.state()
        assert state["decided"] == len(calls)
        shown = Counter(decision["status"] for decision in state["decisions"])
        assert shown == {**seen, 499: 1}


async def test_dashboards_of_others_find_their_names(open_gateway, slots) -> None:
    """By a switch, the same numbers under upstream's names."""
    config = {
        **slots(8),
        "telemetry": {"metrics": {"names": ["flowgate", "llm-d", "inference-extension"], "pool": "p"}},
    }
    async with open_gateway(config) as gateway:
        calls = [gateway.call() for _ in range(3)]
        await gateway.holds(3)
        readings = await gateway.metrics()
        theirs = {name for name in readings.names if name.endswith("flow_control_queue_size")}
        assert len(theirs) == 2
        for name in theirs:
            assert readings.total(name, inference_pool="p") == 3
        for call in calls:
            call.hang_up()


async def test_a_pods_metrics_are_told_as_it_says_them(open_gateway) -> None:
    """The scraper reads the pod's page; what it says is on ours."""
    async with open_gateway({"flow_control": {"detector": {"name": "concurrency", "max_concurrency": 8}}}) as gateway:
        await gateway.announce(await gateway.start_pod(slots=2, ttft=1.0))
        calls = [gateway.call() for _ in range(5)]
        await gateway.until(
            lambda state: (state["pods"][0]["running"], state["pods"][0]["waiting"]) == (2, 3), "the pod says 2 and 3"
        )
        readings = await gateway.metrics()
        assert readings.total("flowgate_pod_running_requests", pod="pod-0") == 2
        assert readings.total("flowgate_pod_waiting_requests", pod="pod-0") == 3
        assert readings.total("flowgate_pod_in_flight_requests", pod="pod-0") == 5
        for call in calls:
            call.hang_up()
