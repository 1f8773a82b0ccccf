"""What OpenAI's clients see, over real sockets."""

import asyncio
import json

import pytest

pytestmark = pytest.mark.anyio


def events(text):
    lines = [line.removeprefix("data: ") for line in text.split("\n\n") if line]
    assert lines[-1] == "[DONE]"
    return [json.loads(line) for line in lines[:-1]]


async def test_a_completion_has_its_tokens_and_its_usage(serve):
    async with serve(model="m", name="pod-1") as (_, client):
        response = await client.post(
            "/v1/completions",
            json={"model": "m", "prompt": "x" * 40, "max_tokens": 3},
            headers={"x-request-id": "r-1"},
        )
    answer = response.json()
    assert answer["usage"] == {"prompt_tokens": 10, "completion_tokens": 3, "total_tokens": 13}
    assert (answer["id"], answer["object"], answer["model"]) == ("cmpl-r-1", "text_completion", "m")
    assert len(answer["choices"][0]["text"].split()) == 3
    assert answer["choices"][0]["finish_reason"] == "length"
    assert (response.headers["x-request-id"], response.headers["x-served-by"]) == ("r-1", "pod-1")


async def test_a_chat_answers_n_times(serve):
    async with serve() as (server, client):
        response = await client.post(
            "/v1/chat/completions",
            json={
                "messages": [{"role": "user", "content": [{"type": "text", "text": "x" * 8}]}, {"content": "y" * 8}],
                "max_completion_tokens": 2,
                "max_tokens": 9,
                "n": 2,
            },
        )
        answer = response.json()
        assert response.headers["x-served-by"] == server.address
    assert answer["object"] == "chat.completion"
    assert [choice["index"] for choice in answer["choices"]] == [0, 1]
    assert all(choice["message"]["role"] == "assistant" for choice in answer["choices"])
    assert answer["usage"] == {"prompt_tokens": 4, "completion_tokens": 4, "total_tokens": 8}


@pytest.mark.parametrize(
    ("prompt", "tokens"),
    [("hey", 1), ([7, 8, 9], 3), (["abcdefgh", "abcdefgh"], 4), ("ü" * 8, 4), ([{"text": 5}, 5], 1)],
)
async def test_prompt_tokens_are_a_quarter_of_the_bytes(serve, prompt, tokens):
    async with serve() as (_, client):
        response = await client.post("/v1/completions", json={"prompt": prompt, "max_tokens": 1})
    assert response.json()["usage"]["prompt_tokens"] == tokens


@pytest.mark.parametrize("n", [1, 2])
@pytest.mark.parametrize("path", ["/v1/completions", "/v1/chat/completions"])
async def test_a_stream_has_a_chunk_for_each_token_and_usage_in_the_last(serve, path, n):
    asked = {"prompt": "hello", "messages": [{"content": "hello"}], "max_tokens": 3, "n": n, "stream": True}
    async with serve() as (_, client):
        response = await client.post(path, json=asked)
    chunks = events(response.text)
    assert response.headers["content-type"].startswith("text/event-stream")
    assert len(chunks) == 3 * n + n
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks] == [None] * 3 * n + ["length"] * n
    assert [chunk["usage"] for chunk in chunks[:-1]] == [None] * (4 * n - 1)
    assert chunks[-1]["usage"]["completion_tokens"] == 3 * n
    if "chat" in path:
        assert chunks[0]["object"] == "chat.completion.chunk"
        assert [chunk["choices"][0]["delta"].get("role") for chunk in chunks] == ["assistant"] * n + [None] * 3 * n
        assert all(chunk["choices"][0]["delta"]["content"] for chunk in chunks[: 3 * n])
    else:
        assert all(chunk["choices"][0]["text"] for chunk in chunks[: 3 * n])


