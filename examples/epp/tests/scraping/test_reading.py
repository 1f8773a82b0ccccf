"""From pages to metrics: the engines' own pages, and tables of one's own."""

import pytest

from flowgate.configfile import ConfigError, load_record
from flowgate_epp.scraping import PRESETS, MetricNames
from flowgate_epp.scraping._names import Series
from flowgate_epp.scraping._page import PageError, PageReader
from flowgate_epp.scraping._reading import metrics_of, names_in


def read(text, names):
    reader = PageReader(names_in(names), 1_000_000)
    reader.feed(text.encode())
    return metrics_of(reader.finish(), names, asked_at=100.0)


def values(text, names):
    metrics = read(text, names)
    assert metrics.updated_at == 100.0
    return metrics.waiting, metrics.running, metrics.kv_cache_usage


VLLM = """\
# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="m"} 8.0
# HELP vllm:num_requests_waiting Number of requests waiting to be processed.
# TYPE vllm:num_requests_waiting gauge
vllm:num_requests_waiting{engine="0",model_name="m"} 3.0
# HELP vllm:kv_cache_usage_perc KV-cache usage. 1 means 100 percent usage.
# TYPE vllm:kv_cache_usage_perc gauge
vllm:kv_cache_usage_perc{engine="0",model_name="m"} 0.25
vllm:num_requests_waiting_by_reason{reason="capacity"} 99.0
"""
SGLANG = """\
# TYPE sglang:token_usage gauge
sglang:token_usage{model_name="m",tp_rank="0"} 0.28
# TYPE sglang:num_running_reqs gauge
sglang:num_running_reqs{model_name="m",tp_rank="0"} 6.0
# TYPE sglang:num_queue_reqs gauge
sglang:num_queue_reqs{model_name="m",tp_rank="0"} 2.0
"""
TRTLLM = """\
trtllm_num_requests_waiting{engine_type="trtllm"} 4
trtllm_num_requests_running{engine_type="trtllm"} 5
trtllm_kv_cache_utilization{engine_type="trtllm"} 0.62
"""
TRITON = """\
# TYPE nv_trt_llm_request_metrics gauge
nv_trt_llm_request_metrics{model="tensorrt_llm",request_type="waiting",version="1"} 2
nv_trt_llm_request_metrics{model="tensorrt_llm",request_type="scheduled",version="1"} 7
nv_trt_llm_request_metrics{model="tensorrt_llm",request_type="max",version="1"} 512
nv_trt_llm_request_metrics{model="tensorrt_llm",request_type="active",version="1"} 9
nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type="tokens_per",model="tensorrt_llm",version="1"} 64
nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type="fraction",model="tensorrt_llm",version="1"} 0.125
nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type="max",model="tensorrt_llm",version="1"} 6239
"""


@pytest.mark.parametrize(
    ("engine", "page", "expected"),
    [
        ("vllm", VLLM, (3, 8, 0.25)),
        ("vllm", VLLM.replace("kv_cache_usage", "gpu_cache_usage"), (3, 8, 0.25)),
        ("sglang", SGLANG, (2, 6, 0.28)),
        ("trtllm-serve", TRTLLM, (4, 5, 0.62)),
        ("triton-tensorrt-llm", TRITON, (2, 7, 0.125)),
    ],
)
def test_it_reads_the_pages_of_known_engines(engine, page, expected):
    """Today's names, and vLLM's older one."""
    assert values(page, PRESETS[engine]) == expected


def test_the_newer_of_two_names_wins():
    """A page may have both."""
    page = VLLM + 'vllm:gpu_cache_usage_perc{engine="0"} 0.9\n'
    assert read(page, PRESETS["vllm"]).kv_cache_usage == 0.25


def test_several_models_and_ranks_are_one_pod():
    """Their requests are summed; of their caches the fullest counts."""
    page = VLLM + VLLM.replace('engine="0"', 'engine="1"').replace("0.25", "0.75")
    assert values(page, PRESETS["vllm"]) == (6, 16, 0.75)


def test_a_selector_narrows_by_label():
    """An engine that tells of every rank, each with the whole queue, is read at one of them."""
    page = 'q{rank="0",x="y"} 3\nq{rank="1",x="y"} 3\nq{x="y"} 100\n'
    assert read(page, MetricNames(waiting=('q{rank="0"}',))).waiting == 3
    assert read(page, MetricNames(waiting=("q{rank=1, x=y}",))).waiting == 3
    assert read(page, MetricNames(waiting=("q",))).waiting == 106


