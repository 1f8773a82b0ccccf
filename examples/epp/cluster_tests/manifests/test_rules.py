"""Prometheus' own tool judges rules and queries."""

import json
import re
import subprocess
from pathlib import Path

import pytest
import yaml

DOCS = Path(__file__).parents[4] / "docs"


@pytest.fixture
def promtool(binaries, manifests):
    def run(*arguments):
        done = subprocess.run(
            [binaries / "promtool", *arguments],
            cwd=manifests / "monitoring",
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    return run


def test_the_alerts_are_valid_and_fire_when_they_should(promtool):
    code, said = promtool("check", "rules", "--lint-fatal", "alerts.yaml")
    assert code == 0, said
    code, said = promtool("test", "rules", "alerts_test.yaml")
    assert code == 0, said


def test_the_queries_of_dashboard_scaler_and_documentation_are_promql(promtool, manifests, tmp_path):
    page = (DOCS / "how-to" / "read-the-metrics.md").read_text("utf-8")
    queries = [
        line
        for block in re.findall(r"^```promql\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
        for line in block.splitlines()
    ]
    queries += re.findall(r"^\| `(flowgate_[^`]+)`", page, re.MULTILINE)
    assert len(queries) > 10
    board = json.loads((manifests / "monitoring/dashboard.json").read_text("utf-8"))
    queries += [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    scaled = yaml.safe_load((manifests / "components/keda-prometheus/scaled-object.yaml").read_text("utf-8"))
    queries += [trigger["metadata"]["query"] for trigger in scaled["spec"]["triggers"]]
    rules = [{"record": f"query:{number}", "expr": query} for number, query in enumerate(queries)]
    path = Path(tmp_path / "rules.yaml")
    path.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]}), "utf-8")
    code, said = promtool("check", "rules", str(path))
    assert code == 0, said


def test_a_burst_between_two_polls_wakes_the_pool_and_silence_lets_it_sleep(promtool, manifests, tmp_path):
    scaled = yaml.safe_load((manifests / "components/keda-prometheus/scaled-object.yaml").read_text("utf-8"))
    (trigger,) = scaled["spec"]["triggers"]
    query = trigger["metadata"]["query"].replace("NAMESPACE", "a")
    series = {
        'flowgate_queue_size{namespace="a", flow="f", priority="0", model=""}': "0x40 12 0x20",
        'flowgate_in_flight_requests{namespace="a", priority="0"}': "0x62",
        'flowgate_requests_total{namespace="a", outcome="dispatched", priority="0"}': "0x20 3x42",
        'flowgate_requests_total{namespace="a", outcome="evicted_no_pods", priority="0"}': "0x62",
    }
    asked = {"2m": [0], "3m30s": [1], "5m": [0], "6m50s": [12], "9m": [0]}
    tests = {
        "rule_files": [],
        "evaluation_interval": "10s",
        "tests": [
            {
                "interval": "10s",
                "input_series": [{"series": name, "values": values} for name, values in series.items()],
                "promql_expr_test": [
                    {
                        "expr": query,
                        "eval_time": time,
                        "exp_samples": [{"labels": "{}", "value": value} for value in values],
                    }
                    for time, values in asked.items()
                ],
            }
        ],
    }
    path = tmp_path / "test.yaml"
    path.write_text(yaml.safe_dump(tests), "utf-8")
    code, said = promtool("test", "rules", str(path))
    assert code == 0, said
