import json

from hypothesis import given
from hypothesis import strategies as st

from flowgate import FlowKey
from flowgate_epp.scheduling import InferenceRequest


def blocks_of(body: bytes | None, model: str = "m", size: int = 16, most: int = 8) -> list[int]:
    return list(InferenceRequest(FlowKey("a"), {}, model, 0, body).prompt_blocks(size, most))


def completion(prompt: str) -> bytes:
    return json.dumps({"model": "m", "prompt": prompt, "max_tokens": 9}).encode()


def test_prompts_that_begin_alike_share_the_numbers_of_their_beginning() -> None:
    common = "The same beginning. " * 4
    one, other = blocks_of(completion(common + "one" * 20)), blocks_of(completion(common + "two" * 20))
    assert one[:4] == other[:4]
    assert one[5:] != other[5:]


def test_a_block_stands_for_all_blocks_before_it() -> None:
    one, other = blocks_of(completion("a" * 16 + "x" * 48)), blocks_of(completion("b" * 16 + "x" * 48))
    assert not set(one) & set(other)


def test_the_same_prompt_for_another_model_is_another_prompt() -> None:
    body = completion("x" * 64)
    assert not set(blocks_of(body, "m")) & set(blocks_of(body, "n"))


def test_only_full_blocks_count_and_no_more_than_asked_for() -> None:
    body = b'{"prompt":' + b"x" * 40
    assert len(blocks_of(body)) == 2
    assert len(blocks_of(b'{"prompt":' + b"x" * 48)) == 3
    assert len(blocks_of(b'{"prompt":' + b"x" * 47)) == 2
    assert len(blocks_of(b'{"prompt":' + b"x" * 480, most=5)) == 5


def test_messages_of_a_chat_count_from_their_key_on() -> None:
    chat = json.dumps({"messages": [{"role": "system", "content": "Be kind. " * 9}]})
    named = chat.replace('{"messages"', '{"model": "m", "messages"')
    assert blocks_of(chat.encode()) == blocks_of(named.encode()) != []


def test_a_prompt_that_quotes_a_key_is_no_key() -> None:
    body = json.dumps({"model": 'x", "prompt": "y' * 3, "messages": ["z" * 40]}).encode()
    assert blocks_of(body) == blocks_of(b'{"messages":' + body.partition(b'"messages":')[2])


def test_without_a_prompt_to_see_there_are_no_blocks() -> None:
    assert blocks_of(None) == blocks_of(b"") == blocks_of(b"no json at all" * 9) == []
    assert blocks_of(b" " * 70_000 + b'{"prompt":' + b"x" * 64) == []


def test_other_blocks_may_be_asked_for_and_the_same_are_not_made_twice() -> None:
    request = InferenceRequest(FlowKey("a"), {}, "m", 0, completion("x" * 64))
    first = request.prompt_blocks(16, 8)
    assert request.prompt_blocks(16, 8) is first
    assert len(request.prompt_blocks(16, 2)) == 2
    assert len(request.prompt_blocks(32, 8)) < len(first)


@given(st.text(max_size=200), st.text(max_size=200))
def test_as_many_numbers_are_shared_as_full_blocks(one: str, other: str) -> None:
    bodies = [b'{"prompt":' + text.encode() for text in (one, other)]
    tails = [body.removeprefix(b'{"prompt":') for body in bodies]
    shared = 0
    while len(tails[0]) >= 16 and len(tails[1]) >= 16 and tails[0][:16] == tails[1][:16] and shared < 8:
        tails = [tail[16:] for tail in tails]
        shared += 1
    numbers = [blocks_of(body) for body in bodies]
    same = [a == b for a, b in zip(*numbers, strict=False)]
    assert same == [True] * shared + [False] * (len(same) - shared)


def test_it_says_what_it_is_without_the_body() -> None:
    request = InferenceRequest(FlowKey("a"), {}, "m", 3, b'{"prompt": "secret"}')
    assert "secret" not in repr(request)
    assert "'m'" in repr(request)


def test_what_is_kept_of_a_prompt_is_numbers() -> None:
    blocks = blocks_of(completion("x" * 64))
    assert len(blocks) == 5
    assert {type(block) for block in blocks} == {int}
