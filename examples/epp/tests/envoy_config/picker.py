"""A small Endpoint Picker for these tests: holds while its gate is closed, then sends all to one pod.

Run as a program, ``python picker.py PORT POD HOLD``, it can be killed.
"""

import asyncio
import contextlib
import sys

import grpc.aio
from envoy.config.core.v3 import base_pb2
from envoy.service.ext_proc.v3 import external_processor_pb2 as pb
from envoy.service.ext_proc.v3 import external_processor_pb2_grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

DESTINATION = "x-gateway-destination-endpoint"
OPTIONS = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.server.max_pending_requests", 100_000),
    ("grpc.server.max_pending_requests_hard_limit", 100_000),
)
CHUNK = 62_000


class Picker(external_processor_pb2_grpc.ExternalProcessorServicer):
    """Whatever it is told by Envoy, and what it answers."""

    def __init__(self):
        self.pod = None
        self.is_open = asyncio.Event()
        self.is_open.set()
        self.seconds = 0.0
        self.streams = self.held = self.most_held = self.ended = 0
        self.messages = []
        self.body = b""
        self._health = health.aio.HealthServicer()

    async def start(self, port=0, credentials=None):
        self._server = grpc.aio.server(options=OPTIONS)
        external_processor_pb2_grpc.add_ExternalProcessorServicer_to_server(self, self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        await self.say(is_serving=True)
        where = f"127.0.0.1:{port}"
        if credentials is None:
            self.port = self._server.add_insecure_port(where)
        else:
            self.port = self._server.add_secure_port(where, credentials)
        await self._server.start()

    async def stop(self):
        await self._server.stop(None)

    async def say(self, *, is_serving):
        status = health_pb2.HealthCheckResponse
        await self._health.set("", status.SERVING if is_serving else status.NOT_SERVING)

    async def Process(self, messages, context):
        """Answer each message of one request; a body that is streamed is sent back with the pick."""
        self.streams += 1
        waiting, body = None, b""
        try:
            async for message in messages:
                kind = message.WhichOneof("request")
                self.messages.append(message)
                part = getattr(message, kind)
                if kind == "request_headers" and not part.end_of_stream and self.asks_for_body(message):
                    waiting = message.protocol_config.request_body_mode
                    if waiting == BUFFERED:
                        yield pb.ProcessingResponse(request_headers=pb.HeadersResponse())
                elif kind == "request_headers":
                    yield await self.pick("request_headers")
                elif kind == "request_body" and waiting == BUFFERED:
                    self.body = part.body
                    yield await self.pick("request_body")
                elif kind == "request_body":
                    body += part.body
                    if part.end_of_stream:
                        self.body = body
                        yield await self.pick("request_headers")
                        for each in streamed(body):
                            yield each
                else:
                    empty = pb.HeadersResponse() if kind == "response_headers" else pb.TrailersResponse()
                    yield pb.ProcessingResponse(**{kind: empty})
        finally:
            self.ended += 1

    def asks_for_body(self, message):
        return message.protocol_config.request_body_mode != 0

    async def pick(self, kind):
        self.held += 1
        self.most_held = max(self.most_held, self.held)
        try:
            await asyncio.sleep(self.seconds)
            await self.is_open.wait()
        finally:
            self.held -= 1
        if self.pod is None:
            return pb.ProcessingResponse(**{kind: ANSWERS[kind]()})
        change = pb.HeaderMutation(
            set_headers=[
                base_pb2.HeaderValueOption(header=base_pb2.HeaderValue(key=DESTINATION, raw_value=self.pod.encode()))
            ]
        )
        answer = pb.ProcessingResponse(**{kind: ANSWERS[kind](response=pb.CommonResponse(header_mutation=change))})
        answer.dynamic_metadata.update({"envoy.lb": {DESTINATION: self.pod}})
        return answer


BUFFERED = 2
ANSWERS = {"request_headers": pb.HeadersResponse, "request_body": pb.BodyResponse}


def streamed(body):
    for start in range(0, len(body), CHUNK):
        part = pb.StreamedBodyResponse(body=body[start : start + CHUNK], end_of_stream=start + CHUNK >= len(body))
        mutation = pb.BodyMutation(streamed_response=part)
        yield pb.ProcessingResponse(request_body=pb.BodyResponse(response=pb.CommonResponse(body_mutation=mutation)))


async def main(port, pod, seconds):
    picker = Picker()
    picker.pod, picker.seconds = pod, float(seconds)
    await picker.start(int(port))
    print("serving", flush=True)
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main(*sys.argv[1:]))
