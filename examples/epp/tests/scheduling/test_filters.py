import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from flowgate import Pod
from flowgate.testing import run_in_virtual_time
from flowgate_epp.scheduling import Filter, FreshMetrics, InferenceRequest, LabelFilter

NewPod = Callable[..., Pod]
NewRequest = Callable[..., InferenceRequest]


def test_only_pods_that_serve_the_model_asked_for_are_left(new_pod: NewPod, new_request: NewRequest) -> None:
    pods = [new_pod(1, model="a"), new_pod(2, model="b"), new_pod(3)]
    assert LabelFilter("model").filter(new_request(model="b"), pods) == [pods[1]]


def test_a_header_may_ask_in_any_case(new_pod: NewPod, new_request: NewRequest) -> None:
    pods = [new_pod(1, adapter="a"), new_pod(2, adapter="b")]
    by_adapter = LabelFilter("adapter", "X-Adapter")
    assert by_adapter.filter(new_request({"x-adapter": "a"}, "b"), pods) == [pods[0]]


def test_a_request_that_does_not_ask_may_go_anywhere(new_pod: NewPod, new_request: NewRequest) -> None:
    pods = [new_pod(1, model="a"), new_pod(2)]
    assert LabelFilter("model").filter(new_request(), pods) == pods
    assert LabelFilter("model", "x-adapter").filter(new_request({"x-adapter": ""}, "a"), pods) == pods


def test_where_no_pod_has_the_label_the_settings_decide(new_pod: NewPod, new_request: NewRequest) -> None:
    pods = [new_pod(1, model="a")]
    assert LabelFilter("model").filter(new_request(model="b"), pods) == []
    assert LabelFilter("model", on_empty="pass").filter(new_request(model="b"), pods) == pods


def test_pods_that_were_not_heard_of_lately_are_left_out(new_pod: NewPod, new_request: NewRequest) -> None:
    pods = [new_pod(1, 0, at=8.0), new_pod(2, 0, at=7.9), new_pod(3)]
    assert FreshMetrics(2.0, clock=lambda: 10.0).filter(new_request(), pods) == [pods[0]]


def test_stale_news_of_all_is_better_than_no_pod(new_pod: NewPod, new_request: NewRequest) -> None:
    pods = [new_pod(1, 0, at=1.0), new_pod(2)]
    assert FreshMetrics(2.0, clock=lambda: 10.0).filter(new_request(), pods) == pods


def test_the_age_of_metrics_is_told_by_the_loop(new_pod: NewPod, new_request: NewRequest) -> None:
    async def main() -> None:
        pods = [new_pod(1, 0, at=0.0), new_pod(2, 0, at=3.0)]
        await asyncio.sleep(3.0)
        assert FreshMetrics(2.0).filter(new_request(), pods) == [pods[1]]

    run_in_virtual_time(main)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: LabelFilter(""), "label must not be empty"),
        (lambda: LabelFilter("a", ""), "header must not be empty"),
        (lambda: LabelFilter("a", on_empty="all"), "on_empty must be one of 'none', 'pass', not 'all'"),
        (lambda: FreshMetrics(0), "max_age must be more than 0 seconds, not 0"),
    ],
)
def test_a_bad_value_is_refused_with_its_rule(make: Callable[[], Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        make()


def test_a_header_that_is_no_text_is_refused() -> None:
    with pytest.raises(TypeError, match="header must be a str, not 5"):
        LabelFilter("a", 5)  # type: ignore[arg-type]


def test_filters_keep_their_contract_and_say_their_names() -> None:
    assert isinstance(LabelFilter("model"), Filter)
    assert isinstance(FreshMetrics(), Filter)
    assert [LabelFilter("model").name, FreshMetrics().name] == ["label model", "fresh-metrics"]
