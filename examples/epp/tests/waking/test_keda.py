"""KEDA's external scaler, asked by stubs of the file that KEDA publishes, over a real connection."""

import asyncio
import socket

import grpc
import pytest
import trustme
from google.protobuf import descriptor_pb2

from flowgate import FlowControlConfig, PriorityBandConfig, Request
from flowgate_epp.extproc import TlsSettings
from flowgate_epp.waking import Demand, DemandMeter, KedaScaler, KedaSettings
from flowgate_epp.waking._settings import check_target
from flowgate_epp.waking._trigger import Trigger, read_trigger
from flowgate_epp.waking._wire import MESSAGES

pytestmark = pytest.mark.anyio

PROMPT = 5.0  # seconds that a push may take on a busy machine; how long it takes is measured elsewhere
QUIET = 0.15


async def until(condition):
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)


async def pushed(call):
    return (await asyncio.wait_for(call.read(), PROMPT)).result


async def assert_quiet(call):
    """Nothing comes, though there is time for it: a promise that only time can show."""
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.shield(asyncio.ensure_future(call.read())), QUIET)


async def refused(answer):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await answer
    return caught.value.code(), caught.value.details()


def test_the_wire_is_that_of_the_published_file(published):
    """Each message has the same fields, of the same numbers and types, on both sides."""
    pb, _ = published

    def shape(message):
        described = descriptor_pb2.DescriptorProto()
        message.DESCRIPTOR.CopyToProto(described)
        for each in (described, *described.nested_type):
            for field in each.field:
                field.ClearField("json_name")
        return described

    theirs = pb.DESCRIPTOR.message_types_by_name
    assert set(MESSAGES) == set(theirs)
    for name, ours in MESSAGES.items():
        assert ours.DESCRIPTOR.full_name == theirs[name].full_name == f"externalscaler.{name}"
        assert shape(ours) == shape(getattr(pb, name))
    (service,) = pb.DESCRIPTOR.services_by_name.values()
    assert service.full_name == "externalscaler.ExternalScaler"
    assert {(method.name, method.input_type.name, method.output_type.name) for method in service.methods} == {
        ("IsActive", "ScaledObjectRef", "IsActiveResponse"),
        ("StreamIsActive", "ScaledObjectRef", "IsActiveResponse"),
        ("GetMetricSpec", "ScaledObjectRef", "GetMetricSpecResponse"),
        ("GetMetrics", "GetMetricsRequest", "GetMetricsResponse"),
    }
    assert service.methods_by_name["StreamIsActive"].server_streaming
    ref = pb.ScaledObjectRef(name="a", namespace="b", scalerMetadata={"target": "3"})
    read = MESSAGES["ScaledObjectRef"].FromString(ref.SerializeToString())
    assert (read.name, read.namespace, dict(read.scalerMetadata)) == ("a", "b", {"target": "3"})


async def test_the_first_request_is_pushed_to_every_stream(flow, keda):
    async with flow() as here, keda(here.meter) as (scaler, client):
        streams = [await client.heard(client.stream()) for _ in range(3)]
        await until(lambda: scaler.open_streams == 3)
        assert not await client.is_active()
        caller = await here.callers.start(Request("a"))
        assert [await pushed(stream) for stream in streams] == [True] * 3
        assert await client.is_active()
        caller.cancel()


async def test_a_stream_that_comes_while_there_is_demand_hears_it_at_once(flow, keda):
    async with flow() as here, keda(here.meter) as (_, client):
        caller = await here.callers.start(Request("a"))
        assert await pushed(client.stream())
        caller.cancel()


async def test_demand_from_before_the_scaler_counts(flow, keda):
    async with flow() as here:
        caller = await here.callers.start(Request("a"))
        async with keda(here.meter) as (_, client):
            assert await client.is_active()
            caller.cancel()


