"""Spans by OpenTelemetry: the one module that imports it."""

import os

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.json.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.trace import Status, StatusCode, get_current_span, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from flowgate import QueueOutcome
from flowgate_epp.contracts import Decision
from flowgate_epp.telemetry._settings import TracingSettings

__all__ = ["Spans"]

_GOES_ON = 200
_LAST_FLAG = slice(54, 55)  # in a traceparent: the second digit of the flags
_SAMPLED = "13579bdf"


class Spans:
    """Makes spans of decisions, after the fact.

    Args:
        settings: Where they go, and whether a request without a trace begins one.
        exporter: Takes the spans; None for OTLP over HTTP, as JSON: the exporters that
            write protobuf need modules which Envoy's protocol package brings in another version.
    """

    def __init__(self, settings: TracingSettings, exporter: SpanExporter | None = None) -> None:
        self._roots = settings.roots
        name = os.environ.get("OTEL_SERVICE_NAME") or settings.service_name
        self._provider = TracerProvider(resource=Resource.create({SERVICE_NAME: name}), shutdown_on_exit=False)
        if exporter is None:
            exporter = OTLPSpanExporter(endpoint=settings.endpoint)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("flowgate_epp")
        self._propagator = TraceContextTextMapPropagator()

    def __call__(self, decision: Decision) -> None:
        """Make the spans of a decision, if its caller's trace is sampled."""
        parent = decision.headers.get("traceparent")
        context = Context()
        if parent is not None:
            if parent[_LAST_FLAG] not in _SAMPLED:
                return
            context = self._propagator.extract(decision.headers, context=context)
        is_root = not get_current_span(context).get_span_context().is_valid
        if is_root and not self._roots:
            return
        self._write(decision, context, is_root=is_root)

    def close(self) -> None:
        """Send what is left, and stop."""
        self._provider.shutdown()

    def _write(self, decision: Decision, context: Context, *, is_root: bool) -> None:
        attributes = _attributes(decision)
        begin = _nanoseconds(decision.arrived_at)
        went = begin + _nanoseconds(decision.queue_wait)
        wait = self._tracer.start_span("flowgate.queue", context, attributes=attributes, start_time=begin)
        if decision.outcome is not QueueOutcome.DISPATCHED:
            wait.set_status(Status(StatusCode.ERROR, decision.message))
        wait.end(went)
        if decision.pick_seconds:
            if is_root:
                context = set_span_in_context(wait, context)
            pick = self._tracer.start_span("flowgate.pick", context, attributes=attributes, start_time=went)
            if decision.status != _GOES_ON:
                pick.set_status(Status(StatusCode.ERROR, decision.message))
            pick.end(went + _nanoseconds(decision.pick_seconds))


def _nanoseconds(seconds: float) -> int:
    return round(seconds * 1e6) * 1_000  # a time of day holds no more than microseconds


def _attributes(decision: Decision) -> dict[str, str | int]:
    """Name things as OpenTelemetry's conventions do, where they have a name for them."""
    attributes: dict[str, str | int] = {
        "flowgate.request_id": decision.request_id,
        "flowgate.flow": decision.flow_id,
        "flowgate.priority": decision.priority,
        "flowgate.outcome": decision.outcome.value,
    }
    if decision.model:
        attributes["gen_ai.request.model"] = decision.model
    if decision.status != _GOES_ON:
        attributes["http.response.status_code"] = decision.status
        attributes["error.type"] = decision.reason or decision.outcome.value
    pod = decision.pod
    if pod is not None:
        attributes["server.address"] = pod.address
        attributes["server.port"] = pod.port
        attributes["k8s.pod.name"] = pod.name
        attributes["k8s.namespace.name"] = pod.namespace
    return attributes
