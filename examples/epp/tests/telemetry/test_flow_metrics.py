"""What metrics say is what the controller counts."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flowgate import FlowControlConfig, FlowController, PodMetrics, PriorityBandConfig, QueueOutcome, Request
from flowgate.contracts import PassEnded
from flowgate.saturation import ConcurrencyDetector
from flowgate.testing import Callers, make_pods, run_in_virtual_time
from flowgate_epp.contracts import Decision
from flowgate_epp.telemetry import Exposition, FlowMetrics, MetricsSettings, PodReading, Readings, pool_saturation

Scenes = Callable[..., AbstractAsyncContextManager]
BANDS = (10, 0, -5)


def test_everything_is_told_at_zero_before_anything_happens(scene: Scenes) -> None:
    async def main() -> None:
        async with scene() as here:
            samples = here.scrape()
            for band in map(str, BANDS):
                flow = frozenset({"flow": "default", "priority": band, "model": ""}.items())
                assert samples["flowgate_queue_size", flow] == 0
                assert samples["flowgate_queue_bytes", flow] == 0
                for outcome in QueueOutcome:
                    ended = frozenset({"outcome": outcome.value, "priority": band}.items())
                    assert samples["flowgate_requests_total", ended] == 0
                    waited = flow | {("outcome", outcome.value)}
                    assert samples["flowgate_request_queue_duration_seconds_count", waited] == 0
                    assert samples["flowgate_request_queue_duration_seconds_bucket", waited | {("le", "+Inf")}] == 0
            assert samples["flowgate_drops_total", frozenset({"reason": "no-pods", "status": "503"}.items())] == 0
            assert samples["flowgate_dispatch_pass_duration_seconds_count", frozenset()] == 0
            assert samples["flowgate_pods", frozenset()] == 0

    run_in_virtual_time(main)


def test_queues_are_told_by_flow_and_agree_with_the_controller(scene: Scenes) -> None:
    async def main() -> None:
        async with scene() as here:
            for flow, priority, size in [("a", 0, 100), ("a", 0, 50), ("b", 10, 7), ("a", -5, 1)]:
                await here.callers.start(Request(flow, priority, byte_size=size))
            assert here.value("flowgate_queue_size", flow="a", priority="0", model="") == 2
            assert here.value("flowgate_queue_bytes", flow="a", priority="0", model="") == 150
            assert here.value("flowgate_queue_size", flow="b", priority="10", model="") == 1
            assert_agrees(here)
            here.pool.add()  # with room for two: the highest band goes first
            await here.callers.all[2].admitted()
            assert here.value("flowgate_queue_size", flow="b", priority="10", model="") == 0
            assert_agrees(here)
            here.callers.all[3].cancel()
            await here.callers.start(Request("too-large", byte_size=20_000))
            assert_agrees(here)
            await here.callers.finish()
            assert_agrees(here)
            assert here.value("flowgate_requests_total", outcome="dispatched", priority="0") == 2
            assert here.value("flowgate_requests_total", outcome="evicted_cancelled", priority="-5") == 1
            assert here.value("flowgate_requests_total", outcome="rejected_too_large", priority="0") == 1

    run_in_virtual_time(main)


def assert_agrees(here: object) -> None:
    samples, stats = here.scrape(), here.controller.stats()

    def total(name: str, **labels: str) -> float:
        wanted = set(labels.items())
        return sum(value for (told, found), value in samples.items() if told == name and wanted <= found)

    assert total("flowgate_queue_size") == stats.queued_requests
    assert total("flowgate_queue_bytes") == stats.queued_bytes
    assert total("flowgate_in_flight_requests") == stats.in_flight
    assert total("flowgate_pod_in_flight_requests") == stats.in_flight
    for outcome in QueueOutcome:
        assert total("flowgate_requests_total", outcome=outcome.value) == stats.outcomes[outcome]
        if outcome is not QueueOutcome.REJECTED_INVALID:
            counted = total("flowgate_request_queue_duration_seconds_count", outcome=outcome.value)
            assert counted == stats.outcomes[outcome]
    for priority, band in stats.bands.items():
        assert total("flowgate_queue_size", priority=str(priority)) == band.queued_requests
        assert total("flowgate_flows", priority=str(priority)) == band.flows


def assert_bounded(here: object, most: int) -> None:
    samples, stats = here.scrape(), here.controller.stats()
    queued = {labels: value for (told, labels), value in samples.items() if told == "flowgate_queue_size"}
    assert sum(queued.values()) == stats.queued_requests
    assert min(queued.values()) >= 0
    flows = {dict(labels)["flow"] for labels in queued}
    assert len(flows - {"default", "other"}) <= most


_STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("ask"), st.sampled_from("abcdefgh"), st.sampled_from((*BANDS, 7)), st.integers(0, 3_000)),
        st.tuples(st.just("cancel"), st.integers(0, 40)),
        st.tuples(st.just("release"), st.integers(0, 40)),
        st.tuples(st.just("pods"), st.integers(0, 3)),
        st.tuples(st.just("sleep"), st.sampled_from([1.0, 70.0, 400.0])),
        st.tuples(st.just("scrape")),
    ),
    max_size=40,
)


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(_STEPS, st.integers(1, 6))
def test_whatever_happens_metrics_and_controller_agree(scene: Scenes, steps: list[tuple], most: int) -> None:
    bounds = MetricsSettings(process=False, max_label_values=most)

    async def main() -> None:
        async with scene(bounds) as here:
            for name, *args in steps:
                if name == "ask":
                    await here.callers.start(Request(args[0], args[1], byte_size=args[2]))
                elif name == "cancel" and args[0] < len(here.callers.all) and here.callers.all[args[0]].is_waiting:
                    here.callers.all[args[0]].cancel()
                elif name == "release" and args[0] < len(here.callers.all) and here.callers.all[args[0]].is_holding:
                    here.callers.all[args[0]].release()
                elif name == "pods":
                    here.pool.scale(args[0])
                elif name == "sleep":
                    await asyncio.sleep(args[0])
                elif name == "scrape":
                    assert_bounded(here, most)
                await asyncio.sleep(0.001)
            assert_bounded(here, most)

    run_in_virtual_time(main)


def test_a_request_that_waited_is_counted_by_how_long(scene: Scenes) -> None:
    async def main() -> None:
        async with scene() as here:
            caller = await here.callers.start(Request("a"))
            await asyncio.sleep(2.0)
            here.pool.add()
            await caller.admitted()
            await here.callers.start(Request("a"))
            labels = {"flow": "a", "priority": "0", "model": "", "outcome": "dispatched"}
            name = "flowgate_request_queue_duration_seconds"
            assert here.value(f"{name}_count", **labels) == 2
            assert here.value(f"{name}_sum", **labels) == pytest.approx(2.0)
            assert here.value(f"{name}_bucket", **labels, le="0.0001") == 1
            assert here.value(f"{name}_bucket", **labels, le="1.0") == 1
            assert here.value(f"{name}_bucket", **labels, le="2.5") == 2

    run_in_virtual_time(main)


def test_models_are_told_where_somebody_knows_them(scene: Scenes, model_request: type) -> None:
    async def main() -> None:
        settings = MetricsSettings(process=False, models=("llama",))
        async with scene(settings, model_of=lambda request: request.model) as here:
            assert here.value("flowgate_queue_size", flow="default", priority="0", model="llama") == 0
            await here.callers.start(model_request("a", model="llama"))
            await here.callers.start(model_request("a", model="gemma"))
            assert here.value("flowgate_queue_size", flow="a", priority="0", model="llama") == 1
            assert here.value("flowgate_queue_size", flow="a", priority="0", model="gemma") == 1

    run_in_virtual_time(main)


def test_series_of_flows_that_left_go_and_those_at_zero_stay(scene: Scenes) -> None:
    async def main() -> None:
        async with scene(pods=1) as here:
            caller = await here.callers.start(Request("a"))
            caller.release()
            waiting = frozenset({"flow": "a", "priority": "0", "model": ""}.items())
            await asyncio.sleep(299.0)
            assert ("flowgate_queue_size", waiting) in here.scrape()
            await asyncio.sleep(2.0)
            samples = here.scrape()
            assert not [labels for _, labels in samples if ("flow", "a") in labels]
            assert (
                samples["flowgate_requests_total", frozenset({"outcome": "dispatched", "priority": "0"}.items())] == 1
            )
            default = frozenset({"flow": "default", "priority": "0", "model": ""}.items())
            assert samples["flowgate_queue_size", default] == 0

    run_in_virtual_time(main)


def test_a_flow_that_waits_for_long_is_not_forgotten(scene: Scenes) -> None:
    async def main() -> None:
        settings = MetricsSettings(process=False, idle_after=1.0)
        async with scene(settings) as here:
            await here.callers.start(Request("a"))
            await asyncio.sleep(30.0)
            assert here.value("flowgate_queue_size", flow="a", priority="0", model="") == 1

    run_in_virtual_time(main)


def test_requests_without_a_valid_band_are_counted_as_none(scene: Scenes) -> None:
    async def main() -> None:
        async with scene(config=FlowControlConfig(default_band=None)) as here:
            caller = await here.callers.start(Request("a", 77))
            assert caller.outcome is QueueOutcome.REJECTED_INVALID
            assert here.value("flowgate_requests_total", outcome="rejected_invalid", priority="none") == 1
            assert not [labels for _, labels in here.scrape() if ("priority", "77") in labels]

    run_in_virtual_time(main)


def test_capacity_is_told_as_a_share_of_each_limit(scene: Scenes) -> None:
    async def main() -> None:
        async with scene() as here:
            for _ in range(10):
                await here.callers.start(Request("a", 10, byte_size=100))
            assert here.value("flowgate_capacity_utilization_requests", priority="10") == 0.25
            assert here.value("flowgate_capacity_utilization_bytes", priority="10") == pytest.approx(1e-6)
            assert here.value("flowgate_capacity_utilization_requests", priority="0") == 0
            assert here.value("flowgate_global_capacity_utilization_requests") == 0.1
            assert here.value("flowgate_global_capacity_utilization_bytes") == 0.1

    run_in_virtual_time(main)


def test_what_has_no_limit_has_no_capacity_and_no_room_counts_as_full(scene: Scenes) -> None:
    config = FlowControlConfig(
        bands=[PriorityBandConfig(1, max_requests=None, max_bytes=None), PriorityBandConfig(0, max_requests=0)]
    )

    async def main() -> None:
        async with scene(config=config) as here:
            samples = here.scrape()
            told = {dict(labels).get("priority") for name, labels in samples if name.startswith("flowgate_capacity_")}
            assert told == {"0"}
            assert samples["flowgate_capacity_utilization_requests", frozenset({("priority", "0")})] == 1.0
            assert not [name for name, _ in samples if name.startswith("flowgate_global_capacity")]

    run_in_virtual_time(main)


def test_pods_are_told_with_what_they_say_and_what_is_known_of_them(scene: Scenes) -> None:
    async def main() -> None:
        async with scene(pods=2) as here:
            first, second = here.pool
            await here.callers.start(Request("a"))
            here.pool.report(second, PodMetrics(3, 4, 0.5, updated_at=0.0))
            here.failures[first] = 5
            await asyncio.sleep(1.5)
            pod = {"pod": second.name, "endpoint": second.endpoint}
            assert here.value("flowgate_pods") == 2
            assert here.value("flowgate_pod_waiting_requests", **pod) == 3
            assert here.value("flowgate_pod_running_requests", **pod) == 4
            assert here.value("flowgate_pod_kv_cache_usage", **pod) == 0.5
            assert here.value("flowgate_pod_metrics_age_seconds", **pod) == pytest.approx(1.5)
            pod = {"pod": first.name, "endpoint": first.endpoint}
            assert here.value("flowgate_pod_in_flight_requests", **pod) == 1
            assert here.value("flowgate_pod_saturation", **pod) == 0.5
            assert here.value("flowgate_pool_saturation") == 0.25
            assert here.value("flowgate_scrape_failures_total", **pod) == 5
            assert ("flowgate_pod_waiting_requests", frozenset(pod.items())) not in here.scrape()

    run_in_virtual_time(main)


def test_a_pool_is_no_fuller_than_its_pods_and_full_without_any() -> None:
    first, second = make_pods(2)
    assert pool_saturation([]) == 1.0
    assert pool_saturation([PodReading(first, 0, 0.0), PodReading(second, 9, 7.5)]) == 0.5


def test_failures_of_plugins_are_told_by_kind_and_name(scene: Scenes) -> None:
    class Broken:
        def on_enqueued(self, event: object) -> None:
            raise ValueError("no")

    async def main() -> None:
        async with (
            scene() as here,
            FlowController(locator=here.pool, detector=ConcurrencyDetector(1), observers=[Broken()]) as broken,
        ):
            here.metrics.connect(Readings(broken.stats))
            async with Callers(broken) as callers:
                await callers.start(Request("a"))
                assert here.value("flowgate_plugin_failures_total", kind="observer", name="Broken") == 1

    run_in_virtual_time(main)


def test_drops_are_counted_by_reason_and_picks_by_duration(
    scene: Scenes, decision: Callable[..., Decision], refusal: Callable[..., Decision]
) -> None:
    async def main() -> None:
        async with scene() as here:
            here.metrics.decided(decision())
            here.metrics.decided(refusal())
            here.metrics.decided(refusal())
            here.metrics.decided(refusal(status=503, reason=None))
            here.metrics.decided(decision(status=503, reason="no-pods", pod=None))
            assert here.value("flowgate_drops_total", reason="ttl-expired", status="429") == 2
            assert here.value("flowgate_drops_total", reason="evicted_ttl", status="503") == 1
            assert here.value("flowgate_drops_total", reason="no-pods", status="503") == 1
            assert here.value("flowgate_pick_duration_seconds_count") == 2
            assert here.value("flowgate_pick_duration_seconds_bucket", le="2.5e-05") == 2

    run_in_virtual_time(main)


def test_a_pass_counts_with_the_time_that_it_took() -> None:
    """As the controller has measured it."""
    metrics = FlowMetrics()
    for seconds in (0.25, 0.5):
        metrics.on_pass(PassEnded(10.0, 0, is_complete=True, seconds=seconds))
    passes = metrics._passes
    assert (sum(passes.counts), passes.total) == (2, 0.75)


def test_metrics_that_are_not_connected_say_so() -> None:
    with pytest.raises(RuntimeError, match="must be connected"):
        Exposition(FlowMetrics()).render()
