import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowgate import FlowKey, Pod, PodMetrics
from flowgate_epp.scheduling import (
    Closed,
    InferenceRequest,
    LeastInFlight,
    LeastKvCache,
    LeastQueue,
    Picked,
    PrefixAffinity,
    Scorer,
    SessionAffinity,
)

NewPod = Callable[..., Pod]
NewRequest = Callable[..., InferenceRequest]


def body(*parts: str) -> bytes:
    return b'{"prompt":' + "".join(part * 16 for part in parts).encode()


def test_the_shortest_queue_scores_best_and_an_unknown_one_neither_way(
    new_pod: NewPod, new_request: NewRequest
) -> None:
    pods = [new_pod(1, 4), new_pod(2, 2), new_pod(3, 3), new_pod(4)]
    assert LeastQueue().score(new_request(), pods) == [0.0, 1.0, 0.5, 0.5]


def test_equal_queues_score_alike(new_pod: NewPod, new_request: NewRequest) -> None:
    assert LeastQueue().score(new_request(), [new_pod(1, 7), new_pod(2, 7)]) == [1.0, 1.0]
    assert LeastQueue().score(new_request(), [new_pod(1), new_pod(2)]) == [0.5, 0.5]


def test_the_emptiest_cache_scores_best(new_pod: NewPod, new_request: NewRequest) -> None:
    pods = [new_pod(1, 0, kv=0.25), new_pod(2, 0, kv=1.0), new_pod(3)]
    assert LeastKvCache().score(new_request(), pods) == [0.75, 0.0, 0.5]


def test_what_is_in_flight_counts_from_pick_to_end(new_pod: NewPod, new_request: NewRequest) -> None:
    scorer, request, pods = LeastInFlight(), new_request(), [new_pod(1), new_pod(2), new_pod(3)]
    for pod in (pods[0], pods[0], pods[1]):
        scorer.picked(request, pod)
    assert scorer.score(request, pods) == [0.0, 0.5, 1.0]
    scorer.closed(pods[0])
    assert scorer.in_flight(pods[0]) == 1
    scorer.closed(pods[0])
    scorer.closed(pods[1])
    assert scorer.score(request, pods) == [1.0, 1.0, 1.0]
    assert not scorer._counts  # or pods that are gone would be remembered for ever


def test_a_session_stays_with_its_pod(new_pod: NewPod, new_request: NewRequest) -> None:
    scorer, pods = SessionAffinity("X-Session"), [new_pod(1), new_pod(2)]
    mine, yours = new_request({"x-session": "mine"}), new_request({"x-session": "yours"})
    assert scorer.score(mine, pods) == [0.0, 0.0]
    scorer.picked(mine, pods[1])
    scorer.picked(yours, pods[0])
    assert scorer.score(mine, pods) == [0.0, 1.0]
    scorer.picked(mine, pods[0])
    assert scorer.score(mine, pods) == [1.0, 0.0]


def test_without_a_session_there_is_no_affinity(new_pod: NewPod, new_request: NewRequest) -> None:
    scorer, pods = SessionAffinity(), [new_pod(1), new_pod(2)]
    for headers in ({}, {"x-session-id": ""}):
        scorer.picked(new_request(headers), pods[0])
        assert scorer.score(new_request(headers), pods) == [0.0, 0.0]


def test_the_session_that_was_quiet_longest_is_forgotten_first(new_pod: NewPod, new_request: NewRequest) -> None:
    scorer, pods = SessionAffinity(max_sessions=2), [new_pod(1), new_pod(2)]
    a, b, c = (new_request({"x-session-id": name}) for name in "abc")
    for request in (a, b, a, c):
        scorer.picked(request, pods[0])
    assert [scorer.score(request, pods) for request in (a, b, c)] == [[1.0, 0.0], [0.0, 0.0], [1.0, 0.0]]


def test_a_pod_scores_the_share_of_leading_blocks_that_it_has_seen(new_pod: NewPod, new_request: NewRequest) -> None:
    scorer, pods = PrefixAffinity(block_bytes=16), [new_pod(1), new_pod(2), new_pod(3)]
    scorer.picked(new_request(body=body("a", "b", "c", "d")), pods[0])
    scorer.picked(new_request(body=body("a", "x")), pods[1])
    request = new_request(body=body("a", "b", "y", "d"))
    assert scorer.score(request, pods) == [0.5, 0.25, 0.0]


def test_a_pod_that_has_seen_it_all_scores_1(new_pod: NewPod, new_request: NewRequest) -> None:
    scorer, pods = PrefixAffinity(block_bytes=16), [new_pod(1), new_pod(2)]
    request = new_request(body=body("a", "b"))
    assert scorer.score(request, pods) == [0.0, 0.0]
    scorer.picked(request, pods[1])
    assert scorer.score(request, pods) == [0.0, 1.0]
    scorer.picked(request, pods[0])
    assert scorer.score(request, pods) == [1.0, 1.0]


def test_a_request_without_a_body_has_no_affinity_and_teaches_none(new_pod: NewPod, new_request: NewRequest) -> None:
    scorer, pods = PrefixAffinity(), [new_pod(1), new_pod(2)]
    scorer.picked(new_request(), pods[0])
    assert scorer.score(new_request(), pods) == [0.0, 0.0]
    assert not scorer._bits


