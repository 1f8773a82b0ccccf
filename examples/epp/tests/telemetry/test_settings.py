"""Telemetry's part of the configuration."""

import pytest

from flowgate.configfile import ConfigError, load_record
from flowgate_epp.telemetry import LogSettings, MetricsSettings, TelemetrySettings, TracingSettings


def test_all_of_it_is_read_from_a_file() -> None:
    settings = load_record(
        TelemetrySettings,
        {
            "metrics": {"names": ["llm-d", "flowgate"], "flows": ["a"], "max_label_values": 5},
            "log": {"requests": "all", "format": "console"},
            "tracing": {"enabled": True, "endpoint": "http://collector:4317"},
        },
    )
    assert settings == TelemetrySettings(
        MetricsSettings(names=("llm-d", "flowgate"), flows=("a",), max_label_values=5),
        LogSettings(requests="all", format="console"),
        TracingSettings(enabled=True, endpoint="http://collector:4317"),
    )


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"metrics": {"names": []}}, "names: must hold at least one name, and each once, not []"),
        ({"metrics": {"names": ["llm-d", "llm-d"]}}, "each once"),
        ({"metrics": {"names": ["prometheus"]}}, '"prometheus"'),
        ({"metrics": {"flows": [""]}}, "flows: must hold names that are not empty, not ''"),
        ({"metrics": {"max_label_values": 0}}, "max_label_values: must be 1 or more, not 0"),
        ({"log": {"level": "loud"}}, '"loud"'),
    ],
)
def test_what_is_wrong_is_told_with_its_name_value_and_rule(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        load_record(TelemetrySettings, wrong)
    assert message in str(error.value)


def test_names_are_checked_without_a_file_too() -> None:
    with pytest.raises(ValueError, match=r"names\[1\] must be one of 'flowgate'.*, not 'x'"):
        MetricsSettings(names=("flowgate", "x"))  # type: ignore[arg-type]
