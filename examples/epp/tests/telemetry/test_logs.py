"""Every line of the log comes from one renderer, and no client can break it."""

import io
import json
import logging
from collections.abc import Callable

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from flowgate import QueueOutcome
from flowgate_epp.contracts import Decision
from flowgate_epp.telemetry import Logs, LogSettings

Decisions = Callable[..., Decision]


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().split("\n")[:-1]]


def logged(settings: LogSettings, *decisions: Decision) -> list[dict[str, object]]:
    stream = io.StringIO()
    with Logs(settings, stream) as logs:
        listener = logs.decision_log()
        for decision in decisions if listener is not None else ():
            listener(decision)
    return lines(stream)


def test_a_decision_is_one_line_with_all_that_is_known(decision: Decisions, refusal: Decisions) -> None:
    went, refused = logged(LogSettings(requests="all"), decision(), refusal())
    assert went.pop("time")
    assert went == {
        "level": "info",
        "event": "request",
        "logger": "flowgate_epp.decisions",
        "request_id": "r-1",
        "flow": "alice",
        "priority": 10,
        "model": "llama",
        "outcome": "dispatched",
        "status": 200,
        "reason": None,
        "queue_wait": 1.5,
        "pick": 0.00002,
        "pod": "pod-1",
        "endpoint": "10.0.0.1:8000",
        "arrived_at": 1_700_000_000.25,
    }
    assert (refused["level"], refused["status"], refused["reason"]) == ("warning", 429, "ttl-expired")
    assert (refused["message"], refused["pod"], refused["endpoint"]) == ("it waited 1.500 s", None, None)


@pytest.mark.parametrize(
    ("settings", "statuses"),
    [
        (LogSettings(requests="all"), [200, 429]),
        (LogSettings(requests="refused"), [429]),
        (LogSettings(requests="none"), []),
        (LogSettings(requests="all", level="warning"), [429]),
        (LogSettings(requests="all", level="error"), []),
    ],
)
def test_what_is_not_asked_for_is_not_logged(
    settings: LogSettings, statuses: list[int], decision: Decisions, refusal: Decisions
) -> None:
    assert [line["status"] for line in logged(settings, decision(), refusal())] == statuses


@given(st.text(), st.text())
def test_no_id_breaks_a_line(flow: str, request_id: str) -> None:
    hostile = Decision(
        request_id, {}, flow, 0, flow, 0.0, 0.0, 0.0, QueueOutcome.REJECTED_SHED, 429, "shed", request_id, None
    )
    (line,) = logged(LogSettings(), hostile)
    assert (line["flow"], line["request_id"], line["message"]) == (flow, request_id, request_id)


def test_the_standard_library_s_loggers_come_out_alike() -> None:
    stream = io.StringIO()
    with Logs(LogSettings(), stream):
        logging.getLogger("flowgate").warning("%s failed\n%s", "locator", "\x1b[31m", extra={"pod": "a"})
        logging.getLogger("grpc").debug("not asked for")
        structlog.get_logger("flowgate_epp").info("listening", port=9002)
        structlog.get_logger("flowgate_epp").debug("not asked for")
    first, second = lines(stream)
    assert first.pop("time")
    assert first == {
        "level": "warning",
        "event": "locator failed\n\x1b[31m",
        "logger": "flowgate",
        "pod": "a",
    }
    assert (second["event"], second["port"], second["logger"]) == ("listening", 9002, "flowgate_epp")


def test_a_traceback_is_a_part_of_its_line() -> None:
    stream = io.StringIO()
    with Logs(LogSettings(), stream):
        logging.getLogger("flowgate").error("it failed", exc_info=ValueError("broken"))
    (line,) = lines(stream)
    assert "ValueError: broken" in line["exception"]


def test_what_json_cannot_hold_is_shown_as_python_would() -> None:
    stream = io.StringIO()
    with Logs(LogSettings(), stream):
        structlog.get_logger("a").info("b", c={1})
    assert lines(stream)[0]["c"] == "{1}"


def test_the_console_shows_people_lines_that_their_terminal_cannot_obey(refusal: Decisions) -> None:
    stream = io.StringIO()
    with Logs(LogSettings(format="console"), stream) as logs:
        listener = logs.decision_log()
        assert listener is not None
        listener(refusal(flow_id="a\x1b[2J\nb"))
        logging.getLogger("flowgate").warning("x\x1b[2J\ny")
    text = stream.getvalue()
    assert text.count("\n") == 2
    assert "\x1b" not in text
    assert "a\\x1b[2J\\nb" in text
    assert "ttl-expired" in text


def test_the_console_shows_tracebacks_over_several_lines() -> None:
    stream = io.StringIO()
    with Logs(LogSettings(format="console"), stream):
        logging.getLogger("flowgate").error("it failed", exc_info=ValueError("broken"))
    assert "\nValueError: broken" in stream.getvalue()


def test_a_log_beside_a_watched_file_does_not_tell_of_itself_for_ever() -> None:
    """The watch would log each line that is written there as a change, and that line as the next."""
    stream = io.StringIO()
    with Logs(LogSettings(level="debug"), stream):
        logging.getLogger("watchfiles.main").info("1 change detected")
        logging.getLogger("watchfiles.main").warning("no watches are left")
    assert [line["event"] for line in lines(stream)] == ["no watches are left"]


def test_logging_is_afterwards_as_it_was_before() -> None:
    root, watch = logging.getLogger(), logging.getLogger("watchfiles")
    before = root.handlers[:], root.level, watch.level
    with Logs(LogSettings(level="debug"), io.StringIO()):
        assert root.level == logging.DEBUG
    assert (root.handlers, root.level, watch.level) == before
    assert not structlog.is_configured()


@pytest.mark.parametrize("name", ["stdout", "stderr"])
def test_lines_go_to_the_stream_that_was_named(
    name: str, capsys: pytest.CaptureFixture[str], refusal: Decisions
) -> None:
    with Logs(LogSettings(stream=name)) as logs:  # type: ignore[arg-type]
        listener = logs.decision_log()
        assert listener is not None
        listener(refusal())
    assert '"ttl-expired"' in getattr(capsys.readouterr(), name[3:])
