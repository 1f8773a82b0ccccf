"""The order of members by rank, against sorting, and its cost."""

import math

import hypothesis.strategies as st
import pytest
from hypothesis import given

from flowgate.policies._order import Order

STEPS = st.lists(st.tuples(st.sampled_from(["put", "discard", "halve"]), st.integers(0, 9), st.integers(0, 5)))


@given(steps=STEPS)
def test_least_comes_first_and_equals_in_order(steps: list[tuple[str, int, int]]) -> None:
    """The least rank comes first, among equals the one put first; and tombstones never outnumber members."""
    order: Order[int] = Order()
    model: dict[int, int] = {}
    for what, member, rank in steps:
        if what == "put":
            order.put(member, rank)
            model.pop(member, None)
            model[member] = rank
        elif what == "discard":
            order.discard(member)
            model.pop(member, None)
        else:
            model = {one: rank // 2 for one, rank in model.items()}
            order.rerank(model.__getitem__)
        assert len(order) == len(model)
        assert len(order._heap) <= 2 * len(model)
        if model:
            assert order.least() == min(model, key=model.__getitem__)
            assert order.stalest() == next(iter(model))


class Counted:
    """A rank that counts comparisons."""

    count = 0

    def __init__(self, value: int) -> None:
        self.value = value

    def __lt__(self, other: "Counted") -> bool:
        Counted.count += 1
        return self.value < other.value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Counted) and self.value == other.value

    __hash__ = None


@pytest.mark.parametrize("members", [10, 1_000, 10_000])
def test_comparisons_grow_with_the_logarithm(members: int) -> None:
    """To move the least behind all others takes O(log n) comparisons."""
    order: Order[int] = Order()
    for member in range(members):
        order.put(member, Counted(member))
    Counted.count = 0
    for rank in range(members, members + 1_000):
        order.put(order.least(), Counted(rank))
    assert Counted.count <= 1_000 * (2 * math.log2(members) + 2)
