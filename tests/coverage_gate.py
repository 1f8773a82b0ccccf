"""A pytest plugin that fails the run if a line or branch of the library is not covered.

`make test` loads it under ``coverage run``, which measures from before the library is imported. What is missing stands
above pytest's own summary. A bare ``pytest`` measures nothing and loads nothing.
"""

import io
from collections.abc import Generator

import coverage
import pytest

_report = pytest.StashKey[str]()


@pytest.hookimpl(wrapper=True)
def pytest_runtestloop(session: pytest.Session) -> Generator[None, object, object]:
    """Report when all tests are done, and count a shortfall as one failure more."""
    result = yield
    measured = coverage.Coverage.current()
    if measured is None:
        raise pytest.UsageError("tests.coverage_gate works under `coverage run -m pytest` alone")
    measured.stop()
    measured.save()
    # Read back: an instance that still collects reports nothing of what it holds once paths are mapped.
    saved = coverage.Coverage()
    saved.load()
    text = io.StringIO()
    total = saved.report(file=text)
    required = float(str(saved.get_option("report:fail_under")))
    if total < required:
        session.testsfailed += 1
        text.write(f"FAILED: {total:.2f}% is covered, and {required:g}% is required\n")
    session.config.stash[_report] = text.getvalue()
    return result


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the report, if there is one: a run that was cut short has none."""
    if _report in config.stash:
        terminalreporter.section("branch coverage")
        terminalreporter.write(config.stash[_report])