@pytest.mark.parametrize("engine", ["sglang", "trtllm-serve"])
def test_engines_that_declare_nothing_before_their_first_request_are_idle(engine):
    """Or they would never get it."""
    assert values("", PRESETS[engine]) == (0, 0, 0.0)


def test_a_name_that_is_declared_without_series_is_idle():
    """So Prometheus' client writes gauges of several processes that none has set yet."""
    page = "".join(f"{line}\n" for line in VLLM.splitlines() if line.startswith("#"))
    assert values(page, PRESETS["vllm"]) == (0, 0, 0.0)
    assert values(page + 'vllm:num_requests_waiting{engine="0"} 2\n', PRESETS["vllm"]) == (2, 0, 0.0)


@pytest.mark.parametrize(
    ("engine", "page", "missing"),
    [
        ("vllm", SGLANG, "vllm:num_requests_waiting"),
        ("vllm", VLLM.replace("cache_usage", "cache_use"), "vllm:kv_cache_usage_perc or vllm:gpu_cache_usage_perc"),
        (
            "triton-tensorrt-llm",
            TRITON.replace("waiting", "queued"),
            'nv_trt_llm_request_metrics{request_type="waiting"}',
        ),
    ],
)
def test_another_engines_page_is_refused(engine, page, missing):
    """It would look idle for ever; also where only the label is another."""
    with pytest.raises(PageError, match="its metrics page has no ") as caught:
        read(page, PRESETS[engine])
    assert missing in str(caught.value)


def test_what_an_engine_does_not_tell_is_0():
    """Its table says so by an empty list."""
    assert values("q 3\n", MetricNames(waiting=("q",))) == (3, 0, 0.0)


@pytest.mark.parametrize(
    ("text", "unit", "usage"), [("37.5", "percent", 0.375), ("1.0001", "share", 1.0), ("100.2", "percent", 1.0)]
)
def test_use_is_told_as_a_share(text, unit, usage):
    """Percent are converted, and what was rounded up is cut."""
    names = MetricNames(waiting=("q",), kv_cache_usage=("u",), usage_in=unit)
    assert read(f"q 0\nu {text}\n", names).kv_cache_usage == usage


@pytest.mark.parametrize(
    ("page", "message"),
    [
        ("q 0\nu 37.5\n", "its cache's use must lie in 0..1, not 37.5: is it told in percent?"),
        ("q -1\nu 0\n", "q must be 0 or more and finite, not -1"),
        ("q NaN\nu 0\n", "q must be 0 or more and finite, not nan"),
        ("q +Inf\nu 0\n", "q must be 0 or more and finite, not inf"),
        ("q 0\nu NaN\n", "u must be 0 or more and finite, not nan"),
    ],
)
def test_values_without_sense_are_refused(page, message):
    """By name, value and rule."""
    with pytest.raises(PageError) as caught:
        read(page, MetricNames(waiting=("q",), kv_cache_usage=("u",)))
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("text", "series"),
    [
        ("vllm:x_y", Series("vllm:x_y", {})),
        ("a{}", Series("a", {})),
        ('a{b="c d", e = "", f=g}', Series("a", {"b": "c d", "e": "", "f": "g"})),
    ],
)
def test_series_are_written_as_in_prometheus(text, series):
    """Quotes may be left out."""
    assert Series.parse(text) == series


@pytest.mark.parametrize("text", ["", "1a", "a b", "a{", "a{b}", "a{b=}", "a{b=c", 'a{b="c"x}', "a{b=c,}"])
def test_other_writings_of_series_are_refused(text):
    """In the configuration, not at the first scrape."""
    with pytest.raises(ConfigError) as caught:
        load_record(MetricNames, {"waiting": [text]})
    assert f'waiting: must name series: a series is written name or name{{label="value"}}, not {text!r}' in str(
        caught.value
    )


def test_a_table_must_say_what_waits():
    """The rest may be missing."""
    with pytest.raises(ConfigError, match="waiting: must name a series"):
        load_record(MetricNames, {"waiting": []})
    with pytest.raises(ConfigError, match='absent: expected "failure" or "idle", not "zero"'):
        load_record(MetricNames, {"waiting": ["q"], "absent": "zero"})
