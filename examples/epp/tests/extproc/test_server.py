"""The server as gRPC clients see it: bursts, health, addresses, and what no Envoy would send."""

import asyncio

import grpc
import pytest
from envoy.extensions.filters.http.ext_proc.v3.processing_mode_pb2 import ProcessingMode
from envoy.service.ext_proc.v3 import external_processor_pb2 as pb
from grpc_health.v1 import health_pb2, health_pb2_grpc

from flowgate_epp.contracts import Refusal
from flowgate_epp.extproc import ExtProcServer, ServerSettings

SERVICE = "envoy.service.ext_proc.v3.ExternalProcessor"
PROCESS = f"/{SERVICE}/Process"
LOCAL = ServerSettings(host="127.0.0.1", port=0)
REQUEST_HEADERS = pb.ProcessingRequest(request_headers=pb.HttpHeaders(end_of_stream=True))
RESPONSE_HEADERS = pb.ProcessingRequest(response_headers=pb.HttpHeaders())


@pytest.fixture
def rig(director):
    def run(scenario, settings=LOCAL):
        async def main():
            asked = director()
            server = ExtProcServer(asked, settings)
            await server.start()
            async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
                open_stream = channel.stream_stream(PROCESS)

                try:
                    await scenario(server, asked, channel, open_stream)
                finally:
                    await server.shutdown(0)
            assert server.open_streams == 0

        asyncio.run(main())

    return run


def with_body(mode):
    message = pb.ProcessingRequest(request_headers=pb.HttpHeaders())
    message.protocol_config.request_body_mode = mode
    return message


async def answer(stream):
    return pb.ProcessingResponse.FromString(await stream.read())


def test_thousands_held_at_once_are_all_answered(rig, soon):
    count = 2_000

    async def scenario(server, director, _channel, open_stream):
        director.first = director.held
        streams = [open_stream() for _ in range(count)]
        await asyncio.gather(*(stream.write(REQUEST_HEADERS.SerializeToString()) for stream in streams))
        await soon(lambda: len(director.inbounds) == count)
        director.let_go.set()
        answers = await asyncio.gather(*(answer(stream) for stream in streams))
        assert {found.WhichOneof("response") for found in answers} == {"request_headers"}
        for stream in streams:
            stream.cancel()
        await soon(lambda: all(slot.closed.is_set() for slot in director.slots))

    rig(scenario)


def test_a_stream_that_ends_undecided_ends_with_an_error(rig, soon):
    async def scenario(server, director, _channel, open_stream):
        director.first = director.held
        stream = open_stream()
        await stream.write(REQUEST_HEADERS.SerializeToString())
        await director.asked.wait()
        await stream.done_writing()
        assert await stream.code() is grpc.StatusCode.CANCELLED
        assert len(director.cancelled_at) == 1
        empty = open_stream()
        await empty.done_writing()
        assert await empty.code() is grpc.StatusCode.CANCELLED

    rig(scenario)


def test_a_stream_that_ends_after_its_pick_ends_in_peace(rig):
    async def scenario(server, director, _channel, open_stream):
        stream = open_stream()
        await stream.write(REQUEST_HEADERS.SerializeToString())
        await answer(stream)
        await stream.write(RESPONSE_HEADERS.SerializeToString())
        await answer(stream)
        await stream.done_writing()
        assert await stream.code() is grpc.StatusCode.OK
        slot = await director.slot()
        assert slot.heard == [(0, None), True]

    rig(scenario)


def test_a_message_that_cannot_be_read_is_refused_before_the_pick_and_ends_in_peace_after_it(rig, caplog):
    async def scenario(server, director, _channel, open_stream):
        first = open_stream()
        await first.write(b"\xff\xff")
        assert (await answer(first)).immediate_response.status.code == 500
        held = open_stream()
        director.first = director.held
        await held.write(REQUEST_HEADERS.SerializeToString())
        await director.asked.wait()
        await held.write(b"\xff\xff")
        assert (await answer(held)).immediate_response.status.code == 500
        assert len(director.cancelled_at) == 1
        director.first = None
        late = open_stream()
        await late.write(REQUEST_HEADERS.SerializeToString())
        await answer(late)
        await late.write(b"\xff\xff")
        assert await late.code() is grpc.StatusCode.OK
        slot = await director.slot()
        assert slot.closed.is_set()

    rig(scenario)
    assert caplog.text.count("cannot be read") == 1


