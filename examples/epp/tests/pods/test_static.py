"""Pods that stand in the configuration."""

import asyncio

import pytest

from flowgate.configfile import ConfigError, load_record
from flowgate_epp.pods import PodEntry, StaticPods


def test_it_tells_of_its_pods_and_stays(follow):
    """One telling, with everything that an entry says."""

    async def scenario():
        source = StaticPods(
            pods=(
                PodEntry("a", "10.0.0.1", 8000, namespace="prod", labels={"zone": "eu"}),
                PodEntry("b", "[fd00::2]", 80),
            )
        )
        async with follow(source) as followed:
            await followed.until(["a", "b"])
            first, second = followed.store.pods
            assert (first.namespace, first.labels, first.endpoint) == ("prod", {"zone": "eu"}, "10.0.0.1:8000")
            assert second.endpoint == "[fd00::2]:80"
        assert followed.told == [["a", "b"]]

    asyncio.run(scenario())


def test_no_pods_are_a_pool_too(follow):
    """It is synced."""

    async def scenario():
        async with follow(StaticPods(pods=())) as followed:
            await followed.until([])

    asyncio.run(scenario())


def test_it_is_read_from_a_configuration():
    """A list of tables."""
    source = load_record(
        StaticPods, {"pods": [{"name": "a", "address": "10.0.0.1", "port": 8000, "labels": {"x": "y"}}]}
    )
    assert source == StaticPods(pods=(PodEntry("a", "10.0.0.1", 8000, labels={"x": "y"}),))


@pytest.mark.parametrize(
    ("entry", "path", "message"),
    [
        (
            {"address": "model-a"},
            "pods[0].address",
            "must be an IP address, for Envoy resolves no names, not 'model-a'",
        ),
        (
            {"address": "fe80::1%eth0"},
            "pods[0].address",
            "must be an IP address, for Envoy resolves no names, not 'fe80::1%eth0'",
        ),
        ({"address": "http://x"}, "pods[0].address", "must be an IP address or a host name, without scheme and port"),
        ({"port": 0}, "pods[0].port", "must lie in 1..65535, not 0"),
        ({"port": "http"}, "pods[0].port", 'expected an integer, not "http"'),
        ({"name": ""}, "pods[0].name", "must not be empty"),
        ({"labels": {"x": 1}}, "pods[0].labels.x", "expected a text, not 1"),
    ],
)
def test_mistakes_name_place_value_and_rule(entry, path, message):
    """As everywhere in the configuration."""
    with pytest.raises(ConfigError) as caught:
        load_record(StaticPods, {"pods": [{"name": "a", "address": "10.0.0.1", "port": 8000, **entry}]})
    assert [problem.path for problem in caught.value.problems] == [path]
    assert message in caught.value.problems[0].message


def test_two_pods_at_one_endpoint_are_refused():
    """In any spelling: Envoy could not tell them apart."""
    with pytest.raises(
        ValueError, match=r'pods must differ in address and port, but "a" and "b" are both at \[fd00::1\]:80'
    ):
        StaticPods(pods=(PodEntry("a", "fd00:0::1", 80), PodEntry("b", "fd00::1", 80)))
    StaticPods(pods=(PodEntry("a", "fd00::1", 80), PodEntry("b", "fd00::1", 81)))
