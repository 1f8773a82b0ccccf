"""Queries ask for metrics and labels that there are."""

import json
import re

import pytest
import yaml

from flowgate_epp.telemetry import METRICS

_TARGET = {"namespace", "instance", "job"}
"""Labels that Prometheus adds by where it has read."""
_NAMES = re.compile(r"flowgate_\w+")
_MATCHERS = re.compile(r"(flowgate_\w+)\{([^}]*)\}")
_GROUPS = re.compile(r"\b(?:by|without|on|ignoring)\s*\(([^)]*)\)")


def labels_of(name):
    """Return the labels of a series that is told, its target's included; KeyError when nobody tells it."""
    for suffix in ("_bucket", "_sum", "_count"):
        base = METRICS.get(name.removeprefix("flowgate_").removesuffix(suffix))
        if name.endswith(suffix) and base is not None and base.kind == "histogram":
            return {*base.labels, *_TARGET} | ({"le"} if suffix == "_bucket" else set())
    metric = METRICS[name.removeprefix("flowgate_")]
    assert metric.kind != "histogram", f"{name} is a histogram"
    return {*metric.labels, *_TARGET}


def check(query, legend=""):
    query = re.sub(r"\s+", " ", query)
    names = _NAMES.findall(query)
    assert names
    common = set.union(*(labels_of(name) for name in names))
    for name, matchers in _MATCHERS.findall(query):
        matched = {re.split(r"=~|!=|!~|=", each)[0].strip() for each in matchers.split(",") if each.strip()}
        assert matched <= labels_of(name), (name, matched)
    groups = [set(filter(None, re.split(r"[,\s]+", group))) for group in _GROUPS.findall(query)]
    for group in groups:
        assert group <= common, query
    for counted in re.findall(r"\b(?:rate|increase)\((flowgate_\w+)", query):
        assert counted.endswith(("_total", "_bucket", "_sum", "_count")), counted
    for name in names:
        if name.endswith("_total"):
            assert re.search(rf"\b(?:rate|increase)\({name}\b", query), f"{name} only ever grows"
    if "histogram_quantile" in query:
        assert any("le" in group for group in groups), query
    told = set.union(set(), *groups)
    assert set(re.findall(r"\{\{\s*(\w+)\s*\}\}", legend)) <= told, legend


def panels(manifests):
    return json.loads((manifests / "monitoring/dashboard.json").read_text("utf-8"))["panels"]


def rules(manifests):
    text = (manifests / "monitoring/alerts.yaml").read_text("utf-8")
    return [rule for group in yaml.safe_load(text)["groups"] for rule in group["rules"]]


def test_the_dashboards_queries_are_of_metrics_that_are_told(manifests):
    for panel in panels(manifests):
        for target in panel["targets"]:
            check(target["expr"], target["legendFormat"])
            assert 'namespace="$namespace"' in target["expr"]


def test_the_dashboards_panels_do_not_overlap_and_explain_themselves(manifests):
    taken = set()
    for panel in panels(manifests):
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken
        assert place["x"] + place["w"] <= 24
        assert panel["description"].endswith((".", "?"))
        taken |= cells
    assert len({panel["id"] for panel in panels(manifests)}) == len(panels(manifests))


def test_alerts_are_of_metrics_that_are_told_and_say_what_to_do(manifests):
    for rule in rules(manifests):
        check(rule["expr"])
        assert rule["labels"].keys() == {"severity"}
        assert rule["annotations"].keys() == {"summary", "action"}


def test_every_alert_has_a_test_that_fires_it(manifests):
    text = (manifests / "monitoring/alerts_test.yaml").read_text("utf-8")
    cases = [case for test in yaml.safe_load(text)["tests"] for case in test["alert_rule_test"]]
    fired = {case["alertname"] for case in cases if case["exp_alerts"]}
    assert fired == {rule["alert"] for rule in rules(manifests)}


def test_the_series_of_alert_tests_are_such_as_are_told(manifests):
    text = (manifests / "monitoring/alerts_test.yaml").read_text("utf-8")
    for test in yaml.safe_load(text)["tests"]:
        for each in test["input_series"]:
            name, matchers = re.fullmatch(r"(\w+)\{(.*)\}", each["series"]).groups()
            labels = set(re.findall(r"(\w+)=\"", matchers))
            assert labels <= labels_of(name) | {"pod"}, each["series"]


def test_keda_asks_prometheus_for_metrics_that_are_told(overlay):
    for each in overlay.all("ScaledObject"):
        (trigger,) = each["spec"]["triggers"]
        if trigger["type"] == "prometheus":
            check(trigger["metadata"]["query"])


@pytest.mark.parametrize(
    "query",
    [
        "sum(flowgate_nonsense)",
        "sum by (colour) (flowgate_queue_size)",
        'sum(flowgate_queue_size{pod="a"})',
        "sum(flowgate_requests_total)",
        "sum(rate(flowgate_queue_size[5m]))",
        "sum(flowgate_request_queue_duration_seconds)",
        "histogram_quantile(0.9, sum(rate(flowgate_pick_duration_seconds_bucket[5m])))",
    ],
)
def test_the_check_finds_what_is_wrong(query):
    with pytest.raises((AssertionError, KeyError)):
        check(query)
