import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from flowgate import Pod
from flowgate.testing import run_in_virtual_time
from flowgate_epp.scheduling import LeastInFlight, Scheduler, SchedulerSettings, WeightedScorer


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    run_in_virtual_time(test)


@pytest.mark.parametrize(
    ("status", "is_complete", "result"),
    [
        (200, True, "ok"),
        (204, True, "ok"),
        (302, True, "ok"),
        (404, True, "ok"),
        (499, True, "ok"),
        (429, True, "dropped"),
        (500, True, "dropped"),
        (503, True, "dropped"),
        (200, False, "ignored"),
        (404, False, "ignored"),
        (429, False, "dropped"),
        (502, False, "dropped"),
        (None, False, "ignored"),
        (None, True, "ignored"),
    ],
)
def test_how_a_response_ends_is_what_the_detector_learns(
    status: int | None, is_complete: bool, result: str, new_rig: Any
) -> None:
    async def main() -> None:
        async with new_rig(1) as rig:
            reservation = await rig.reserve()
            if status is not None:
                reservation.responded(status, None)
            reservation.close(is_complete=is_complete)
            assert rig.results == [result]

    run(main)


def test_the_last_status_holds(new_rig: Any) -> None:
    async def main() -> None:
        async with new_rig(1) as rig:
            reservation = await rig.reserve()
            reservation.responded(500, None)
            reservation.responded(200, None)
            reservation.close(is_complete=True)
            assert rig.results == ["ok"]

    run(main)


def test_a_slot_is_given_back_once(new_rig: Any) -> None:
    learner = LeastInFlight()

    async def main() -> None:
        scheduler = Scheduler(SchedulerSettings(scorers=(WeightedScorer(learner),)))
        async with new_rig(1, scheduler=scheduler) as rig:
            reservation = await rig.reserve()
            (pod,) = rig.pods
            assert learner.in_flight(pod) == 1
            assert repr(reservation) == "<PodReservation open, at 10.0.0.1:8000>"
            reservation.responded(200, None)
            reservation.close(is_complete=True)
            reservation.close(is_complete=False)
            reservation.responded(500, "10.0.0.9:8000")
            assert repr(reservation) == "<PodReservation closed, at 10.0.0.1:8000>"
            assert rig.results == ["ok"]
            assert learner.in_flight(pod) == 0
            assert scheduler.faults.count == rig.director.served_elsewhere == 0

    run(main)


def test_the_charge_moves_to_the_pod_that_really_served(new_rig: Any, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with new_rig(2) as rig:
            for _ in range(2):
                reservation = await rig.reserve({"x-request-id": "id-1"})
                other = next(pod for pod in rig.pods if pod.endpoint != reservation.endpoint)
                reservation.responded(200, other.endpoint)
                reservation.close(is_complete=True)
                released = rig.recorder.events[-1]
                assert released.ticket.pod is other
            assert rig.director.served_elsewhere == 2

    run(main)
    (warned,) = [record for record in caplog.records if record.levelname == "WARNING"]
    assert "request id-1 was sent to 10.0.0." in warned.getMessage()


def test_an_endpoint_that_nobody_knows_leaves_the_charge_where_it_is(new_rig: Any) -> None:
    async def main() -> None:
        async with new_rig(1) as rig:
            reservation = await rig.reserve()
            reservation.responded(200, "10.9.9.9:8000")
            reservation.close(is_complete=True)
            assert rig.director.served_elsewhere == 1
            assert rig.recorder.events[-1].ticket.pod is rig.pods["pod-1"]

    run(main)


@pytest.mark.parametrize("served", [None, "", "[fd00::1]:8000", "[fd00:0:0::1]:8000", "fd00::1:8000"])
def test_the_same_address_in_another_spelling_is_the_same_endpoint(served: str | None, new_rig: Any) -> None:
    async def main() -> None:
        async with new_rig([Pod("six", "fd00:0::1", 8000)]) as rig:
            reservation = await rig.reserve()
            assert reservation.endpoint == "[fd00:0::1]:8000"
            reservation.responded(200, served)
            reservation.close(is_complete=True)
            assert rig.director.served_elsewhere == 0

    run(main)


@pytest.mark.parametrize(
    "served", ["nonsense", "10.0.0.1", "10.0.0.1:8001", "a:b:c", ":", "10.0.0.1:8000,10.0.0.2:8000"]
)
def test_nonsense_from_envoy_is_another_endpoint_and_harms_nobody(served: str, new_rig: Any) -> None:
    async def main() -> None:
        async with new_rig(1) as rig:
            reservation = await rig.reserve()
            reservation.responded(200, served)
            reservation.close(is_complete=True)
            assert rig.director.served_elsewhere == 1
            assert rig.results == ["ok"]

    run(main)


def test_a_slot_may_be_given_back_after_the_controller_has_closed(new_rig: Any) -> None:
    async def main() -> None:
        async with new_rig(2) as rig:
            reservation = await rig.reserve()
            await rig.controller.aclose()
            served = next(pod.endpoint for pod in rig.pods if pod.endpoint != reservation.endpoint)
            reservation.responded(200, served)
            await asyncio.sleep(0)
            reservation.close(is_complete=True)
            assert rig.results == ["ok"]

    run(main)