def test_the_end_of_a_prompt_is_forgotten_before_its_beginning(new_pod: NewPod, new_request: NewRequest) -> None:
    scorer, pods = PrefixAffinity(block_bytes=16, max_blocks=3), [new_pod(1), new_pod(2)]
    request = new_request(body=body("a", "b", "c", "d"))
    scorer.picked(request, pods[0])
    assert scorer.score(request, pods) == [0.75, 0.0]
    scorer.picked(new_request(body=body("z")), pods[1])
    assert scorer.score(request, pods) == [0.5, 0.0]
    assert len(scorer._index) == 3


def test_a_prompt_that_comes_again_is_not_forgotten(new_pod: NewPod, new_request: NewRequest) -> None:
    scorer, pods = PrefixAffinity(block_bytes=16, max_blocks=2), [new_pod(1), new_pod(2)]
    a, b, c = (new_request(body=body(part)) for part in "abc")
    for request in (a, b, a, c):
        scorer.picked(request, pods[0])
    assert [scorer.score(request, pods)[0] for request in (a, b, c)] == [1.0, 0.0, 1.0]


def test_pods_that_come_and_go_do_not_grow_what_is_remembered(new_request: NewRequest) -> None:
    scorer, request = PrefixAffinity(block_bytes=16), new_request(body=body("a"))
    pods = [Pod(f"pod-{number}", "10.0.0.1", 8000) for number in range(4_097)]
    for pod in pods[:-1]:
        scorer.picked(request, pod)
    scorer.picked(new_request(body=body("b")), pods[-1])
    assert scorer.score(request, [pods[0], pods[-1]]) == [0.0, 0.0]
    scorer.picked(request, pods[-1])
    assert scorer.score(request, [pods[0], pods[-1]]) == [0.0, 1.0]
    assert len(scorer._bits) == 1


@given(
    st.lists(st.tuples(st.integers(0, 3), st.lists(st.sampled_from("ab"), max_size=5)), max_size=12),
    st.lists(st.sampled_from("ab"), min_size=1, max_size=5),
)
def test_affinity_is_that_of_a_plain_comparison(history: list[tuple[int, list[str]]], asked: list[str]) -> None:
    pods = [Pod(f"pod-{number}", "10.0.0.1", 8000) for number in range(4)]
    scorer = PrefixAffinity(block_bytes=16)
    seen: dict[Pod, set[tuple[str, ...]]] = {pod: set() for pod in pods}

    def request(parts: list[str]) -> InferenceRequest:
        return InferenceRequest(FlowKey("a"), {}, "m", 0, body(*parts))

    for number, parts in history:
        scorer.picked(request(parts), pods[number])
        seen[pods[number]].update(tuple(parts[: end + 1]) for end in range(len(parts)))
    expected = []
    for pod in pods:
        shared = 0
        while shared < len(asked) and tuple(asked[: shared + 1]) in seen[pod]:
            shared += 1
        expected.append(shared / len(asked))
    assert scorer.score(request(asked), pods) == expected


@given(st.lists(st.one_of(st.none(), st.integers(0, 10**9)), min_size=1, max_size=20))
def test_scores_lie_in_0_to_1_and_less_load_never_scores_worse(loads: list[int | None]) -> None:
    pods = [
        Pod(f"pod-{i}", "10.0.0.1", 8000, metrics=None if load is None else PodMetrics(load, 0, 0.0, 0.0))
        for i, load in enumerate(loads)
    ]
    scores = LeastQueue().score(InferenceRequest(FlowKey("a"), {}), pods)
    assert all(0.0 <= score <= 1.0 for score in scores)
    known = sorted((load, -score) for load, score in zip(loads, scores, strict=True) if load is not None)
    assert [score for _, score in known] == sorted(score for _, score in known)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: SessionAffinity(max_sessions=0), "max_sessions must be 1 or more, not 0"),
        (lambda: PrefixAffinity(block_bytes=15), "block_bytes must be 16 or more, not 15"),
        (lambda: PrefixAffinity(prompt_blocks=0), "prompt_blocks must be 1 or more, not 0"),
        (lambda: PrefixAffinity(max_blocks=0), "max_blocks must be 1 or more, not 0"),
    ],
)
def test_a_bad_value_is_refused_with_its_rule(make: Callable[[], Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        make()


def test_a_header_that_is_no_text_is_refused() -> None:
    with pytest.raises(TypeError, match="header must be a str, not 5"):
        SessionAffinity(5)  # type: ignore[arg-type]


def test_scorers_keep_their_contracts_and_say_their_names() -> None:
    scorers = [LeastQueue(), LeastKvCache(), LeastInFlight(), SessionAffinity(), PrefixAffinity()]
    assert all(isinstance(scorer, Scorer) for scorer in scorers)
    assert [isinstance(scorer, Picked) for scorer in scorers] == [False, False, True, True, True]
    assert [isinstance(scorer, Closed) for scorer in scorers] == [False, False, True, False, False]
    names = ["least-queue", "least-kv-cache", "least-in-flight", "session-affinity", "prefix-affinity"]
    assert [scorer.name for scorer in scorers] == names


def test_a_chat_that_goes_on_is_sent_to_the_pod_that_knows_it(new_pod: NewPod, new_request: NewRequest) -> None:
    turns = [{"role": "system", "content": "Be brief. " * 40}, {"role": "user", "content": "Why? " * 60}]
    first = json.dumps({"model": "m", "messages": turns}).encode()
    more = [*turns, {"role": "assistant", "content": "Because."}, {"role": "user", "content": "And then?"}]
    second = json.dumps({"model": "m", "messages": more}).encode()
    scorer, pods = PrefixAffinity(), [new_pod(1), new_pod(2)]
    scorer.picked(new_request(body=first), pods[1])
    assert scorer.score(new_request(body=second), pods) == [0.0, pytest.approx(2 / 3, abs=0.34)]
