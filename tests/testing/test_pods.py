"""The pods of a test come and go as it says, and everybody concerned hears of it."""

import pytest

from flowgate import Pod, PodMetrics
from flowgate.testing import PodPool, make_pods

METRICS = PodMetrics(waiting=1, running=2, kv_cache_usage=0.5, updated_at=0.0)


def names(pods: PodPool) -> list[str]:
    return [pod.name for pod in pods]


def test_pods_are_made_by_number_or_by_name() -> None:
    assert make_pods(0) == ()
    assert [pod.name for pod in make_pods(3)] == ["pod-1", "pod-2", "pod-3"]
    assert [pod.name for pod in make_pods(["b", "a"])] == ["b", "a"]


def test_pods_have_addresses_of_their_own() -> None:
    assert len({pod.endpoint for pod in make_pods(70_000)}) == 70_000


def test_a_negative_number_of_pods_is_refused() -> None:
    with pytest.raises(ValueError, match="0 or more, not -1"):
        make_pods(-1)
    with pytest.raises(ValueError, match="0 or more, not -1"):
        PodPool().scale(-1)


def test_a_pool_begins_with_what_it_is_given() -> None:
    kept = Pod("mine", "192.0.2.1", 80)
    assert names(PodPool()) == []
    assert names(PodPool(2)) == ["pod-1", "pod-2"]
    assert names(PodPool(["fast", "slow"])) == ["fast", "slow"]
    assert list(PodPool([kept])) == [kept]
    assert len(PodPool(2)) == 2


def test_a_name_is_taken_once() -> None:
    pods = PodPool(["a"])
    with pytest.raises(ValueError, match="'a' is there already"):
        pods.add("a")
    assert names(pods) == ["a"]


def test_a_pod_that_comes_again_is_another_one() -> None:
    pods = PodPool(1)
    first = pods["pod-1"]
    pods.remove(first)
    assert pods.add().name == "pod-2"
    assert pods.add("pod-1") != first


def test_who_is_not_there_cannot_be_taken_away() -> None:
    pods = PodPool(["a", "b"])
    with pytest.raises(KeyError, match="no pod is named 'c'; there are: a, b"):
        pods.remove("c")
    with pytest.raises(KeyError, match="none at all"):
        PodPool().report("a", METRICS)


def test_scaling_takes_the_newest_away() -> None:
    pods = PodPool(["a", "b", "c"])
    pods.scale(1)
    assert names(pods) == ["a"]
    pods.scale(3)
    assert names(pods) == ["a", "pod-4", "pod-5"]


def test_a_pod_says_what_a_test_lets_it_say() -> None:
    pods = PodPool()
    pod = pods.add("a", labels={"zone": "eu"}, metrics=METRICS)
    assert (pod.labels, pod.metrics) == ({"zone": "eu"}, METRICS)
    assert pods.add(address="::1", port=80).endpoint == "[::1]:80"
    assert pods.report("a", None).metrics is None
    assert pods.report(pod, METRICS) == pod
    assert pods["a"].metrics is METRICS


def test_each_change_is_announced_once() -> None:
    pods, heard = PodPool(), []
    unsubscribe = pods.subscribe(lambda changed=None: heard.append((len(pods.locate({})), changed)))
    pods.add()
    pods.scale(3)
    reported = pods.report("pod-3", METRICS)
    pods.remove("pod-1")
    assert heard == [(1, None), (3, None), (3, (reported,)), (2, None)]
    unsubscribe()
    pods.scale(0)
    assert len(heard) == 4


def test_all_requests_share_one_lane() -> None:
    pods = PodPool(2)
    assert pods.selection_key({"a": 1}) == pods.selection_key({})
    assert pods.locate({"a": 1}) == tuple(pods)


def test_a_pool_shows_its_names() -> None:
    assert repr(PodPool(["a", "b"])) == "PodPool(['a', 'b'])"
