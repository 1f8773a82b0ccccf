import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from flowgate_epp.director import clean_id

ANY_TEXT = st.one_of(st.text(min_size=1), st.text(st.characters(codec=None), min_size=1), st.text("~0a_", min_size=1))


@pytest.mark.parametrize("text", ["a", "tenant-a", "team/42 (eu) ~ x", "x" * 128, "~"])
def test_a_short_printable_id_stays_as_it_is(text: str) -> None:
    assert clean_id(text) == text


@pytest.mark.parametrize(
    ("text", "beginning"),
    [
        ("x" * 129, "x" * 64),
        ("x" * 10_000, "x" * 64),
        ("caf\u00e9", "caf_"),
        ("a\r\nset-cookie: b", "a__set-cookie: b"),
        ("tab\there", "tab_here"),
        ("bad \ufffd bytes", "bad _ bytes"),
        ("\x00", "_"),
        ("\u202egnp.exe", "_gnp.exe"),
    ],
)
def test_any_other_keeps_a_readable_beginning_and_gets_a_digest(text: str, beginning: str) -> None:
    assert re.fullmatch(re.escape(beginning) + "~[0-9a-f]{16}", clean_id(text))


@given(ANY_TEXT)
@example("\ud800")
def test_an_id_is_short_printable_and_the_same_each_time(text: str) -> None:
    cleaned = clean_id(text)
    assert re.fullmatch(r"[ -~]{1,128}", cleaned)
    assert clean_id(text) == cleaned


@given(ANY_TEXT, ANY_TEXT)
@example("x" * 10_000 + "a", "x" * 10_000 + "b")
@example("caf\u00e9", "caf\u00e8")
@example("caf\u00e9", "caf_")
@example("\ud800", "\ufffd")
@example("\ud800", "\ud801")
@example("\ud800", "?")
def test_different_ids_stay_different(one: str, other: str) -> None:
    assert (clean_id(one) == clean_id(other)) == (one == other)


@given(ANY_TEXT)
@example("caf\u00e9")
def test_nobody_can_take_the_name_that_was_made_for_another(text: str) -> None:
    cleaned = clean_id(text)
    assert cleaned == text or clean_id(cleaned) != cleaned
