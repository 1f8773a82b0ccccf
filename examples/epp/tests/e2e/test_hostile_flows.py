"""Flows named by people with bad intentions: labels and memory stay bounded."""

import psutil
import pytest

from examples.stage.gateway import completion

pytestmark = pytest.mark.anyio

FLOWS = 1_000
HEADER = b"x-gateway-inference-fairness-id"


def hostile(number: int) -> bytes:
    """Write an id that HTTP allows, unlike any other."""
    kinds = [
        b"%d" % number + b"x" * 8_000,
        b"\xff\xfe%d\x80" % number,
        f"{number} \N{SNOWMAN}\N{RIGHT-TO-LEFT OVERRIDE}\N{ZERO WIDTH SPACE}".encode(),
        b'%d"} 1\\n# HELP evil{flow="' % number,
        b"\xc3%d" % number,
        b"<script>alert(%d)</script>" % number,
        b"%d\tcolumn" % number,
        b"../../../../%d\xc2\x85\xe2\x80\xa8" % number,
    ]
    return kinds[number % len(kinds)]


async def ask_all(gateway, numbers: range) -> list[int]:
    statuses = []
    for start in range(numbers.start, numbers.stop, 100):
        async with await gateway.connect() as connection:
            requests = [
                connection.post("/v1/completions", completion(), [(HEADER, hostile(number))])
                for number in range(start, start + 100)
            ]
            statuses += [(await request.answer()).status for request in requests]
    return statuses


async def status_of(gateway, request: bytes) -> bytes | None:
    """Send bytes, and return the status of the answer; None where Envoy closes the connection without one."""
    reader, writer = await gateway.connect_raw()
    try:
        writer.write(request)
        line = await reader.readline()
    except ConnectionResetError:
        return None
    finally:
        writer.transport.abort()
    return line.split(b" ")[1] if line else None


async def test_a_thousand_hostile_flows_leave_labels_and_memory_bounded(open_gateway, slots) -> None:
    """All are served as flows of their own; the page of metrics stays small and well-formed; memory does not grow."""
    telemetry = {"metrics": {"max_label_values": 50, "process": False}}
    config = {**slots(64, max_flows=200), "telemetry": telemetry}
    async with open_gateway(config) as gateway:
        await gateway.announce(await gateway.start_pod(slots=64))
        epp = psutil.Process(gateway.epp.process.pid)
        assert await ask_all(gateway, range(FLOWS)) == [200] * FLOWS
        after_first = epp.memory_info().rss
        readings = await gateway.metrics()
        flows = readings.by("flow", "flowgate_request_queue_duration_seconds_count")
        assert len(flows) <= 51
        assert sum(flows.values()) == FLOWS
        assert flows["other"] >= FLOWS - 50
        for sample in readings.samples:
            for value in sample.labels.values():
                assert len(value) <= 128
                assert value.isprintable()
        assert readings.total("flowgate_flows") <= 200
        for start in (FLOWS, 2 * FLOWS):
            assert await ask_all(gateway, range(start, start + FLOWS)) == [200] * FLOWS
        assert epp.memory_info().rss - after_first < 8_000_000
        state = await gateway.state()
        assert all(len(decision["flow"]) <= 128 for decision in state["decisions"])


async def test_hostile_flows_that_wait_are_told_apart_and_told_of_safely(open_gateway, slots) -> None:
    """Each has its own turn; the page of metrics can still be read, the log has one line for each."""
    config = {**slots(64), "telemetry": {"log": {"requests": "all"}}}
    async with open_gateway(config) as gateway, await gateway.connect() as connection:
        requests = [
            connection.post("/v1/completions", completion(), [(HEADER, hostile(number))]) for number in range(40)
        ]
        await gateway.holds(40)
        readings = await gateway.metrics()
        assert len(readings.by("flow", "flowgate_queue_size")) == 40
        await gateway.announce(await gateway.start_pod())
        assert {(await request.answer()).status for request in requests} == {200}
        await gateway.serves(0)
        said = gateway.epp.process.log.read_bytes()
        assert said.count(b"HELP evil") == 5
        assert all(line.startswith(b"{") for line in said.splitlines())


@pytest.mark.parametrize("byte", [b"\x00", b"\x01", b"\x1b", b"\x7f", b"\r", b"\n"])
async def test_control_characters_do_not_get_past_envoy_or_do_no_harm(gateway, byte: bytes) -> None:
    """Envoy refuses most; none of them reaches a label, and nothing falls over."""
    status = await status_of(gateway, b"GET /v1/models HTTP/1.1\r\nhost: models\r\n%b: a%bb\r\n\r\n" % (HEADER, byte))
    assert status in {None, b"400", b"200"}
    readings = await gateway.metrics()
    assert all(value.isprintable() for sample in readings.samples for value in sample.labels.values())
    assert (await gateway.ask()).status == 200


async def test_headers_without_end_are_refused_before_they_cost_anything(gateway) -> None:
    """More than Envoy takes is none of the Endpoint Picker's business."""
    decided = (await gateway.state())["decided"]
    long = b"x" * 100_000
    status = await status_of(gateway, b"GET /v1/models HTTP/1.1\r\nhost: models\r\n%b: %b\r\n\r\n" % (HEADER, long))
    assert status in {None, b"431"}
    assert (await gateway.state())["decided"] == decided
