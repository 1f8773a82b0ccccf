"""A metrics page, read as it comes in."""

import time
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from flowgate_epp.scraping._page import PageError, PageReader

NAMES = ("queue", "queue_length", "use:perc")


def read(page, names=NAMES, size=10_000_000, max_bytes=10_000_000):
    reader = PageReader(names, max_bytes)
    data = page if isinstance(page, bytes) else page.encode()
    for start in range(0, len(data), size):
        reader.feed(data[start : start + size])
    return reader.finish()


PAGE = """\
# HELP queue How long the queue is; queue_length is another.
# TYPE queue gauge
queue{model="a",note="queue 7 \\"x\\""} 3.0
queue{model="b"} 4 1700000000000
queues 9
a_queue 9
other{name="queue"} 9
# TYPE queue_length gauge
#TYPE use:perc gauge
# a comment on use:perc
 use:perc 9
use:perc\t0.5"""


@pytest.mark.parametrize("size", [1, 2, 7, 64, 10_000])
def test_it_finds_the_series_asked_for_in_pieces_of_any_size(size):
    """And those alone, with their labels; the last line may lack its end."""
    page = read(PAGE, size=size)
    assert page.series == {
        "queue": [({"model": "a", "note": 'queue 7 "x"'}, 3.0), ({"model": "b"}, 4.0)],
        "use:perc": [({}, 0.5)],
    }
    assert page.declared == {"queue", "queue_length", "use:perc"}


def test_an_empty_page_says_nothing():
    """Nor does one without what is asked for."""
    for text in ("", "\n\n", "up 1\n"):
        page = read(text)
        assert (page.series, page.declared) == ({}, frozenset())


@given(
    lines=st.lists(
        st.tuples(
            st.sampled_from(["queue", "queue_length", "queues", "use:perc", "# TYPE queue", "x"]),
            st.sampled_from(["", '{a="queue"}', '{a="b",c="\\n use:perc"}']),
            st.integers(0, 9),
        )
    ),
    size=st.integers(1, 40),
)
def test_it_finds_what_a_parser_of_the_whole_page_finds(lines, size):
    """Whatever stands between."""
    text = "".join(
        f"{name} gauge\n" if name.startswith("#") else f"{name}{labels} {value}\n" for name, labels, value in lines
    )
    expected = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name in NAMES:
                expected.setdefault(sample.name, []).append((sample.labels, sample.value))
    found = read(text, size=size).series
    # The parser of a whole page gathers what belongs together.
    assert {name: sorted(map(str, series)) for name, series in found.items()} == {
        name: sorted(map(str, series)) for name, series in expected.items()
    }


@given(data=st.binary(max_size=300), size=st.integers(1, 50))
def test_no_page_breaks_it(data, size):
    """It is read, or refused with one kind of error."""
    with suppress(PageError):
        page = read(b"queue" + data, size=size)
        assert set(page.series) <= page.declared <= set(NAMES)


@pytest.mark.parametrize(
    ("page", "message"),
    [
        (b"queue 1\n" * 501, "more than 500 series"),
        (b'queue{a="' + b"x" * 40_000 + b'"} 1\nqueue{a="' + b"y" * 40_000 + b'"} 1\n', "or 65536 bytes"),
        (b"x" * 70_000, "has a line of more than 65536 bytes"),
        (b"# x\n" * 300_000, "is longer than 1000000 bytes"),
        (b"queue one\n", "cannot be read: could not convert string to float"),
        (b"queue{ 1\n", "cannot be read"),
        (b'queue{a="\xff"} 1\n', "cannot be read"),
    ],
    ids=["series", "kept bytes", "line", "bytes", "value", "labels", "no UTF-8"],
)
def test_a_page_costs_no_more_than_is_allowed(page, message):
    """Whoever writes it."""
    with pytest.raises(PageError, match=message):
        read(page, size=65_536, max_bytes=1_000_000)


def test_a_long_page_costs_little():
    """A page as long as an engine's is read a hundred times quicker than all of it is parsed."""
    bucket = 'seconds_bucket{engine="0",le="0.5",model_name="a/model-of-some-name"} 7.0\n'
    page = (bucket * 1_200 + "queue 1\n" + bucket * 1_200).encode()
    started = time.perf_counter()
    for _ in range(20):
        assert read(page, size=65_536).series == {"queue": [({}, 1.0)]}
    per_page = (time.perf_counter() - started) / 20
    started = time.perf_counter()
    list(text_string_to_metric_families(page.decode()))
    assert per_page * 20 < time.perf_counter() - started