def test_a_refusal_ends_the_stream(rig):
    async def scenario(server, director, _channel, open_stream):
        async def refuse(_inbound):
            return Refusal(429, None, "No.")

        director.first = refuse
        stream = open_stream()
        await stream.write(REQUEST_HEADERS.SerializeToString())
        assert (await answer(stream)).immediate_response.status.code == 429
        assert await asyncio.wait_for(stream.code(), 5) is grpc.StatusCode.OK

    rig(scenario)


def test_the_limit_of_a_body_is_ours_not_that_of_grpc(rig):
    async def scenario(server, director, _channel, open_stream):
        for size, kind in ((5 << 20, "request_body"), ((16 << 20) + 1, "immediate_response")):
            stream = open_stream()
            await stream.write(with_body(ProcessingMode.BUFFERED).SerializeToString())
            assert (await answer(stream)).WhichOneof("response") == "request_headers"
            body = pb.ProcessingRequest(request_body=pb.HttpBody(body=bytes(size), end_of_stream=True))
            await stream.write(body.SerializeToString())
            assert (await answer(stream)).WhichOneof("response") == kind
            stream.cancel()

    rig(scenario)


def test_a_stream_that_ends_after_more_has_come_while_held_is_noticed(rig, soon):
    async def scenario(server, director, _channel, open_stream):
        director.first = director.held
        stream = open_stream()
        await stream.write(with_body(ProcessingMode.STREAMED).SerializeToString())
        await director.asked.wait()
        await stream.write(pb.ProcessingRequest(request_body=pb.HttpBody(body=b"one")).SerializeToString())
        await stream.done_writing()
        assert await asyncio.wait_for(stream.code(), 5) is grpc.StatusCode.CANCELLED
        assert len(director.cancelled_at) == 1

    rig(scenario)


def test_whatever_is_being_written_at_the_end_of_the_grace_every_stream_is_told(rig, soon):
    count = 100

    async def scenario(server, director, _channel, open_stream):
        streams = [open_stream() for _ in range(count)]
        await asyncio.gather(*(s.write(with_body(ProcessingMode.BUFFERED).SerializeToString()) for s in streams))
        await soon(lambda: server.open_streams == count)
        await server.shutdown(0)
        for stream in streams:
            kinds = []
            while (found := await stream.read()) is not grpc.aio.EOF:
                kinds.append(pb.ProcessingResponse.FromString(found).WhichOneof("response"))
            assert kinds in (["immediate_response"], ["request_headers", "immediate_response"])
            assert await stream.code() is grpc.StatusCode.OK

    rig(scenario)


def test_answers_that_are_being_written_at_the_end_of_the_grace_are_not_torn(rig):
    body = bytes(4 << 20)

    async def scenario(server, director, _channel, open_stream):
        stream = open_stream()
        await stream.write(with_body(ProcessingMode.FULL_DUPLEX_STREAMED).SerializeToString())
        await stream.write(
            pb.ProcessingRequest(request_body=pb.HttpBody(body=body, end_of_stream=True)).SerializeToString()
        )
        slot = await director.slot()
        # Nobody reads, so the answers fill gRPC's window and the server waits in the middle of them.
        stopping = asyncio.ensure_future(server.shutdown(0))
        await asyncio.wait([stopping], timeout=0.1)
        assert not stopping.done()
        assert (await answer(stream)).WhichOneof("response") == "request_headers"
        found = b""
        while (message := await stream.read()) is not grpc.aio.EOF:
            part = pb.ProcessingResponse.FromString(message).request_body
            found += part.response.body_mutation.streamed_response.body
        assert found == body
        assert await stream.code() is grpc.StatusCode.OK
        await stopping
        assert slot.heard == [False]

    rig(scenario)


def test_what_comes_while_held_is_read_and_answered_in_turn(rig):
    async def scenario(server, director, _channel, open_stream):
        director.first = director.held
        stream = open_stream()
        await stream.write(with_body(ProcessingMode.STREAMED).SerializeToString())
        await director.asked.wait()
        for body in (b"one", b"two"):
            await stream.write(pb.ProcessingRequest(request_body=pb.HttpBody(body=body)).SerializeToString())
        director.let_go.set()
        kinds = [(await answer(stream)).WhichOneof("response") for _ in range(3)]
        assert kinds == ["request_headers", "request_body", "request_body"]
        stream.cancel()

    rig(scenario)


