"""What goes to a terminal."""

from flowgate.commands._plain import printable


def test_a_long_text_is_cut() -> None:
    assert printable("x" * 501) == "x" * 500 + "…"
    assert printable("x" * 500) == "x" * 500


def test_what_is_not_printable_is_escaped_and_the_rest_stays() -> None:
    assert printable("ä\u202e\x07\n") == "ä\\u202e\\x07\\n"
