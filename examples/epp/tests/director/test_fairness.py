import asyncio
import json
from typing import Any

import pytest

from flowgate import FlowControlConfig, FlowKey, PriorityBandConfig, Request
from flowgate.contracts import Dispatched, InterFlowDispatchPolicy
from flowgate.testing import run_in_virtual_time, until_blocked
from flowgate_epp.director import DirectorSettings, GatewayRequest, estimated_tokens, token_counter
from flowgate_epp.director._bodies import Asked


def test_tokens_are_those_of_the_prompt_and_those_asked_for() -> None:
    key = FlowKey("a")
    assert estimated_tokens(GatewayRequest(key, 400, None, {}, asked=Asked(choices=2, output_tokens=50))) == 200
    assert estimated_tokens(GatewayRequest(key, 400, None, {}, asked=Asked(choices=2), assumed_tokens=10)) == 120
    assert estimated_tokens(Request("a", byte_size=400)) == 100


def test_a_request_whose_body_is_not_seen_costs_what_the_settings_assume(read_one: Any) -> None:
    assert read_one({"content-length": "40"}).estimated_tokens == 266
    assert read_one({"content-length": "40"}, settings=DirectorSettings(assumed_tokens=0)).estimated_tokens == 10


def test_who_asks_for_four_times_the_tokens_gets_a_quarter_of_the_requests(new_rig: Any) -> None:
    async def main() -> None:
        bands = (PriorityBandConfig(0, fairness=token_counter()),)
        async with new_rig(1, slots=1, config=FlowControlConfig(bands=bands, default_ttl=1e6)) as rig:
            held = await rig.reserve()
            bodies = {flow: json.dumps({"max_tokens": n}).encode() for flow, n in [("big", 40_000), ("small", 10_000)]}
            tasks = [
                rig.start({"x-llm-d-inference-fairness-id": flow}, body)
                for _ in range(60)
                for flow, body in bodies.items()
            ]
            await until_blocked()
            for _ in range(50):
                held.close(is_complete=True)
                done, _ = await asyncio.wait([task for task in tasks if task], return_when=asyncio.FIRST_COMPLETED)
                (task,) = done
                tasks.remove(task)
                held = task.result()
            served = [event.flow_key.id for event in rig.recorder.of(Dispatched)[1:]]
            assert served.count("small") == pytest.approx(4 * served.count("big"), abs=4)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            held.close(is_complete=True)

    run_in_virtual_time(main)


def test_a_weight_makes_up_for_it() -> None:
    policy = token_counter({"big": 4.0}, max_idle_flows=10)
    assert (policy.weight_of(FlowKey("big")), policy.weight_of(FlowKey("small"))) == (4.0, 1.0)
    assert policy.max_idle_flows == 10
    assert isinstance(policy, InterFlowDispatchPolicy)


def test_a_bad_weight_is_refused_with_its_rule() -> None:
    with pytest.raises(ValueError, match="the weight of flow 'a' must be finite and more than 0, not 0"):
        token_counter({"a": 0})
