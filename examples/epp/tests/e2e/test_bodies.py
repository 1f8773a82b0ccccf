"""Request bodies: long ones pass, and where they are seen they count."""

import asyncio
import json

import pytest

from examples.stage.gateway import completion

pytestmark = pytest.mark.anyio

MODES = ("none", "buffered", "streamed")
LONG = 3 * 2**20


@pytest.mark.parametrize("mode", MODES)
async def test_a_body_of_3_mb_reaches_the_pod_whole(open_gateway, slots, mode: str) -> None:
    """Over HTTP/1.1 and HTTP/2, held and at once: the pod counts its tokens."""
    async with open_gateway(slots(8), body_mode=mode) as gateway, await gateway.connect() as connection:
        pod = await gateway.start_pod(kv_blocks=1_000_000)
        body = completion("x" * LONG)
        calls = [gateway.call(body), gateway.call(body)]
        held = connection.post("/v1/completions", body)
        await gateway.holds(3)
        await gateway.announce(pod)
        answers = [await calls[0].answer(), await calls[1].answer(), await held.answer(), await gateway.ask(body)]
        assert [answer.status for answer in answers] == [200] * 4
        assert {json.loads(answer.body)["usage"]["prompt_tokens"] for answer in answers} == {LONG // 4}


@pytest.mark.parametrize("mode", MODES)
async def test_trailers_of_a_request_pass(open_gateway, slots, mode: str) -> None:
    """With a body before them, held and at once."""
    async with open_gateway(slots(8), body_mode=mode) as gateway, await gateway.connect() as connection:
        held = connection.post("/v1/completions", completion(), trailers={"x-checksum": "1"})
        await gateway.holds(1)
        await gateway.announce(await gateway.start_pod())
        at_once = connection.post("/v1/completions", completion(), trailers={"x-checksum": "1"})
        assert [(await request.answer()).status for request in (held, at_once)] == [200, 200]


@pytest.mark.parametrize("mode", MODES)
async def test_a_request_without_a_body_passes(open_gateway, slots, mode: str) -> None:
    """What is there to be listed is listed."""
    async with open_gateway(slots(8), body_mode=mode) as gateway:
        await gateway.announce(await gateway.start_pod())
        async with gateway.stage.http.get(f"{gateway.envoy.url}/v1/models") as response:
            assert response.status == 200
            assert (await response.json())["data"][0]["id"] == "fake-model"
        await gateway.serves(0)


@pytest.mark.parametrize("mode", ["buffered", "streamed"])
async def test_the_body_says_which_model_is_asked_for(open_gateway, slots, mode: str) -> None:
    """The page and the metrics tell it, for those who wait and for those who went."""
    async with open_gateway(slots(8), body_mode=mode) as gateway:
        calls = [gateway.call(completion(model="fake-model")) for _ in range(3)]
        state = await gateway.holds(3)
        (flow,) = state["bands"][0]["flows"]
        assert (flow["model"], flow["queued"]) == ("fake-model", 3)
        readings = await gateway.metrics()
        assert readings.by("model", "flowgate_queue_size") == {"fake-model": 3}
        assert readings.total("flowgate_queue_bytes") == 3 * len(completion(model="fake-model"))
        await gateway.announce(await gateway.start_pod())
        assert [(await call.answer()).status for call in calls] == [200] * 3
        assert {decision["model"] for decision in (await gateway.state())["decisions"]} == {"fake-model"}


async def test_without_the_body_a_header_says_which_model_is_asked_for(open_gateway, slots) -> None:
    """Set by the gateway in front, which has read the body already."""
    async with open_gateway(slots(8)) as gateway:
        await gateway.announce(await gateway.start_pod())
        await gateway.ask(completion(model="fake-model"))
        await gateway.ask(x_gateway_model_name="by-header")
        assert [decision["model"] for decision in (await gateway.state())["decisions"]] == ["by-header", ""]


async def test_who_asks_for_many_tokens_gets_fewer_requests_through(open_gateway, slots) -> None:
    """Fairness by tokens: of two tenants the one with requests ten times as large gets a tenth of the turns."""
    band = {"priority": 0, "fairness": "token-counter"}
    async with open_gateway(slots(1, bands=[band]), body_mode="buffered") as gateway:
        pod = await gateway.start_pod(slots=1, ttft=0.01)
        calls = []
        for number in range(20):
            greedy = gateway.call(completion(tokens=1_000), x_gateway_inference_fairness_id="greedy")
            modest = gateway.call(completion(tokens=100), x_gateway_inference_fairness_id="modest")
            calls += [("greedy", greedy), ("modest", modest)]
            await gateway.holds(2 * number + 2)
        await gateway.announce(pod)
        await asyncio.gather(*[call.answer() for _, call in calls])
        order = [tenant for tenant, _ in sorted(calls, key=lambda call: call[1].ended_at)]
        assert order[:20].count("greedy") in {2, 3}


async def test_a_body_that_could_never_wait_is_413(open_gateway, slots) -> None:
    """Larger than all that may wait together, while there is nobody to take it at once."""
    async with open_gateway(slots(1, max_bytes=10_000), body_mode="buffered") as gateway:
        answer = await gateway.ask(completion("x" * 20_000))
        assert answer.status == 413
        assert answer.headers["x-flowgate-dropped-reason"] == "too-large"


async def test_a_body_that_is_no_json_is_told_so_where_that_is_asked_for(open_gateway, slots) -> None:
    """Strict: 400 by us, with the reason; not strict: it is the pod's to answer."""
    async with open_gateway({**slots(1), "director": {"strict_body": True}}, body_mode="buffered") as gateway:
        await gateway.announce(await gateway.start_pod())
        answer = await gateway.ask(b"{")
        assert answer.status == 400
        assert "the body must be JSON" in json.loads(answer.body)["error"]["message"]
        assert (await gateway.ask()).status == 200