def test_a_director_that_answers_all_the_same_leaks_no_slot(rig, soon):
    async def scenario(server, director, _channel, open_stream):
        async def stubborn(_inbound):
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                return

        director.first = stubborn
        for is_answered_by_envoy in (True, False):
            director.asked.clear()
            stream = open_stream()
            await stream.write(REQUEST_HEADERS.SerializeToString())
            await director.asked.wait()
            if is_answered_by_envoy:
                await stream.write(RESPONSE_HEADERS.SerializeToString())
                assert (await answer(stream)).WhichOneof("response") == "response_headers"
            await stream.done_writing()
            assert await stream.read() is grpc.aio.EOF or not is_answered_by_envoy
        await soon(lambda: [slot.heard for slot in director.slots] == [[False], [False]])

    rig(scenario)


def test_health_follows_readiness_and_goes_first(rig, soon):
    async def scenario(server, director, channel, open_stream):
        check = health_pb2_grpc.HealthStub(channel).Check

        async def statuses():
            answers = [await check(health_pb2.HealthCheckRequest(service=name)) for name in ("", SERVICE)]
            return {health_pb2.HealthCheckResponse.ServingStatus.Name(found.status) for found in answers}

        assert await statuses() == {"NOT_SERVING"}
        await server.set_serving(is_serving=True)
        assert await statuses() == {"SERVING"}
        await server.set_serving(is_serving=False)
        assert await statuses() == {"NOT_SERVING"}

        await server.set_serving(is_serving=True)
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service=SERVICE))
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
        stream = open_stream()
        await stream.write(REQUEST_HEADERS.SerializeToString())
        await answer(stream)
        stopping = asyncio.ensure_future(server.shutdown(5))
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
        await server.set_serving(is_serving=True)
        await stream.done_writing()
        assert await stream.code() is grpc.StatusCode.OK
        await asyncio.wait_for(stopping, 4)  # though somebody still watches

    rig(scenario)


def test_no_new_stream_is_accepted_once_shutting_down(rig):
    async def scenario(server, director, channel, open_stream):
        await channel.channel_ready()
        await server.shutdown(0)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await open_stream().read()
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE

    rig(scenario)


def test_a_port_in_use_is_a_clear_error(rig):
    async def scenario(server, director, channel, open_stream):
        second = ExtProcServer(director, ServerSettings(host="127.0.0.1", port=server.port))
        with pytest.raises(OSError, match=rf"127\.0\.0\.1:{server.port} cannot be listened at"):
            await second.start()
        assert second.port == 0
        await second.shutdown()

    rig(scenario)


def test_it_listens_on_ipv6_too(director):
    async def scenario():
        server = ExtProcServer(director(), ServerSettings(host="::1", port=0))
        await server.start()
        async with grpc.aio.insecure_channel(f"[::1]:{server.port}") as channel:
            await channel.channel_ready()
        await server.shutdown(0)

    asyncio.run(scenario())


def test_settings_are_checked():
    with pytest.raises(ValueError, match=r"port must lie in 0\.\.65535, not 70000"):
        ServerSettings(port=70_000)
    with pytest.raises(TypeError, match="port must be an int"):
        ServerSettings(port=80.5)
    with pytest.raises(ValueError, match="max_body_bytes must be 0 or more, not -1"):
        ServerSettings(max_body_bytes=-1)
    with pytest.raises(ValueError, match="drain_timeout must be finite"):
        ServerSettings(drain_timeout=float("inf"))
    with pytest.raises(ValueError, match=r"keepalive must lie in 0\.\.86400, not 1e\+300"):
        ServerSettings(keepalive=1e300)
    with pytest.raises(TypeError, match="metadata_namespaces must be a str"):
        ServerSettings(metadata_namespaces=[1])
    assert ServerSettings(metadata_namespaces=["envoy.lb"]).metadata_namespaces == ("envoy.lb",)


def test_an_envoy_that_goes_while_it_is_written_to_is_no_failure(rig, soon, caplog):
    async def scenario(server, director, _channel, open_stream):
        async def stubborn(_inbound):
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                return

        director.first = stubborn
        stream = open_stream()
        await stream.write(REQUEST_HEADERS.SerializeToString())
        await director.asked.wait()
        stream.cancel()
        await soon(lambda: [slot.heard for slot in director.slots] == [[False]])

    rig(scenario)
    assert caplog.records == []
