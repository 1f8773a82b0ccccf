"""Spans of requests: one for the wait in the queue, one for the pick, in the caller's trace.

OpenTelemetry comes with an extra, so the module that needs it is imported only when tracing is asked for.
"""

import importlib
from typing import Any, Protocol, cast

from flowgate_epp.contracts import Decision
from flowgate_epp.telemetry._settings import TracingSettings

__all__ = ["Tracing", "TracingUnavailable", "start_tracing"]


class TracingUnavailable(Exception):  # noqa: N818 - a state, not a fault of the caller's
    """Raised when tracing is enabled and OpenTelemetry is not installed."""


class Tracing(Protocol):
    """What makes spans: a listener for decisions, with an end."""

    def __call__(self, decision: Decision) -> None:
        """Make the spans of a decision, if its caller's trace is sampled."""
        ...

    def close(self) -> None:
        """Send what is left, and stop. It may block for some seconds: call it in a thread."""
        ...


def start_tracing(settings: TracingSettings, exporter: Any = None) -> Tracing | None:
    """Start to make spans.

    Args:
        settings: Whether, and where they go.
        exporter: An OpenTelemetry span exporter; None for OTLP over HTTP.

    Returns:
        The listener for decisions; None where tracing is not enabled.

    Raises:
        TracingUnavailable: It is enabled, and OpenTelemetry is not installed.
    """
    if not settings.enabled:
        return None
    try:
        spans = importlib.import_module("flowgate_epp.telemetry._spans")
    except ModuleNotFoundError as error:
        raise TracingUnavailable(
            f"tracing.enabled is true, but {error.name} is not installed: pip install 'flowgate-epp[tracing]'"
        ) from error
    return cast("Tracing", spans.Spans(settings, exporter))
