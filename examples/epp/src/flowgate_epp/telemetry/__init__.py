"""What happens, told to those who run the program: metrics, logs and traces."""

from flowgate_epp.telemetry._exposition import CONTENT_TYPE, Exposition
from flowgate_epp.telemetry._flow_metrics import FlowMetrics, Reading
from flowgate_epp.telemetry._labels import clean_label
from flowgate_epp.telemetry._logs import DecisionLog, Logs
from flowgate_epp.telemetry._readings import PodReading, Readings, pool_saturation
from flowgate_epp.telemetry._settings import (
    LogSettings,
    MetricsSettings,
    NameScheme,
    TelemetrySettings,
    TracingSettings,
)
from flowgate_epp.telemetry._table import METRICS, Metric, markdown_table
from flowgate_epp.telemetry._tracing import Tracing, TracingUnavailable, start_tracing

__all__ = [
    "CONTENT_TYPE",
    "METRICS",
    "DecisionLog",
    "Exposition",
    "FlowMetrics",
    "LogSettings",
    "Logs",
    "Metric",
    "MetricsSettings",
    "NameScheme",
    "PodReading",
    "Reading",
    "Readings",
    "TelemetrySettings",
    "Tracing",
    "TracingSettings",
    "TracingUnavailable",
    "clean_label",
    "markdown_table",
    "pool_saturation",
    "start_tracing",
]
