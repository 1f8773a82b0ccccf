"""The table of metrics is complete, and is the documentation."""

import re
import runpy

import pytest

from flowgate_epp.telemetry import METRICS, markdown_table
from flowgate_epp.telemetry._samples import SAMPLES
from flowgate_epp.telemetry._series import Histogram


def test_every_metric_of_the_table_is_told_and_no_other() -> None:
    assert list(SAMPLES) == list(METRICS)


def test_names_follow_prometheus_conventions() -> None:
    for metric in METRICS.values():
        assert re.fullmatch(r"[a-z][a-z_]*[a-z]", metric.name)
        assert metric.name.endswith("_total") == (metric.kind == "counter")
        assert bool(metric.buckets) == (metric.kind == "histogram")
        assert metric.meaning.endswith(".")
        assert list(metric.buckets) == sorted(set(metric.buckets))


def test_a_value_on_a_bound_counts_below_it() -> None:
    histogram = Histogram((1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 2.0, 2.5):
        histogram.observe(value)
    assert (histogram.counts, histogram.total) == ([2, 2, 1], 7.5)


def test_the_program_prints_the_table_with_a_row_for_each(capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_module("flowgate_epp.telemetry", run_name="__main__")
    printed = capsys.readouterr().out
    assert printed == markdown_table()
    rows = [line for line in printed.splitlines() if line.startswith("| `flowgate_")]
    assert len(rows) == len(METRICS)
    assert all(row.count(" | ") == 5 for row in rows)