async def test_a_burst_between_two_polls_still_activates(flow, keda):
    """Pushed, told to who connects later, and told to polls until the latch is over."""
    async with flow() as here, keda(here.meter, latch=0.6) as (_, client):
        early = await client.heard(client.stream())
        caller = await here.callers.start(Request("a", byte_size=900))
        caller.cancel()
        await until(lambda: here.meter.demand.is_idle)
        assert await pushed(early)
        assert await client.is_active()
        assert await pushed(client.stream())
        assert (await client.value()).metricValueFloat == 1  # one replica's worth, and never more
        assert (await client.value(metric="work", target="500", name="flowgate-work")).metricValueFloat == 1
        async with asyncio.timeout(10):
            while await client.is_active():
                await asyncio.sleep(0.02)
        value = await client.value()
        assert (value.metricValue, value.metricValueFloat) == (0, 0)
        await assert_quiet(await client.heard(client.stream()))


async def test_a_burst_that_was_refused_at_zero_activates(flow, keda):
    config = FlowControlConfig(bands=[PriorityBandConfig(0, max_requests=0)])
    async with flow(config=config) as here, keda(here.meter) as (_, client):
        stream = await client.heard(client.stream())
        caller = await here.callers.start(Request("a"))
        assert caller.outcome.is_rejected
        assert await pushed(stream)
        assert await client.is_active()
        assert (await client.value()).metricValueFloat == 1


async def test_with_hardly_a_latch_a_burst_is_pushed_and_no_more(flow, keda):
    async with flow() as here, keda(here.meter, latch=1e-9) as (_, client):
        stream = await client.heard(client.stream())
        for _ in range(3):
            caller = await here.callers.start(Request("a"))
            assert await pushed(stream)
            caller.cancel()
            await until(lambda: here.meter.demand.is_idle)
            assert not await client.is_active()


@pytest.mark.parametrize("latch", [0.05, 60.0])
async def test_the_end_of_demand_is_never_pushed(flow, keda, latch):
    """An old KEDA would take pods away at once, whatever the cooldown; polls say it."""
    async with flow() as here, keda(here.meter, latch=latch, reminder=1.0) as (_, client):
        stream = await client.heard(client.stream())
        caller = await here.callers.start(Request("a"))
        assert await pushed(stream)
        caller.cancel()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(stream.read(), 1.5)  # past the reminder: nothing keeps true alive
        assert await client.is_active() == (latch > 1)


async def test_a_stream_is_reminded_while_there_is_demand(flow, keda):
    async with flow() as here, keda(here.meter, reminder=1.0) as (_, client):
        caller = await here.callers.start(Request("a"))
        stream = client.stream()
        assert [await pushed(stream) for _ in range(2)] == [True, True]
        caller.cancel()


async def test_further_edges_within_the_latch_are_no_news(flow, keda):
    """KEDA asks the API server for each push: a pool that is busy now and then would keep it busy."""
    async with flow() as here, keda(here.meter) as (_, client):
        stream = await client.heard(client.stream())
        for _ in range(20):
            (await here.callers.start(Request("a"))).cancel()
            await until(lambda: here.meter.demand.is_idle)
        assert await pushed(stream)
        await assert_quiet(stream)


async def test_the_metric_is_what_waits_and_what_runs(flow, keda):
    async with flow(pods=1) as here, keda(here.meter, target=2.5) as (_, client):
        for size in (100, 200, 300):
            await here.callers.start(Request("a", byte_size=size))
        spec = await client.spec()
        assert (spec.metricName, spec.targetSize, spec.targetSizeFloat) == ("flowgate-requests", 2, 2.5)
        value = await client.value()
        assert (value.metricValue, value.metricValueFloat) == (3, 3.0)
        work = await client.value("flowgate-work", metric="work", target="50")
        assert (work.metricValue, work.metricValueFloat) == (600, 600.0)
        await here.callers.finish()


async def test_more_work_than_keda_can_count_is_told_as_the_most_that_it_can(flow, keda):
    """A client's word is enough for such a number, and past 64 bits of thousandths KEDA makes a negative one of it."""
    config = FlowControlConfig(bands=[PriorityBandConfig(0)])
    async with flow(config=config, pods=2) as here, keda(here.meter, metric="work") as (_, client):
        for _ in range(4):
            await here.callers.start(Request("a", byte_size=2**62))
        value = await client.value("flowgate-work")
        assert (value.metricValue, value.metricValueFloat) == (10**15, 1e15)
        assert value.metricValueFloat * 1000 < 2**63
        await here.callers.finish()


