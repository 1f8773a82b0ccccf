"""Taking an item's key without trusting the policy that made it."""

from typing import Any, Final

from flowgate.contracts import ItemComparator, QueueItem

__all__ = ["LAST", "take_key"]


class _Last:
    """The type of `LAST`: greater than any key, equal to itself."""

    __slots__ = ()

    def __lt__(self, other: object) -> bool:
        return False

    def __le__(self, other: object) -> bool:
        return other is self

    def __gt__(self, other: object) -> bool:
        return other is not self

    def __ge__(self, other: object) -> bool:
        return True

    def __repr__(self) -> str:
        return "LAST"


LAST: Final = _Last()
"""The key of an item that has none: it sorts after every other key."""


# Any, because only the comparator's score_type says which ordered type it is.
def take_key(comparator: ItemComparator, item: QueueItem) -> tuple[Any, Exception | None]:
    """Take an item's key, whatever the comparator does.

    Called by queues when an item is added, and by the engine when it is enqueued, to report what went wrong. It costs
    one call of the key function.

    Returns:
        The key and None; or `LAST` and the reason, where the key raised, was NaN (or a tuple with a NaN in it), or is
        no instance of the comparator's score type. A key that is `LAST` already is no failure.
    """
    try:
        key, wanted = comparator.key(item), comparator.score_type
        if not (type(key) is wanted is float and key == key) and key is not LAST:  # noqa: PLR0124 - a NaN is not
            _check(key, wanted)
    except Exception as error:
        return LAST, error
    return key, None


def _check(key: object, score_type: type) -> None:
    if type(key) is not score_type and not _passes_for(key, score_type):
        raise TypeError(f"a key must be of type {score_type.__name__}, not {key!r}")
    if _is_nan(key):
        raise ValueError(f"a key must have a place in an order, and {key!r} has none")


def _passes_for(key: object, score_type: type) -> bool:
    if isinstance(key, bool) and score_type in (int, float):
        return False
    return isinstance(key, score_type) or (score_type is float and isinstance(key, int))


def _is_nan(key: object) -> bool:
    # By comparison, not math.isnan: a Decimal, or a type of the user's, may hold a NaN as well.
    if isinstance(key, tuple):
        return any(_is_nan(part) for part in key)  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    return bool(key != key)  # noqa: PLR0124 - a NaN is what differs from itself
