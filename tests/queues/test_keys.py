"""Taking a key without trusting its maker."""

import datetime
import decimal
import math
from fractions import Fraction
from operator import eq, ge, gt, le, lt, ne

import pytest

from flowgate.contracts import ItemComparator
from flowgate.queues import LAST, take_key
from flowgate.testing._items import SCORE, Item


class Odd:
    """A key whose comparison has no truth value."""

    def __ne__(self, other: object) -> bool:
        raise ArithmeticError("neither equal nor unequal")

    __hash__ = None


@pytest.mark.parametrize(
    ("score_type", "key"),
    [
        (float, 1.5),
        (float, math.inf),
        (float, 3),
        (int, 3),
        (bool, True),
        (str, "a"),
        (tuple, (1, "a")),
        (object, "a"),
        (decimal.Decimal, decimal.Decimal(1)),
    ],
)
def test_good_key_is_the_key(score_type: type, key: object) -> None:
    """A key of the comparator's type is taken as it is; an int passes for a float."""
    assert take_key(ItemComparator(score_type, SCORE.key), Item(score=key)) == (key, None)


@pytest.mark.parametrize(
    ("score_type", "key", "error"),
    [
        (float, math.nan, ValueError),
        (float, True, TypeError),
        (int, True, TypeError),
        (int, 1.0, TypeError),
        (float, None, TypeError),
        (float, "1.0", TypeError),
        (decimal.Decimal, decimal.Decimal("nan"), ValueError),
        (decimal.Decimal, decimal.Decimal("snan"), decimal.InvalidOperation),
        (tuple, (0, (1.0, math.nan)), ValueError),
        (Odd, Odd(), ArithmeticError),
        (list[int], [1], TypeError),
        (float, LookupError("no target"), LookupError),
    ],
)
def test_bad_key_is_last_and_says_why(score_type: type, key: object, error: type[Exception]) -> None:
    """Where the key raises, is NaN or of another type, the answer is LAST and the reason."""
    taken, reason = take_key(ItemComparator(score_type, SCORE.key), Item(score=key))
    assert taken is LAST
    assert type(reason) is error


def test_wrong_type_is_named() -> None:
    """The reason names the type that was due and the value that came."""
    _, reason = take_key(SCORE, Item(score="soon"))
    assert str(reason) == "a key must be of type float, not 'soon'"


def test_key_that_is_last_already_is_no_failure() -> None:
    """A comparator that reads a key taken earlier may answer LAST, and is not blamed again."""
    assert take_key(SCORE, Item(score=LAST)) == (LAST, None)


def test_cancellation_is_not_swallowed() -> None:
    """Only exceptions are failures of a key; what stops the program goes on."""

    def stop(item: object) -> float:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        take_key(ItemComparator(float, stop), Item())


@pytest.mark.parametrize(
    "key", [0, math.inf, "z", (9,), decimal.Decimal(9), Fraction(9), datetime.datetime.max, datetime.date.max], ids=repr
)
def test_last_is_greater_than_any_key(key: object) -> None:
    """LAST compares with every type of key from either side, and comes after it."""
    assert [compare(key, LAST) for compare in (lt, le, ne, ge, gt, eq)] == [True, True, True, False, False, False]
    assert [compare(LAST, key) for compare in (gt, ge, ne, le, lt, eq)] == [True, True, True, False, False, False]


def test_last_equals_itself() -> None:
    """Two items without a key tie, so that arrival decides."""
    assert [compare(LAST, LAST) for compare in (eq, le, ge, ne, lt, gt)] == [True, True, True, False, False, False]
    assert repr(LAST) == "LAST"
