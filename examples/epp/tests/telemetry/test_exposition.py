"""The text that a scraper gets."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from flowgate import QueueOutcome, Request
from flowgate.testing import run_in_virtual_time
from flowgate_epp.contracts import Decision
from flowgate_epp.telemetry import METRICS, Exposition, MetricsSettings, clean_label
from flowgate_epp.telemetry._schemes import UPSTREAM_OUTCOMES

Scenes = Callable[..., AbstractAsyncContextManager]
ALL = MetricsSettings(names=("flowgate", "llm-d", "inference-extension"), pool="pool-1", process=False)
HOSTILE = [
    "<img src=x onerror=alert(1)>",
    'a"b',
    "a\\b",
    "a\\nb",
    "a\nb",
    "\x00",
    "é" * 500,
    "\u2028",
    "\ud800",
    "{}",
    "%s\0",
]


def families(text: bytes) -> list[object]:
    return [
        (
            family.name,
            family.documentation,
            family.type,
            sorted(family.samples, key=lambda sample: (sample.name, sorted(sample.labels.items()))),
        )
        for family in text_string_to_metric_families(text.decode())
    ]


@pytest.mark.parametrize("names", [MetricsSettings(process=False), ALL])
def test_it_is_what_prometheus_client_would_write(
    scene: Scenes, names: MetricsSettings, refusal: Callable[..., Decision]
) -> None:
    async def main() -> None:
        async with scene(names, pods=1) as here:
            for flow in HOSTILE:
                await here.callers.start(Request(flow, 10, byte_size=3))
            await asyncio.sleep(1.25)
            here.callers.all[0].release()
            here.metrics.decided(refusal())
            here.failures[here.pool["pod-1"]] = 2
            ours = Exposition(here.metrics, names)
            registry = CollectorRegistry()
            registry.register(ours)
            theirs = families(generate_latest(registry))
            assert families(ours.render()) == theirs
            assert len(theirs) >= len(METRICS)

    run_in_virtual_time(main)


def test_upstream_s_dashboards_find_their_names_and_labels(scene: Scenes) -> None:
    async def main() -> None:
        async with scene(ALL, pods=1) as here:
            for _ in range(3):
                await here.callers.start(Request("alice", 10, byte_size=30))
            here.controller.notify()  # a pass, in vain
            await asyncio.sleep(0.001)
            samples = here.scrape()

            def value(name: str, /, **labels: str) -> float:
                return samples[name, frozenset(labels.items())]

            flow = {"fairness_id": "alice", "priority": "10", "inference_pool": "pool-1"}
            flow |= {"model_name": "", "target_model_name": ""}
            for prefix in ("llm_d_epp", "inference_extension"):
                name = f"{prefix}_flow_control"
                assert value(f"{name}_queue_size", **flow) == 1
                assert value(f"{name}_queue_bytes", **flow) == 30
                ended = {"outcome": "Dispatched", "priority": "10", "inference_pool": "pool-1"}
                assert value(f"{name}_requests_total", **ended) == 2
                waited = flow | {"outcome": "Dispatched"}
                assert value(f"{name}_request_queue_duration_seconds_count", **waited) == 2
                assert value(f"{name}_pool_saturation", inference_pool="pool-1", stage="effective") == 1
                band = {"priority": "10", "inference_pool": "pool-1"}
                assert value(f"{name}_capacity_utilization_requests", **band) == pytest.approx(1 / 40)
                assert value(f"{name}_global_capacity_utilization_bytes", inference_pool="pool-1") == 0.003
                assert value(f"{name}_dispatch_cycle_duration_seconds_count") == 1
                assert not [told for told, _ in samples if told == f"{name}_pods"]

    run_in_virtual_time(main)


def test_outcomes_that_upstream_has_under_one_name_are_added_up(scene: Scenes) -> None:
    async def main() -> None:
        async with scene(ALL) as here:
            await here.callers.start(Request("a", 10, byte_size=20_000))  # too large
            for _ in range(41):
                await here.callers.start(Request("a", 10))  # the last one finds no room, and no pods
            here.pool.add()
            for _ in range(3):
                await here.callers.start(Request("a", 10))
            stats = here.controller.stats().bands[10].outcomes
            capacity = stats[QueueOutcome.REJECTED_TOO_LARGE] + stats[QueueOutcome.REJECTED_CAPACITY]
            assert stats[QueueOutcome.REJECTED_TOO_LARGE]
            assert stats[QueueOutcome.REJECTED_CAPACITY]
            labels = {"priority": "10", "inference_pool": "pool-1"}
            name = "llm_d_epp_flow_control_requests_total"
            assert here.value(name, outcome="RejectedCapacity", **labels) == capacity
            assert here.value(name, outcome="RejectedNoEndpoints", **labels) == 1

    run_in_virtual_time(main)


def test_every_outcome_has_a_name_upstream() -> None:
    assert set(UPSTREAM_OUTCOMES) == {outcome.value for outcome in QueueOutcome}


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.text(min_size=1), min_size=1, max_size=30), st.integers(1, 5))
def test_labels_are_bounded_and_readable_whatever_clients_send(scene: Scenes, flows: list[str], most: int) -> None:
    bounds = MetricsSettings(process=False, max_label_values=most)

    async def main() -> None:
        async with scene(bounds) as here:
            for flow in flows:
                await here.callers.start(Request(flow))
            told = {dict(labels)["flow"] for name, labels in here.scrape() if name == "flowgate_queue_size"}
            assert len(told - {"default", "other"}) <= most
            assert all(len(flow) <= 128 and flow.isprintable() for flow in told)

    run_in_virtual_time(main)


def test_a_flow_cannot_break_the_scrape_by_looking_like_another(scene: Scenes) -> None:
    async def main() -> None:
        async with scene() as here:
            for flow in ("a\nb", clean_label("a\nb"), "other", "default"):
                await here.callers.start(Request(flow))
            assert here.value("flowgate_queue_size", flow=clean_label("a\nb"), priority="0", model="") == 2
            assert here.value("flowgate_queue_size", flow="other", priority="0", model="") == 1

    run_in_virtual_time(main)


def test_pinned_flows_and_models_keep_their_names_when_others_crowd_in(scene: Scenes, model_request: type) -> None:
    settings = MetricsSettings(process=False, max_label_values=2, flows=("vip",), models=("llama",))

    async def main() -> None:
        async with scene(settings, model_of=lambda request: request.model) as here:
            here.scrape()
            for number in range(20):
                await here.callers.start(model_request(f"junk-{number}", model=f"m-{number}"))
            await here.callers.start(model_request("vip", model="llama"))
            await here.callers.start(model_request("vip", model="junk"))
            await here.callers.start(model_request("late", model="llama"))
            labels = {"priority": "0"}
            assert here.value("flowgate_queue_size", flow="vip", model="llama", **labels) == 1
            assert here.value("flowgate_queue_size", flow="vip", model="other", **labels) == 1
            assert here.value("flowgate_queue_size", flow="other", model="llama", **labels) == 1
            assert here.value("flowgate_queue_size", flow="other", model="other", **labels) == 18

    run_in_virtual_time(main)


def test_requests_that_wait_under_other_leave_it_when_they_go(scene: Scenes) -> None:
    settings = MetricsSettings(process=False, max_label_values=1, flows=(), idle_after=1.0)

    async def main() -> None:
        async with scene(settings, pods=1) as here:
            first = await here.callers.start(Request("a"))
            first.release()
            for _ in range(2):
                await here.callers.start(Request("hold", 10))
            for _ in range(3):
                await here.callers.start(Request("b"))
            assert here.value("flowgate_queue_size", flow="other", priority="0", model="") == 3
            await asyncio.sleep(2.0)
            here.scrape()  # "a" goes, and there is a place; "b" waits where it began to
            await here.callers.start(Request("b", byte_size=20_000))  # too large, and told by its name
            await here.callers.start(Request("b"))
            assert here.value("flowgate_queue_size", flow="other", priority="0", model="") == 4
            await here.callers.finish()
            assert here.value("flowgate_queue_size", flow="other", priority="0", model="") == 0
            assert here.value("flowgate_queue_size", flow="b", priority="0", model="") == 0
            await here.callers.start(Request("b"))
            told = here.value(
                "flowgate_request_queue_duration_seconds_count", flow="b", priority="0", model="", outcome="dispatched"
            )
            assert told == 1

    run_in_virtual_time(main)


def test_the_process_and_further_collectors_are_told_too(scene: Scenes) -> None:
    async def main() -> None:
        async with scene(MetricsSettings()) as here:
            exposition = Exposition(here.metrics, MetricsSettings())
            Counter("mine", "Of somebody else.", registry=exposition.registry).inc()
            text = exposition.render().decode()
            assert "mine_total 1.0" in text
            assert "process_cpu_seconds_total" in text
            assert "process_" not in Exposition(here.metrics, MetricsSettings(process=False)).render().decode()

    run_in_virtual_time(main)


@pytest.mark.parametrize("name", ["a\nb", "\ud800"])
def test_a_pod_s_name_cannot_break_the_scrape(scene: Scenes, name: str) -> None:
    async def main() -> None:
        async with scene(MetricsSettings(process=False), pods=0) as here:
            here.failures[here.pool.add(name)] = 2
            text = Exposition(here.metrics, here.settings).render().decode()
            told = {family.name: family for family in text_string_to_metric_families(text)}
            for metric in ("flowgate_pod_saturation", "flowgate_scrape_failures"):
                assert [sample.labels["pod"] for sample in told[metric].samples] == [clean_label(name)]

    run_in_virtual_time(main)
