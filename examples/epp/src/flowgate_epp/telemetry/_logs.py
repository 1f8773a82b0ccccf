"""The log: one renderer for all, and a line for each decision.

Decisions have a way of their own to the stream: past the standard library's logging, which would cost three times as
much. Both ways end in the same renderer.
"""

import datetime
import json
import logging
import sys
from collections.abc import Callable, MutableMapping
from types import TracebackType
from typing import Any, Self, TextIO

import structlog

from flowgate_epp.contracts import Decision
from flowgate_epp.telemetry._settings import LogSettings

__all__ = ["DecisionLog", "Logs"]

_GOES_ON = 200
_CHATTY = "watchfiles"
_Event = MutableMapping[str, Any]  # as structlog has it
_Write = Callable[[str, _Event], None]

_encode = json.JSONEncoder(separators=(",", ":"), default=repr).encode  # escapes whatever is not plain ASCII


class Logs:
    """Routes the standard library's logging, structlog's loggers and decisions to one stream; a context manager.

    Args:
        settings: What is logged, and how.
        stream: Where to; None for the one that the settings name.
    """

    def __init__(self, settings: LogSettings | None = None, stream: TextIO | None = None) -> None:
        self._settings = LogSettings() if settings is None else settings
        self._stream = stream or (sys.stderr if self._settings.stream == "stderr" else sys.stdout)
        self._level = logging.getLevelNamesMapping()[self._settings.level.upper()]
        self._before: tuple[list[logging.Handler], int] | None = None
        self._watch_level = logging.NOTSET
        self._render = self._renderer()

    def __enter__(self) -> Self:
        handler = logging.StreamHandler(self._stream)
        handler.setFormatter(
            structlog.stdlib.ProcessorFormatter(
                foreign_pre_chain=[
                    structlog.stdlib.ExtraAdder(),
                    structlog.stdlib.add_log_level,
                    structlog.stdlib.add_logger_name,
                    _add_time,
                ],
                processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *self._render],
            )
        )
        root = logging.getLogger()
        self._before = root.handlers[:], root.level
        root.handlers[:] = [handler]
        root.setLevel(self._level)
        # It tells of each change it sees, and a log that is written to a watched folder is a change.
        watch = logging.getLogger(_CHATTY)
        self._watch_level = watch.level
        watch.setLevel(max(self._level, logging.WARNING))
        structlog.configure(
            processors=[
                structlog.stdlib.filter_by_level,
                structlog.stdlib.add_log_level,
                structlog.stdlib.add_logger_name,
                _add_time,
                structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
            ],
            logger_factory=structlog.stdlib.LoggerFactory(),
            wrapper_class=structlog.stdlib.BoundLogger,
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._before is not None  # noqa: S101 - it was entered
        root = logging.getLogger()
        root.handlers[:], level = self._before
        root.setLevel(level)
        logging.getLogger(_CHATTY).setLevel(self._watch_level)
        structlog.reset_defaults()

    def decision_log(self) -> "DecisionLog | None":
        """Return the listener that logs decisions; None where none of them is logged."""
        of_all = self._settings.requests == "all" and self._level <= logging.INFO
        if self._settings.requests == "none" or self._level > logging.WARNING:
            return None
        stream = self._stream
        processors = [_add_time, *self._render]

        def log(level: str, event: _Event) -> None:
            event["level"] = level
            for processor in processors:
                event = processor(None, level, event)
            stream.write(f"{event}\n")
            stream.flush()

        return DecisionLog(log, of_all=of_all)

    def _renderer(self) -> list[Any]:
        if self._settings.format == "json":
            return [structlog.processors.format_exc_info, _as_json]
        return [
            _visible,
            structlog.dev.ConsoleRenderer(
                colors=self._stream.isatty(),
                timestamp_key="time",
                exception_formatter=structlog.dev.plain_traceback,
            ),
        ]


class DecisionLog:
    """A listener that logs decisions: refused ones as warnings, the others for information.

    Args:
        log: Takes a level and what is to be logged.
        of_all: Whether those that went on are logged, too.
    """

    def __init__(self, log: _Write, *, of_all: bool) -> None:
        self._log = log
        self._of_all = of_all

    def __call__(self, decision: Decision) -> None:
        """Log a decision."""
        is_refused = decision.status != _GOES_ON
        if not (is_refused or self._of_all):
            return
        pod = decision.pod
        event: _Event = {
            "event": "request",
            "logger": "flowgate_epp.decisions",
            "request_id": decision.request_id,
            "flow": decision.flow_id,
            "priority": decision.priority,
            "model": decision.model,
            "outcome": decision.outcome.value,
            "status": decision.status,
            "reason": decision.reason,
            "queue_wait": round(decision.queue_wait, 6),
            "pick": round(decision.pick_seconds, 6),
            "pod": None if pod is None else pod.name,
            "endpoint": None if pod is None else pod.endpoint,
            "arrived_at": round(decision.arrived_at, 6),
        }
        if is_refused:
            event["message"] = decision.message
        self._log("warning" if is_refused else "info", event)


def _add_time(_logger: object, _method: str, event: _Event) -> _Event:
    event["time"] = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
    return event


def _as_json(_logger: object, _method: str, event: _Event) -> str:
    first = {"time": event.pop("time"), "level": event.pop("level")}
    return _encode({**first, **event})


def _visible(_logger: object, _method: str, event: _Event) -> _Event:
    """Escape what a terminal would obey: clients choose some of these texts."""
    for name, value in event.items():
        if isinstance(value, str) and not value.isprintable():
            event[name] = value.encode("unicode_escape").decode()
    return event
