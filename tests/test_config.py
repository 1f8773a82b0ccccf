"""A configuration is valid once it exists: each mistake is told in one sentence, with the value and the rule."""

from typing import Any

import pytest

from flowgate import FlowControlConfig, Pod, PriorityBandConfig
from flowgate.policies import EarliestDeadlineFirst, RoundRobin
from flowgate.queues import ListQueue

BAD_BANDS: list[tuple[dict[str, Any], str]] = [
    ({"priority": "high"}, "priority must be an int, not 'high'"),
    ({"name": 3}, "name must be a str, not 3"),
    ({"displace": "yes"}, "displace must be a bool, not 'yes'"),
    ({"max_requests": -1}, "max_requests must be 0 or more, not -1"),
    ({"max_bytes": 1.5}, "max_bytes must be an int, not 1.5"),
    ({"mode": "drop"}, "mode must be one of 'queue', 'shed', not 'drop'"),
    ({"dispatch": EarliestDeadlineFirst}, "dispatch must be an object, not the class EarliestDeadlineFirst itself"),
    ({"fairness": RoundRobin}, "fairness must be an object, not the class RoundRobin itself"),
    ({"fairness": object()}, "fairness must have new_group or select_queue"),
    ({"queue": ListQueue, "dispatch": EarliestDeadlineFirst()}, "'edf' requires a queue that promises PRIORITY"),
    ({"queue": list}, "queue must be a queue class with capabilities"),
]

BAD_CONFIGS: list[tuple[dict[str, Any], str]] = [
    ({"bands": [0]}, "bands must hold PriorityBandConfigs, not 0"),
    ({"bands": [PriorityBandConfig(1), PriorityBandConfig(1)]}, r"bands lists the priorities \[1\] more than once"),
    ({"bands": [], "default_band": None}, "every request would be invalid"),
    ({"bands": [PriorityBandConfig(0), PriorityBandConfig(1)], "max_bands": 1}, "2 priorities, and max_bands is 1"),
    ({"default_band": 0}, "default_band must be a PriorityBandConfig or None, not 0"),
    ({"default_ttl": float("nan")}, "default_ttl must be more than 0 seconds, not nan"),
    ({"no_pods_ttl": "60"}, "no_pods_ttl must be a number of seconds, not '60'"),
    ({"poll_interval": float("inf")}, "poll_interval must be finite, not inf"),
    ({"max_flows": 0}, "max_flows must be 1 or more, not 0"),
    ({"hol_scope": "all"}, "hol_scope must be one of 'candidates', 'pool', not 'all'"),
]


@pytest.mark.parametrize(("values", "message"), BAD_BANDS)
def test_a_band_with_a_mistake_is_refused(values: dict[str, Any], message: str) -> None:
    """The error names the field or policy, the value and the rule."""
    with pytest.raises((TypeError, ValueError), match=message):
        PriorityBandConfig(**({"priority": 0} | values))


@pytest.mark.parametrize(("values", "message"), BAD_CONFIGS)
def test_a_configuration_with_a_mistake_is_refused(values: dict[str, Any], message: str) -> None:
    """The same, for the whole."""
    with pytest.raises((TypeError, ValueError), match=message):
        FlowControlConfig(**values)


def test_the_metrics_of_a_pod_are_a_record() -> None:
    """Whatever else is given as metrics is refused by name."""
    with pytest.raises(TypeError, match=r"a pod's metrics must be PodMetrics or None, not 0\.5"):
        Pod("a", "10.0.0.1", 80, metrics=0.5)  # type: ignore[arg-type]


@pytest.mark.parametrize("field", ["default_ttl", "no_pods_ttl", "poll_interval"])
def test_a_time_that_no_float_can_hold_is_refused(field: str) -> None:
    """An int may be larger than any float, and is not infinite."""
    with pytest.raises(ValueError, match=f"{field} must be a time that a float can hold, not 1000"):
        FlowControlConfig(**{field: 10**400})
