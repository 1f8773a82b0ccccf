"""An external processing server that decides nothing: the yardstick.

It is what anybody would write with the published stubs: for each request it says where to, in the header and in the
dynamic metadata, and lets the response pass. Run it as
``python -m examples.epp.benchmarks.bare --port 9002 --pod 10.0.0.1:8000``.
"""

import argparse
import asyncio
import signal
from collections.abc import AsyncIterator
from typing import Any

import grpc
from envoy.config.core.v3 import base_pb2
from envoy.service.ext_proc.v3 import external_processor_pb2 as pb
from envoy.service.ext_proc.v3 import external_processor_pb2_grpc as pb_grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

__all__ = ["BareServer", "serve"]

_DESTINATION = "x-gateway-destination-endpoint"


class BareServer(pb_grpc.ExternalProcessorServicer):  # type: ignore[misc]  # the stubs have no types
    """Sends every request to one pod.

    Args:
        endpoint: The pod's, ``ip:port``.
    """

    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint

    async def Process(self, messages: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:  # noqa: ARG002, N802 - the contract's
        """Answer one stream."""
        async for message in messages:
            kind = message.WhichOneof("request")
            answer = pb.ProcessingResponse()
            getattr(answer, kind).SetInParent()
            if kind == "request_headers":
                header = base_pb2.HeaderValue(key=_DESTINATION, raw_value=self._endpoint.encode())
                overwrite = base_pb2.HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD
                answer.request_headers.response.header_mutation.set_headers.add(header=header, append_action=overwrite)
                answer.dynamic_metadata.update({"envoy.lb": {_DESTINATION: self._endpoint}})
            yield answer


async def serve(port: int, endpoint: str) -> None:
    """Serve until SIGTERM or SIGINT."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    server = grpc.aio.server()
    pb_grpc.add_ExternalProcessorServicer_to_server(BareServer(endpoint), server)
    healthy = health.aio.HealthServicer()  # or Envoy sends nothing here
    health_pb2_grpc.add_HealthServicer_to_server(healthy, server)
    await healthy.set("", health_pb2.HealthCheckResponse.SERVING)
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await stop.wait()
    await server.stop(None)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--pod", required=True)
    given = parser.parse_args()
    asyncio.run(serve(given.port, given.pod))
