import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowgate_epp.contracts import Decision, Refusal
from flowgate_epp.director import DirectorSettings, GatewayRequest
from flowgate_epp.director._bodies import NOTHING_ASKED, Asked, read_body

STRICT = DirectorSettings(strict_body=True)
Read = Callable[..., GatewayRequest]
Refuse = Callable[..., tuple[Refusal, Decision]]


def test_a_completion_is_read(read_one: Read) -> None:
    body = json.dumps({"model": "llama", "prompt": "Hi", "max_tokens": 100, "n": 3, "stream": True}).encode()
    request = read_one(body=body)
    assert request.asked == Asked("llama", is_streaming=True, choices=3, output_tokens=100)
    assert (request.model, request.byte_size()) == ("llama", len(body))
    assert request.estimated_tokens == len(body) / 4 + 300


def test_a_chat_completion_is_read() -> None:
    chat = {"model": "llama", "messages": [{"role": "user", "content": "Hi"}], "max_completion_tokens": 7}
    assert read_body(json.dumps(chat).encode()) == Asked("llama", output_tokens=7)
    assert read_body(json.dumps({**chat, "max_tokens": 9}).encode()).output_tokens == 7


def test_null_is_as_good_as_absent() -> None:
    nulls = {"model": None, "n": None, "stream": None, "max_tokens": 5, "max_completion_tokens": None}
    assert read_body(json.dumps(nulls).encode()) == Asked(output_tokens=5)
    assert read_body(b"{}") == NOTHING_ASKED


ODD = [
    (b"no json", "the body must be JSON, but Expecting value"),
    (b"\xff\xfe\xfd", "the body must be JSON"),
    (b"[" * 200_000, "the body is nested too deeply"),
    (b"[1]", "the body must be a JSON object, not a list"),
    (b"null", "the body must be a JSON object, not null"),
    (b'"text"', "the body must be a JSON object, not 'text'"),
    (b'{"model": 5}', "model must be a text, not 5"),
    (b'{"model": {}}', "model must be a text, not an object"),
    (b'{"stream": "yes"}', "stream must be true or false, not 'yes'"),
    (b'{"n": true}', "n must be an integer, not True"),
    (b'{"n": 1.5}', "n must be an integer, not 1.5"),
    (b'{"n": 0}', "n must lie in 1..1000000000, not 0"),
    (b'{"max_tokens": -1}', "max_tokens must lie in 1..1000000000, not -1"),
    (b'{"max_completion_tokens": [1]}', "max_completion_tokens must be an integer, not a list"),
    (b'{"max_tokens": 1' + b"0" * 4000 + b"}", "max_tokens must lie in 1..1000000000, not 10000"),
    (b'{"max_tokens": ' + b"9" * 5000 + b"}", "the body must be JSON, but Exceeds the limit"),
]


@pytest.mark.parametrize(("body", "says"), ODD)
def test_a_body_that_is_not_understood_is_as_one_that_is_not_seen(body: bytes, says: str, read_one: Read) -> None:
    request = read_one({"x-gateway-model-name": "by-header"}, body)
    assert request.asked is NOTHING_ASKED
    assert (request.model, request.byte_size()) == ("by-header", len(body))


@pytest.mark.parametrize(("body", "says"), ODD)
def test_a_strict_director_refuses_it_with_value_and_rule(body: bytes, says: str, refuse_one: Refuse) -> None:
    refusal, decision = refuse_one(body=body, settings=STRICT)
    assert (refusal.status, refusal.reason) == (400, "invalid")
    assert refusal.message.startswith(says)
    assert len(refusal.message) < 200
    assert refusal.headers == {"x-flowgate-dropped-reason": "invalid"}
    assert (decision.status, decision.outcome.name, decision.message) == (400, "REJECTED_INVALID", refusal.message)


def test_an_empty_body_is_no_body(read_one: Read) -> None:
    request = read_one({"content-length": "0"}, b"", settings=STRICT)
    assert (request.asked, request.byte_size()) == (NOTHING_ASKED, 0)


def test_three_megabytes_are_read_and_not_kept(read_one: Read) -> None:
    body = json.dumps({"model": "m", "prompt": "secret " * 430_000}).encode()
    request = read_one(body=body)
    assert request.byte_size() == len(body) > 3_000_000
    kept = [getattr(request, name) for slots in type(request).__mro__ for name in getattr(slots, "__slots__", ())]
    assert "secret" not in repr(kept)


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(),
        lambda x: (
            st.lists(x)
            | st.dictionaries(st.sampled_from(["model", "n", "stream", "max_tokens", "max_completion_tokens"]), x)
        ),
    )
)
def test_any_json_is_read_or_refused_in_a_sentence(value: Any) -> None:
    body = json.dumps(value).encode()
    try:
        asked = read_body(body)
    except ValueError as error:
        problem = str(error)
    else:
        problem = "none"
        assert isinstance(value, dict)
        assert isinstance(asked, Asked)
    assert 0 < len(problem) < 200
