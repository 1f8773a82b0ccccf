"""Where a request goes: where the Endpoint Picker says, whatever its client says."""

import httpx
import pytest
from google.protobuf import json_format

from fake_vllm import FakeVllm, FakeVllmSettings
from flowgate_epp.envoy_config import EnvoySettings, envoy_config

pytestmark = pytest.mark.anyio

DESTINATION = "x-gateway-destination-endpoint"
SUBSET = "x-gateway-destination-endpoint-subset"
SERVED = "x-gateway-destination-endpoint-served"


@pytest.fixture
async def evil():
    """A server to which a client would like to send what is not for it."""
    async with FakeVllm(FakeVllmSettings(port=0, ttft=0.0, tpot=0.0, name="evil")) as server:
        yield server


@pytest.mark.parametrize("client", ["http/1.1", "http/2"])
async def test_a_spoofed_destination_is_ignored(envoy, evil, sent_headers, client):
    async with envoy() as world, httpx.AsyncClient(base_url=world.url, http1=client == "http/1.1", http2=True) as asks:
        for names in ([DESTINATION], [DESTINATION.upper(), DESTINATION], ["x-envoy-original-dst-host"]):
            response = await world.ask(client=asks, headers=[(name, evil.address) for name in names])
            assert response.headers["x-served-by"] == world.pod.address
            assert (response.http_version.lower(), response.status_code) == (client.removesuffix(".0"), 200)
            assert DESTINATION not in sent_headers(world.picker.messages[0])
            world.picker.messages.clear()
    assert evil.counts()["served"] == 0


async def test_without_a_pick_nobody_is_asked(envoy, evil):
    async with envoy() as world:
        world.picker.pod = None
        for headers in ({}, {DESTINATION: evil.address}, {"x-envoy-original-dst-host": evil.address}):
            assert (await world.ask(headers)).status_code == 503
    assert evil.counts()["served"] == 0


async def test_a_client_cannot_name_a_subset_or_who_has_served(envoy, sent_headers):
    async with envoy() as world:
        await world.ask({SUBSET: "10.0.0.1:1", SERVED: "10.0.0.1:1"})
        first = world.picker.messages[0]
        assert [name for name in sent_headers(first) if name.startswith(DESTINATION)] == []
        assert dict(first.metadata_context.filter_metadata) == {}


async def test_the_picker_hears_who_has_served_and_the_client_does_not(envoy, sent_headers, eventually):
    async with envoy() as world:
        response = await world.ask()
        heard = world.picker.messages[1]
        assert heard.metadata_context.filter_metadata["envoy.lb"][SERVED] == world.pod.address
        assert SERVED not in sent_headers(heard)
        assert SERVED not in response.headers


async def test_what_envoy_obeys_from_inside_is_not_obeyed_from_clients(envoy, sent_headers):
    tricks = {"x-envoy-upstream-rq-timeout-ms": "1", "x-envoy-max-retries": "9", "x-envoy-retry-on": "5xx"}
    async with envoy(pod={"ttft": 0.2}) as world:
        response = await world.ask(tricks | {"x-forwarded-for": "10.0.0.1"})
        assert response.status_code == 200
        assert [name for name in response.headers if name.startswith("x-envoy")] == []
        headers = sent_headers(world.picker.messages[0])
        assert not tricks.keys() & headers.keys()
        assert headers["x-forwarded-for"].startswith("10.0.0.1,")  # and then the peer's own


@pytest.mark.parametrize("pod", ["127.0.0.1:1,127.0.0.1:2", "pod-0:80", "nonsense", "127.0.0.1:99999"])
async def test_a_destination_that_is_no_single_address_gives_503(envoy, pod):
    async with envoy() as world:
        world.picker.pod = pod
        assert (await world.ask()).status_code == 503


async def test_a_pod_may_have_an_ipv6_address(envoy):
    async with envoy(pod={"host": "::1"}) as world:
        assert world.picker.pod.startswith("[::1]:")
        assert (await world.ask()).status_code == 200
        assert world.picker.messages[1].metadata_context.filter_metadata["envoy.lb"][SERVED] == world.picker.pod


@pytest.mark.parametrize("given", ["mine", "3a0b1bde-7a3f-4f0c-8d5b-5a8f0c0b7a11", None])
async def test_a_request_has_one_id_for_all(envoy, sent_headers, given):
    async with envoy() as world:
        response = await world.ask({} if given is None else {"x-request-id": given})
        told = sent_headers(world.picker.messages[0])["x-request-id"]
        assert response.headers["x-request-id"] == told
        assert response.json()["id"] == f"cmpl-{told}"
        assert given in {told, None}


async def test_the_callers_trace_goes_on(envoy, sent_headers):
    trace = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "tracestate": "a=b"}
    async with envoy() as world:
        await world.ask(trace)
        assert trace.items() <= sent_headers(world.picker.messages[0]).items()


@pytest.mark.parametrize(
    ("sent", "subset"),
    [
        ({}, None),
        ({"x-subset": ""}, []),
        ({"x-subset": ", ,"}, []),
        ({"x-subset": "10.0.0.1:1"}, ["10.0.0.1:1"]),
        ({"x-subset": "10.0.0.1:1, [::1]:2,x"}, ["10.0.0.1:1", "[::1]:2", "x"]),
    ],
)
async def test_a_trusted_header_becomes_the_subset_hint(envoy, sent_headers, sent, subset):
    async with envoy(subset_header="x-subset") as world:
        assert (await world.ask(sent)).status_code == 200
        first = world.picker.messages[0]
        hints = json_format.MessageToDict(first.metadata_context).get("filterMetadata", {})
        assert hints.get("envoy.lb.subset_hint", {}).get(SUBSET) == subset
        assert "x-subset" not in sent_headers(first)


async def test_the_access_log_tells_where_a_request_went(envoy, eventually, tmp_path, lines):
    async with envoy(access_log=True) as world:
        await world.ask({"x-request-id": "r-1"})
        world.picker.pod = "127.0.0.1:1"
        await world.ask({"x-request-id": "r-2"})
        await eventually(lambda: len(lines(tmp_path / "envoy.log")) == 2)
        first, second = lines(tmp_path / "envoy.log")
        assert (first["request_id"], first["status"], first["picked"]) == ("r-1", 200, world.pod.address)
        assert first["served"] == world.pod.address
        assert (second["request_id"], second["status"], second["picked"]) == ("r-2", 503, "127.0.0.1:1")
        assert second["flags"] == "UF"


def test_clients_cannot_be_given_the_destination_by_configuration():
    text = envoy_config(EnvoySettings(subset_header="x-subset"))
    assert "use_http_header" not in "\n".join(line for line in text.splitlines() if "#" not in line)