async def test_each_trigger_may_have_its_own_metric_and_target(flow, keda):
    async with flow() as here, keda(here.meter, metric="work", target=1000) as (_, client):
        spec = await client.spec(target="0.25", scalerAddress="epp:9003")
        assert (spec.metricName, spec.targetSize, spec.targetSizeFloat) == ("flowgate-work", 1, 0.25)
        spec = await client.spec(metric="requests", target="8")
        assert (spec.metricName, spec.targetSizeFloat) == ("flowgate-requests", 8)
        spec = await client.spec()
        assert (spec.metricName, spec.targetSizeFloat) == ("flowgate-work", 1000)


@pytest.mark.parametrize(
    ("metadata", "told"),
    [
        ({"metric": "tokens"}, "metric must be one of 'requests', 'work', not 'tokens'"),
        ({"metric": "work"}, "metric 'work' needs a target of its own: 10 is of 'requests'"),
        ({"target": "0"}, "target must be a number in 0.001..1e+12, not '0'"),
        ({"target": "-3"}, "not '-3'"),
        ({"target": "many"}, "not 'many'"),
        ({"target": "nan"}, "not 'nan'"),
        ({"target": "inf"}, "not 'inf'"),
        ({"target": "1_000"}, "not '1_000'"),
        ({"target": ""}, "not ''"),
    ],
)
async def test_metadata_that_cannot_be_used_is_named(flow, keda, metadata, told):
    async with flow() as here, keda(here.meter) as (scaler, client):
        asked = client.is_active(**metadata), client.spec(**metadata), client.value(**metadata)
        for answer in (*asked, client.stream(**metadata).read()):
            code, details = await refused(answer)
            assert code is grpc.StatusCode.INVALID_ARGUMENT
            assert told in details
        assert scaler.open_streams == 0


async def test_a_metric_of_another_name_is_refused(flow, keda):
    async with flow() as here, keda(here.meter) as (_, client):
        code, details = await refused(client.value("s0-flowgate-requests"))
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        assert "metricName must be 'flowgate-requests', as GetMetricSpec told, not 's0-flowgate-requests'" in details


async def test_who_does_not_lead_tells_nothing(flow, keda):
    """An error, upon which KEDA leaves the replicas as they are; a zero would take them away."""
    leads = [False]
    async with flow() as here, keda(here.meter, is_leader=lambda: leads[0]) as (_, client):
        for answer in (client.is_active(), client.spec(), client.value(), client.stream().read()):
            code, details = await refused(answer)
            assert code is grpc.StatusCode.UNAVAILABLE
            assert "another process leads" in details
        leads[0] = True
        assert not await client.is_active()
        stream = await client.heard(client.stream())
        leads[0] = False
        caller = await here.callers.start(Request("a"))
        assert (await refused(stream.read()))[0] is grpc.StatusCode.UNAVAILABLE
        caller.cancel()


async def test_streams_end_in_order_when_the_scaler_stops(flow, keda):
    """With status OK, upon which KEDA comes back soon."""
    async with flow() as here, keda(here.meter) as (scaler, client):
        caller = await here.callers.start(Request("a"))
        streams = [client.stream() for _ in range(3)]
        for stream in streams:
            assert await pushed(stream)
        stopping = asyncio.ensure_future(scaler.stop())
        for stream in streams:
            assert await asyncio.wait_for(stream.read(), PROMPT) is grpc.aio.EOF
            assert await stream.code() is grpc.StatusCode.OK
        await stopping
        assert scaler.open_streams == 0
        assert (await refused(client.is_active()))[0] is grpc.StatusCode.UNAVAILABLE
        caller.cancel()


async def test_a_scaler_that_has_stopped_hears_no_more(flow):
    async with flow() as here:
        scaler = KedaScaler(here.meter)
        assert (scaler.port, scaler.open_streams) == (0, 0)
        await scaler.stop()  # never started
        await scaler.stop()
        caller = await here.callers.start(Request("a"))
        assert not scaler.is_active
        caller.cancel()


