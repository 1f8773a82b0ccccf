"""The scraper's settings."""

import pytest

from flowgate import Pod
from flowgate.configfile import ConfigError, load_record
from flowgate_epp.scraping import PRESETS, MetricNames, ScraperSettings


def test_everything_has_a_default():
    """vLLM's, five times a second."""
    settings = load_record(ScraperSettings, {})
    assert settings == ScraperSettings()
    assert (settings.interval, settings.engine, settings.max_bytes) == (0.2, "vllm", 4_194_304)
    assert settings.url_of(Pod("a", "10.0.0.1", 8000)) == "http://10.0.0.1:8000/metrics"


def test_tables_of_ones_own_come_before_the_known_ones(tmp_path):
    """From a file, by name."""
    path = tmp_path / "scraper.toml"
    path.write_text("""\
engine = "mine"
engine_label = "llm-d.ai/engine-type"
port = 9090
[tables.mine]
waiting = ['queue{state="waiting"}']
kv_cache_usage = ["cache"]
usage_in = "percent"
[tables.vllm]
waiting = ["other"]
""")
    settings = load_record(ScraperSettings, path)
    mine = MetricNames(waiting=('queue{state="waiting"}',), kv_cache_usage=("cache",), usage_in="percent")
    assert settings.engines == {**PRESETS, "mine": mine, "vllm": MetricNames(waiting=("other",))}
    plain, labelled = Pod("a", "fd00::1", 80), Pod("b", "10.0.0.1", 80, labels={"llm-d.ai/engine-type": "sglang"})
    assert [settings.engine_of(pod) for pod in (plain, labelled)] == ["mine", "sglang"]
    assert settings.url_of(plain) == "http://[fd00::1]:9090/metrics"


def test_without_a_label_no_pod_names_its_engine():
    """Whatever its labels are."""
    assert ScraperSettings().engine_of(Pod("a", "10.0.0.1", 80, labels={"None": "sglang"})) == "vllm"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"interval": 0}, "interval: must be more than 0 seconds, not 0"),
        ({"interval": float("inf")}, "interval: must be finite, not inf"),
        ({"jitter": 1.5}, "jitter: must lie in 0..1, not 1.5"),
        ({"timeout": 0}, "timeout: must be more than 0 seconds, not 0"),
        ({"max_pause": 0}, "max_pause: must be more than 0 seconds, not 0"),
        ({"max_rate": 0}, "max_rate: must be finite and more than 0, not 0"),
        ({"path": "metrics"}, "path: must begin with a slash and hold no spaces, not 'metrics'"),
        ({"path": "/a b"}, "path: must begin with a slash and hold no spaces, not '/a b'"),
        ({"port": 65536}, "port: must lie in 1..65535, not 65536"),
        ({"engine": "abacus"}, "engine: must be one of vllm, sglang, trtllm-serve, triton-tensorrt-llm, not 'abacus'"),
        ({"max_bytes": 0}, "max_bytes: must be 1 or more, not 0"),
        ({"tables": {"mine": {}}}, 'tables.mine: the key "waiting" is missing'),
    ],
)
def test_mistakes_name_value_and_rule(settings, message):
    """Before anything runs."""
    with pytest.raises(ConfigError) as caught:
        load_record(ScraperSettings, settings)
    assert message in str(caught.value)
