"""Demand, leadership and the cluster are told at zero, and as they are read."""

import asyncio

import pytest

from flowgate import FlowController, QueueOutcome, Request
from flowgate.admission import PR_1952, STANDARD
from flowgate.saturation import ConcurrencyDetector
from flowgate.testing import Callers, PodPool, run_in_virtual_time
from flowgate_epp.telemetry import Exposition, FlowMetrics, MetricsSettings, Readings
from flowgate_epp.waking import DemandMeter

QUIET = MetricsSettings(process=False)


def test_demand_is_told_at_zero_replicas_and_before_the_first_request(scene):
    """So that a query for it has an answer where there is nothing yet to scale."""

    async def main():
        async with scene() as here:
            for state in ("waiting", "running"):
                assert here.value("flowgate_demand_requests", state=state) == 0
                assert here.value("flowgate_demand_work", state=state) == 0
            assert here.value("flowgate_is_leader") == 1

    run_in_virtual_time(main)


def test_demand_is_what_the_meter_counts():
    async def main():
        metrics, meter, pool = FlowMetrics(QUIET), DemandMeter(), PodPool(1)
        detector = ConcurrencyDetector(1)
        async with FlowController(locator=pool, detector=detector, observers=[metrics, meter]) as controller:
            metrics.connect(
                Readings(
                    controller.stats,
                    demand=lambda: meter.demand,
                    is_leader=lambda: False,
                    activator_writes=lambda: {"woken": 2, "failed": 0},
                    kubernetes_failures=lambda: {"the pods of the pool llm": 3},
                )
            )
            async with Callers(controller) as callers:
                for size in (10, 20, 30):
                    await callers.start(Request("a", byte_size=size))
                lines = set(Exposition(metrics, QUIET).render().decode().splitlines())
                await callers.finish()
        assert {
            'flowgate_demand_requests{state="waiting"} 2',
            'flowgate_demand_requests{state="running"} 1',
            'flowgate_demand_work{state="waiting"} 50.0',
            'flowgate_demand_work{state="running"} 10.0',
            "flowgate_is_leader 0",
            'flowgate_activator_writes_total{result="woken"} 2',
            'flowgate_activator_writes_total{result="failed"} 0',
            'flowgate_kubernetes_failures{what="the pods of the pool llm"} 3',
        } <= lines

    run_in_virtual_time(main)


@pytest.mark.parametrize("answers", [STANDARD, PR_1952], ids=["standard", "pr-1952"])
def test_each_refusal_there_may_be_is_told_at_zero(answers, refusal):
    """A rate of refusals is 0 before the first of them, whichever answers were chosen."""

    async def main():
        metrics = FlowMetrics(QUIET, clock=asyncio.get_running_loop().time, answers=answers)
        async with FlowController(
            locator=PodPool(), detector=ConcurrencyDetector(1), observers=[metrics]
        ) as controller:
            metrics.connect(Readings(controller.stats))

            def drops():
                lines = Exposition(metrics, QUIET).render().decode().splitlines()
                told = [line.rsplit(" ", 1) for line in lines if line.startswith("flowgate_drops_total")]
                assert len(dict(told)) == len(told)
                return {series: int(count) for series, count in told}

            at_first = drops()
            assert set(at_first.values()) == {0}
            status, reason = answers[QueueOutcome.EVICTED_NO_PODS]
            unplaced = refusal(outcome=QueueOutcome.DISPATCHED, status=status, reason=reason)
            metrics.decided(unplaced)
            for outcome, (status, reason) in answers.items():
                if outcome is not QueueOutcome.DISPATCHED:
                    metrics.decided(refusal(outcome=outcome, status=status, reason=reason))
            assert drops().keys() == at_first.keys()  # nothing new: each was there
            assert min(drops().values()) >= 1

    run_in_virtual_time(main)