async def test_tokens_arrive_as_they_are_made(serve):
    clock = asyncio.get_running_loop().time
    async with serve(ttft=0.1, tpot=0.05) as (_, client):
        start = clock()
        asked = {"prompt": "hello", "max_tokens": 4, "stream": True}
        async with client.stream("POST", "/v1/completions", json=asked) as response:
            began = clock() - start
            at = [clock() - start async for line in response.aiter_lines() if '"finish_reason": null' in line]
    assert began < 0.1  # the headers do not wait for the first token
    assert [round(seconds, 2) >= due for seconds, due in zip(at, [0.1, 0.15, 0.2, 0.25], strict=True)] == [True] * 4
    assert at[0] < 0.2
    assert at[3] - at[0] >= 0.12


@pytest.mark.parametrize("stream", [False, True])
async def test_texts_end_early_by_chance_unless_eos_is_ignored(serve, stream):
    asked = {"prompt": "hello", "max_tokens": 200, "stream": stream}
    async with serve(eos_share=0.5) as (_, client):
        ended = await client.post("/v1/completions", json=asked)
        full = await client.post("/v1/completions", json=asked | {"ignore_eos": True})
    ended, full = [events(each.text)[-1] if stream else each.json() for each in (ended, full)]
    assert ended["usage"]["completion_tokens"] < 200
    assert ended["choices"][0]["finish_reason"] == "stop"
    assert full["usage"]["completion_tokens"] == 200
    assert full["choices"][0]["finish_reason"] == "length"


async def test_texts_of_different_lengths_share_a_stream(serve):
    asked = {"prompt": "hello", "max_tokens": 50, "n": 3, "stream": True}
    async with serve(eos_share=0.2) as (_, client):
        chunks = events((await client.post("/v1/completions", json=asked)).text)
    tokens = [chunk for chunk in chunks if chunk["choices"][0]["finish_reason"] is None]
    assert len(tokens) == chunks[-1]["usage"]["completion_tokens"]
    lengths = [sum(chunk["choices"][0]["index"] == index for chunk in tokens) for index in range(3)]
    assert len(set(lengths)) > 1


async def test_the_same_seed_gives_the_same_texts(serve):
    async def texts(seed):
        async with serve(seed=seed, eos_share=0.1) as (_, client):
            asked = {"prompt": "hello", "max_tokens": 30}
            answers = [(await client.post("/v1/completions", json=asked)).json() for _ in range(3)]
        return [answer["choices"][0]["text"] for answer in answers]

    assert await texts(1) == await texts(1)
    assert await texts(1) != await texts(2)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("{", "Expecting"),
        ("[]", "the body must be a JSON object"),
        (b"\xff", "codec"),
        ({}, "prompt must be given"),
        ({"prompt": "x", "max_tokens": 0}, "max_tokens must be an int of 1 or more, not 0"),
        ({"prompt": "x", "max_tokens": True}, "max_tokens must be an int of 1 or more, not True"),
        ({"prompt": "x", "n": 9}, "n must be 8 or less here, not 9"),
        ({"prompt": "x", "max_tokens": 10**12}, "blocks of the KV cache, which has 1000"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_a_bad_request_is_told_why(serve, body, says, stream):
    content = json.dumps(body | {"stream": stream}) if isinstance(body, dict) else body
    async with serve() as (server, client):
        response = await client.post("/v1/completions", content=content)
        assert server.counts()["aborted"] == 0
    assert response.status_code == 400
    assert says in response.json()["error"]["message"]


async def test_a_chat_needs_messages(serve):
    async with serve() as (_, client):
        response = await client.post("/v1/chat/completions", json={"messages": "hello"})
    assert response.json()["error"]["message"] == "messages must be given"


async def test_another_model_does_not_exist(serve):
    async with serve(model="m") as (_, client):
        response = await client.post("/v1/completions", json={"prompt": "x", "model": "other"})
    assert response.status_code == 404
    assert "'other' does not exist" in response.json()["error"]["message"]


async def test_models_and_health(serve):
    async with serve(model="m") as (_, client):
        assert [model["id"] for model in (await client.get("/v1/models")).json()["data"]] == ["m"]
        assert (await client.get("/health")).status_code == 200


async def test_a_body_of_three_megabytes_is_read(serve):
    async with serve(kv_blocks=100_000) as (_, client):
        response = await client.post("/v1/completions", json={"prompt": "x" * 3_000_000, "max_tokens": 1})
    assert response.json()["usage"]["prompt_tokens"] == 750_000