async def test_a_stream_that_its_client_leaves_is_forgotten(flow, keda):
    async with flow() as here, keda(here.meter) as (scaler, client):
        stream = await client.heard(client.stream())
        await until(lambda: scaler.open_streams == 1)
        stream.cancel()
        await until(lambda: scaler.open_streams == 0)
        (await here.callers.start(Request("a"))).cancel()
        assert await client.is_active()


async def test_a_client_that_does_not_read_holds_up_nobody(flow, keda):
    async with flow() as here, keda(here.meter, latch=1e-9) as (scaler, client):
        await client.heard(client.stream())  # and never read
        brisk = await client.heard(client.stream())
        for _ in range(50):
            caller = await here.callers.start(Request("a"))
            assert await pushed(brisk)
            caller.cancel()
            await until(lambda: here.meter.demand.is_idle)
        assert scaler.open_streams == 2


async def test_an_address_in_use_is_an_error_that_names_it():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        scaler = KedaScaler(DemandMeter(), KedaSettings(host="127.0.0.1", port=port))
        with pytest.raises(OSError, match=f"keda: 127.0.0.1:{port} cannot be listened at"):
            await scaler.start()
        await scaler.stop()


async def test_it_listens_at_addresses_of_either_family():
    scaler = KedaScaler(DemandMeter(), KedaSettings(host="::1", port=0))
    await scaler.start()
    assert scaler.port > 0
    await scaler.stop()


async def test_with_a_certificate_it_speaks_tls(published, tmp_path):
    pb, stubs = published
    authority = trustme.CA()
    issued = authority.issue_cert("localhost")
    issued.private_key_pem.write_to_path(tmp_path / "key")
    issued.cert_chain_pems[0].write_to_path(tmp_path / "crt")
    tls = TlsSettings(str(tmp_path / "crt"), str(tmp_path / "key"))
    scaler = KedaScaler(DemandMeter(), KedaSettings(host="127.0.0.1", port=0, tls=tls))
    await scaler.start()
    trust = grpc.ssl_channel_credentials(authority.cert_pem.bytes())
    async with grpc.aio.secure_channel(f"localhost:{scaler.port}", trust) as channel:
        answer = await stubs.ExternalScalerStub(channel).IsActive(pb.ScaledObjectRef(), timeout=10)
        assert answer.result is False
    await scaler.stop()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"port": 65_536}, "port must lie in 0..65535, not 65536"),
        ({"target": 0}, r"target must lie in 0.001..1e\+12, not 0"),
        ({"target": float("nan")}, "target must lie in"),
        ({"metric": "tokens"}, "metric must be one of"),
        ({"latch": -1.0}, "latch must"),
        ({"latch": float("inf")}, "latch must"),
        ({"reminder": 0.5}, "reminder must lie in"),
    ],
)
def test_settings_out_of_range_are_refused(options, told):
    with pytest.raises(ValueError, match=told):
        KedaSettings(**options)


def test_settings_of_the_wrong_type_are_refused():
    for options in ({"target": "3"}, {"target": True}, {"host": 1}, {"tls": "tls.crt"}):
        with pytest.raises(TypeError):
            KedaSettings(**options)


def test_an_active_pool_is_never_told_as_nothing():
    """A trigger with a formula is activated by the value alone; and a request may have no bytes."""
    nothing, empty = Demand(0, 0, 0, 0), Demand(1, 0, 0, 0)
    assert Trigger("requests", 10).value(nothing, is_active=False) == 0
    assert Trigger("requests", 10).value(nothing, is_active=True) == 1
    assert Trigger("requests", 0.5).value(nothing, is_active=True) == 0.5  # more would be two replicas
    assert Trigger("work", 10).value(empty, is_active=True) == 1
    assert Trigger("work", 10).value(Demand(2, 1, 30.5, 4), is_active=True) == 34.5
    assert Trigger("requests", 10).value(Demand(2, 1, 30.5, 4), is_active=True) == 3


def test_metadata_of_kedas_own_is_left_alone():
    trigger = read_trigger({"scalerAddress": "epp:9003", "unsafeSsl": "true"}, KedaSettings(target=3))
    assert trigger == Trigger("requests", 3)
    assert read_trigger({"metric": "requests"}, KedaSettings(target=3)) == trigger
    assert check_target("target", 0.001) == 0.001
