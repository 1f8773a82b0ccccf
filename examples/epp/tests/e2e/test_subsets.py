"""Where a request may go: what the gateway says of it holds, what the client says does not."""

import asyncio

import pytest

pytestmark = pytest.mark.anyio

HINT = {"subset_header": "x-subset"}


async def start_two(gateway):
    return await asyncio.gather(gateway.start_pod("one"), gateway.start_pod("two"))


def endpoint(pod) -> str:
    return f"127.0.0.1:{pod.port}"


async def test_a_subset_hint_is_honoured(open_gateway, slots) -> None:
    """A request goes to the pods that its hint names, and to no other."""
    async with open_gateway(slots(8), **HINT) as gateway:
        pods = await start_two(gateway)
        await gateway.announce(*pods)
        for pod in pods:
            answers = [await gateway.ask(x_subset=endpoint(pod)) for _ in range(4)]
            assert {answer.headers["x-served-by"] for answer in answers} == {pod.name}
        both = ", ".join(map(endpoint, pods))
        assert (await gateway.ask(x_subset=both)).status == 200


async def test_a_subset_that_is_full_waits_and_holds_back_nobody(open_gateway, slots) -> None:
    """One pod is busy: who may only go there waits, who may go to the other goes."""
    async with open_gateway(slots(1), **HINT) as gateway:
        one, two = await asyncio.gather(gateway.start_pod("one", ttft=1.0), gateway.start_pod("two"))
        await gateway.announce(one, two)
        busy = gateway.call(x_subset=endpoint(one))
        await gateway.serves(1)
        waiting = gateway.call(x_subset=endpoint(one))
        await gateway.holds(1)
        assert (await gateway.ask()).headers["x-served-by"] == "two"
        assert not waiting.is_over
        assert [(await call.answer()).headers["x-served-by"] for call in (busy, waiting)] == ["one", "one"]


async def test_a_subset_of_pods_that_are_none_of_ours_is_503(open_gateway, slots) -> None:
    """There are pods, but none that it may go to."""
    async with open_gateway(slots(8), **HINT) as gateway:
        await gateway.announce(await gateway.start_pod())
        answer = await gateway.ask(x_subset="127.0.0.1:1", x_request_ttl_seconds="0.2")
        assert answer.status == 503
        assert answer.headers["x-flowgate-dropped-reason"] == "no-pods"


async def test_an_empty_subset_is_503(open_gateway, slots) -> None:
    """As the protocol has it: no pod may serve the request."""
    async with open_gateway(slots(8), **HINT) as gateway:
        await gateway.announce(await gateway.start_pod())
        answer = await gateway.ask(x_subset="", x_request_ttl_seconds="0.2")
        assert answer.status == 503
        assert answer.headers["x-flowgate-dropped-reason"] == "no-pods"


async def test_an_empty_subset_may_mean_any_pod(open_gateway, slots) -> None:
    """Behind a gateway that computes its hint from the pods there are, a request from zero must not be stranded."""
    async with open_gateway({**slots(8), "director": {"empty_subset": "all"}}, **HINT) as gateway:
        pod = await gateway.start_pod()
        held = gateway.call(x_subset="")
        await gateway.holds(1)
        await gateway.announce(pod)
        assert (await held.answer()).status == 200


async def test_a_destination_that_the_client_has_written_is_ignored(open_gateway, slots) -> None:
    """Neither spelling nor number of such headers leads anywhere but to the pod that was picked."""
    async with open_gateway(slots(8)) as gateway:
        picked, forbidden = await start_two(gateway)
        await gateway.announce(picked)
        there = endpoint(forbidden)
        spellings = [
            f"x-gateway-destination-endpoint: {there}\r\n",
            f"X-Gateway-Destination-Endpoint: {there}\r\nx-gateway-destination-endpoint: {there}\r\n",
            f"x-envoy-original-dst-host: {there}\r\n",
            f"x-gateway-destination-endpoint-subset: {there}\r\n",
            f"x-gateway-destination-endpoint-served: {there}\r\n",
        ]
        for spelling in spellings:
            head = f"GET /v1/models HTTP/1.1\r\nhost: models\r\nconnection: close\r\n{spelling}\r\n"
            reader, writer = await gateway.connect_raw()
            writer.write(head.encode())
            answer = (await reader.read()).decode()
            assert answer.startswith("HTTP/1.1 200 "), answer
            assert "x-served-by: one\r\n" in answer
            writer.close()
            await writer.wait_closed()


async def test_a_destination_that_the_client_has_written_is_ignored_while_the_epp_is_dead(open_gateway, slots) -> None:
    """What nobody has decided on goes nowhere."""
    async with open_gateway(slots(8)) as gateway:
        pod = await gateway.start_pod()
        gateway.epp.process.kill()
        await gateway.epp.process.wait()
        assert (await gateway.ask(x_gateway_destination_endpoint=endpoint(pod))).status == 503


async def test_without_the_option_a_client_chooses_no_subset(open_gateway, slots) -> None:
    """The header means something only to an Envoy that was told so."""
    async with open_gateway(slots(8)) as gateway:
        await gateway.announce(await gateway.start_pod())
        assert (await gateway.ask(x_subset="127.0.0.1:1")).status == 200
