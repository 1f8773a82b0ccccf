"""Spans join the caller's trace, and cost nothing where there is none."""

import gzip
import json
import subprocess
import sys
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from flowgate_epp.contracts import Decision
from flowgate_epp.telemetry import TracingSettings, TracingUnavailable, start_tracing

Decisions = Callable[..., Decision]
TRACE, PARENT = 0x0AF7651916CD43DD8448EB211C80319C, 0xB7AD6B7169203331
SAMPLED = {"traceparent": f"00-{TRACE:032x}-{PARENT:016x}-01", "tracestate": "vendor=1"}
UNSAMPLED = {"traceparent": f"00-{TRACE:032x}-{PARENT:016x}-00"}


def traced(settings: TracingSettings, *decisions: Decision) -> list[ReadableSpan]:
    exporter = InMemorySpanExporter()
    tracing = start_tracing(settings, exporter)
    assert tracing is not None
    for decision in decisions:
        tracing(decision)
    tracing.close()
    return list(exporter.get_finished_spans())


def test_the_wait_and_the_pick_are_spans_of_the_caller_s_trace(decision: Decisions) -> None:
    wait, pick = traced(TracingSettings(enabled=True), decision(headers=SAMPLED))
    begin = 1_700_000_000_250_000_000
    assert (wait.name, wait.start_time, wait.end_time) == ("flowgate.queue", begin, begin + 1_500_000_000)
    assert (pick.name, pick.start_time, pick.end_time) == ("flowgate.pick", wait.end_time, wait.end_time + 20_000)
    for span in (wait, pick):
        assert span.context is not None
        assert span.parent is not None
        assert (span.context.trace_id, span.parent.span_id) == (TRACE, PARENT)
        assert span.context.trace_state.get("vendor") == "1"
        assert span.resource.attributes["service.name"] == "flowgate-epp"
        assert span.status.status_code is StatusCode.UNSET
        assert span.attributes == {
            "flowgate.request_id": "r-1",
            "flowgate.flow": "alice",
            "flowgate.priority": 10,
            "flowgate.outcome": "dispatched",
            "gen_ai.request.model": "llama",
            "server.address": "10.0.0.1",
            "server.port": 8_000,
            "k8s.pod.name": "pod-1",
            "k8s.namespace.name": "default",
        }


def test_a_refusal_is_an_error_of_the_step_that_refused(decision: Decisions, refusal: Decisions) -> None:
    no_pods = decision(headers=SAMPLED, status=503, reason=None, message="none is left", pod=None, model="")
    evicted, wait, pick = traced(TracingSettings(enabled=True), refusal(headers=SAMPLED), no_pods)
    assert (evicted.status.status_code, evicted.status.description) == (StatusCode.ERROR, "it waited 1.500 s")
    assert evicted.attributes is not None
    assert evicted.attributes["error.type"] == "ttl-expired"
    assert evicted.attributes["http.response.status_code"] == 429
    assert wait.status.status_code is StatusCode.UNSET
    assert (pick.status.status_code, pick.status.description) == (StatusCode.ERROR, "none is left")
    assert pick.attributes is not None
    assert pick.attributes["error.type"] == "dispatched"
    assert "gen_ai.request.model" not in pick.attributes


@pytest.mark.parametrize("headers", [{}, UNSAMPLED, {"traceparent": "nonsense"}, {"traceparent": ""}])
def test_without_a_sampled_trace_there_are_no_spans(decision: Decisions, headers: dict[str, str]) -> None:
    assert traced(TracingSettings(enabled=True), decision(headers=headers)) == []


def test_a_trace_may_begin_here_but_not_against_the_caller_s_word(decision: Decisions) -> None:
    wait, pick = traced(TracingSettings(enabled=True, roots=True), decision(), decision(headers=UNSAMPLED))
    assert wait.parent is None
    assert wait.context is not None
    assert pick.parent is not None
    assert pick.parent.span_id == wait.context.span_id


def test_no_sampler_overrules_the_caller(monkeypatch: pytest.MonkeyPatch, decision: Decisions) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_on")
    assert traced(TracingSettings(enabled=True, roots=True), decision(headers=UNSAMPLED)) == []


def test_the_environment_names_the_service(monkeypatch: pytest.MonkeyPatch, decision: Decisions) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "picker-7")
    wait, _ = traced(TracingSettings(enabled=True), decision(headers=SAMPLED))
    assert wait.resource.attributes["service.name"] == "picker-7"


def test_nothing_is_made_unless_it_is_enabled() -> None:
    assert start_tracing(TracingSettings()) is None


def test_without_opentelemetry_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "flowgate_epp.telemetry._spans", raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry.context", None)  # as if it were not there
    with pytest.raises(TracingUnavailable, match=r"enabled is true, but opentelemetry\.context is not installed: pip"):
        start_tracing(TracingSettings(enabled=True))


def test_telemetry_itself_does_not_import_opentelemetry() -> None:
    program = "import sys, flowgate_epp.telemetry; sys.exit('opentelemetry' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_spans_reach_a_collector_by_otlp(decision: Decisions) -> None:
    """Over HTTP, as JSON, which collectors take at port 4318."""
    got: list[tuple[str, dict[str, Any]]] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            got.append((self.path, json.loads(body)))
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Collector) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        try:
            endpoint = f"http://127.0.0.1:{server.server_port}/v1/traces"
            tracing = start_tracing(TracingSettings(enabled=True, endpoint=endpoint))
            assert tracing is not None
            tracing(decision(headers=SAMPLED))
            tracing.close()
        finally:
            server.shutdown()
            serving.join()
    ((path, told),) = got
    assert path == "/v1/traces"
    spans = [
        span["name"]
        for resource in told["resourceSpans"]
        for scope in resource["scopeSpans"]
        for span in scope["spans"]
    ]
    assert spans == ["flowgate.queue", "flowgate.pick"]
