import random
from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowgate.testing import make_pods
from flowgate_epp.scheduling import MaxScore, Picker, WeightedRandom

ROUNDS = 6_000


def shares(picker: Picker, scores: list[float]) -> list[float]:
    scored = list(zip(make_pods(len(scores)), scores, strict=True))
    counts = Counter(picker.pick(scored) for _ in range(ROUNDS))
    return [counts[pod] / ROUNDS for pod, _ in scored]


def test_the_best_goes() -> None:
    assert shares(MaxScore(), [0.2, 1.5, 1.4]) == [0.0, 1.0, 0.0]


def test_ties_are_broken_alike_for_all() -> None:
    one, none, other, third = shares(MaxScore(random.Random(7)), [1.0, 0.5, 1.0, 1.0])
    assert none == 0.0
    assert [one, other, third] == pytest.approx([1 / 3] * 3, abs=0.03)


def test_sums_that_differ_by_rounding_tie() -> None:
    assert min(shares(MaxScore(random.Random(7)), [0.1 + 0.2 + 0.3, 0.3 + 0.2 + 0.1])) > 0.4


def test_the_better_the_likelier() -> None:
    assert shares(WeightedRandom(random.Random(7)), [1.0, 0.0, 3.0]) == pytest.approx([0.25, 0.0, 0.75], abs=0.03)


def test_where_nobody_scores_all_are_as_likely() -> None:
    assert shares(WeightedRandom(random.Random(7)), [0.0, 0.0]) == pytest.approx([0.5, 0.5], abs=0.03)


def test_the_same_source_of_chance_makes_the_same_picks() -> None:
    assert shares(MaxScore(random.Random(3)), [1.0, 1.0]) == shares(MaxScore(random.Random(3)), [1.0, 1.0])


@pytest.mark.parametrize("picker", [MaxScore, WeightedRandom])
@given(scores=st.lists(st.floats(0.0, 100.0), min_size=2, max_size=20), seed=st.integers())
def test_it_picks_one_of_those_that_it_is_given(picker: Callable[..., Picker], scores: list[float], seed: int) -> None:
    scored = list(zip(make_pods(len(scores)), scores, strict=True))
    pod = picker(random.Random(seed)).pick(scored)
    assert pod in dict(scored)
    if picker is MaxScore:
        assert dict(scored)[pod] >= max(scores) - 1e-9
    elif any(scores):
        assert dict(scored)[pod] > 0


def test_pickers_keep_their_contract_and_say_their_names() -> None:
    assert isinstance(MaxScore(), Picker)
    assert isinstance(WeightedRandom(), Picker)
    assert [MaxScore().name, WeightedRandom().name] == ["max-score", "weighted-random"]


def test_a_source_of_chance_is_a_random_number_generator() -> None:
    with pytest.raises(TypeError, match="rng must be a Random, not 5"):
        MaxScore(5)  # type: ignore[arg-type]
