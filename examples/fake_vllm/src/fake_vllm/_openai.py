"""OpenAI's requests and answers, as far as a gateway can see a difference."""

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

__all__ = ["Asked", "Text", "error_body"]

_DEFAULT_TOKENS = 16  # vLLM's own for /v1/completions
_BYTES_PER_TOKEN = 4


@attrs.frozen
class Asked:
    """What a client asks for.

    Args:
        is_chat: Whether it came to ``/v1/chat/completions``.
        model: The model's name; None when it names none.
        prompt_tokens: Those of its prompt: one for each four bytes, at least one.
        max_tokens: Most tokens of each text.
        n: How many texts.
        is_stream: Whether the tokens are sent one by one.
        ignores_eos: Whether each text goes on to ``max_tokens`` in any case.
    """

    is_chat: bool
    model: str | None
    prompt_tokens: int
    max_tokens: int
    n: int
    is_stream: bool
    ignores_eos: bool

    @classmethod
    def read(cls, data: object, *, is_chat: bool) -> "Asked":
        """Make sense of a request's JSON.

        Raises:
            ValueError: It has not what it needs, or something else than it should have.
        """
        if not isinstance(data, dict):
            raise ValueError("the body must be a JSON object")  # noqa: TRY004 - a bad value, whatever its type
        limits = [data.get("max_completion_tokens") if is_chat else None, data.get("max_tokens"), _DEFAULT_TOKENS]
        return cls(
            is_chat=is_chat,
            model=data.get("model"),
            prompt_tokens=_tokens(data.get("messages") if is_chat else data.get("prompt"), is_chat=is_chat),
            max_tokens=_count("max_tokens", next(limit for limit in limits if limit is not None)),
            n=_count("n", data.get("n") or 1),
            is_stream=bool(data.get("stream")),
            ignores_eos=bool(data.get("ignore_eos")),
        )

    @property
    def all_tokens(self) -> int:
        """Most tokens of the prompt and all texts together."""
        return self.prompt_tokens + self.n * self.max_tokens


def _count(name: str, value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{name} must be an int of 1 or more, not {value!r}")
    return value


def _tokens(prompt: object, *, is_chat: bool) -> int:
    name = "messages" if is_chat else "prompt"
    if not prompt or (is_chat and not isinstance(prompt, list)):
        raise ValueError(f"{name} must be given")
    if isinstance(prompt, list) and all(isinstance(token, int) for token in prompt):
        return len(prompt)
    return max(1, _text_bytes(prompt) // _BYTES_PER_TOKEN)


def _text_bytes(part: object) -> int:
    """Count the text in a string, or in a list of messages or of their parts."""
    if isinstance(part, str):
        return len(part.encode("utf-8", "replace"))
    if isinstance(part, Mapping):
        return _text_bytes(part.get("content", part.get("text", "")))
    return sum(map(_text_bytes, part)) if isinstance(part, list) else 0


class Text:
    """The answer to one request, whole or token by token.

    Args:
        asked: What was asked for.
        request_id: The request's id.
        model: The model's name.
        words: The tokens of each text.
    """

    def __init__(self, asked: Asked, request_id: str, model: str, words: Sequence[Sequence[str]]) -> None:
        self._asked, self._words = asked, words
        kind = "chat.completion" if asked.is_chat else "text_completion"
        self._common: dict[str, Any] = {
            "id": f"{'chatcmpl' if asked.is_chat else 'cmpl'}-{request_id}",
            "object": f"{kind}.chunk" if asked.is_chat and asked.is_stream else kind,
            "created": int(time.time()),
            "model": model,
        }

    @property
    def steps(self) -> int:
        """How many tokens the longest text has."""
        return max(map(len, self._words))

    @property
    def tokens(self) -> int:
        """How many tokens all texts have together."""
        return sum(map(len, self._words))

    def whole(self) -> bytes:
        """Return the answer of a request that does not stream."""
        choices = []
        for index, words in enumerate(self._words):
            content = "".join(words)
            text = {"message": {"role": "assistant", "content": content}} if self._asked.is_chat else {"text": content}
            choices.append({"index": index, **text, "logprobs": None, "finish_reason": self._finish(index)})
        return json.dumps({**self._common, "choices": choices, "usage": self._usage()}).encode()

    def chunks(self, step: int) -> bytes:
        """Return one token of each text that is not over yet, as server-sent events."""
        there = (index for index, words in enumerate(self._words) if step < len(words))
        return b"".join(self._chunk(index, self._words[index][step], is_first=step == 0) for index in there)

    def last(self) -> bytes:
        """Return the events that end a stream; the last chunk has the usage."""
        ends = [self._chunk(index, "", finish=self._finish(index)) for index in range(len(self._words) - 1)]
        last = len(self._words) - 1
        return (
            b"".join(ends) + self._chunk(last, "", finish=self._finish(last), usage=self._usage()) + b"data: [DONE]\n\n"
        )

    def _chunk(
        self,
        index: int,
        word: str,
        *,
        is_first: bool = False,
        finish: str | None = None,
        usage: Mapping[str, int] | None = None,
    ) -> bytes:
        role = {"role": "assistant"} if is_first else {}
        text = {"delta": {**role, "content": word}} if self._asked.is_chat else {"text": word}
        choice = {"index": index, **text, "logprobs": None, "finish_reason": finish}
        return b"data: " + json.dumps({**self._common, "choices": [choice], "usage": usage}).encode() + b"\n\n"

    def _finish(self, index: int) -> str:
        return "length" if len(self._words[index]) == self._asked.max_tokens else "stop"

    def finishes(self) -> list[str]:
        """Return why each text ended: ``length`` or ``stop``."""
        return [self._finish(index) for index in range(len(self._words))]

    def _usage(self) -> dict[str, int]:
        prompt, completion = self._asked.prompt_tokens, self.tokens
        return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def error_body(status: int, message: str) -> bytes:
    """Return an error in OpenAI's form."""
    kind = {400: "BadRequestError", 404: "NotFoundError", 503: "ServiceUnavailableError"}.get(
        status, "InternalServerError"
    )
    return json.dumps({"error": {"message": message, "type": kind, "param": None, "code": status}}).encode()
