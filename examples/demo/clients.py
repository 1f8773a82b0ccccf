"""The clients: real HTTP through Envoy, and what each of them was told.

A process of its own. Its last words are a line of JSON for each request: how it ended.
"""

import argparse
import asyncio

import aiohttp
import attrs

from examples.demo.calls import CALLS, WAVES, Call
from examples.demo.last_words import say
from examples.demo.settings import BANDS, MODEL

__all__ = ["HUNG_UP", "LOST", "OK", "Answer", "ask", "main"]

HUNG_UP, LOST = "hung up", "lost"
OK = 200
LONGEST_WAIT = aiohttp.ClientTimeout(total=40.0)
REASON = "x-flowgate-dropped-reason"


@attrs.frozen
class Answer:
    """How one request ended for its client.

    Attributes:
        request_id: Which one.
        status: The HTTP status; 0 without one.
        reason: Why it was dropped, or ``"hung up"``, or ``"lost"``; empty for an answer in full.
        pod: Who answered it; empty when no pod did.
        detail: What went wrong, for one that is lost.
    """

    request_id: str
    status: int
    reason: str = ""
    pod: str = ""
    detail: str = ""


async def make_calls(url: str, wave: str) -> list[Answer]:
    """Make all calls of a wave, each at its time; returns how each ended."""
    first_answer = asyncio.Event()
    connector = aiohttp.TCPConnector(limit=0, force_close=True)
    async with (
        aiohttp.ClientSession(url, connector=connector, timeout=LONGEST_WAIT) as http,
        asyncio.TaskGroup() as group,
    ):
        tasks = [
            group.create_task(make_call(http, call, request_id, first_answer))
            for request_id, call in CALLS.items()
            if request_id.startswith(f"{wave}-")
        ]
    return [task.result() for task in tasks]


async def make_call(http: aiohttp.ClientSession, call: Call, request_id: str, first_answer: asyncio.Event) -> Answer:
    """Make one call; returns how it ended."""
    if call.is_late:
        await first_answer.wait()
    await asyncio.sleep(call.at)
    answer = Answer(request_id, 0, HUNG_UP)
    try:
        async with asyncio.timeout(call.hang_up_after):
            answer = await ask(http, call, request_id)
    except TimeoutError:
        pass
    if answer.status == OK or answer.reason == LOST:
        first_answer.set()
    return answer


async def ask(http: aiohttp.ClientSession, call: Call, request_id: str) -> Answer:
    """Send one request, and read its answer to the end."""
    headers = {
        "x-gateway-inference-fairness-id": call.tenant,
        "x-gateway-inference-objective": BANDS[call.priority],
        "x-request-id": request_id,
    }
    if call.ttl is not None:
        headers["x-request-ttl-seconds"] = str(call.ttl)
    wanted = {"model": MODEL, "prompt": "Tell me a story.", "max_tokens": call.tokens, "stream": call.is_stream}
    try:
        async with http.post("/v1/completions", json=wanted, headers=headers) as response:
            return read_answer(call, request_id, response, await response.text())
    except (aiohttp.ClientError, ConnectionError) as error:
        return Answer(request_id, 0, LOST, detail=repr(error))
    except TimeoutError:
        return Answer(request_id, 0, LOST, detail=f"no answer within {LONGEST_WAIT.total:.0f} s")


def read_answer(call: Call, request_id: str, response: aiohttp.ClientResponse, text: str) -> Answer:
    """Say how a request ended; an answer that is another's, or not whole, is none."""
    pod = response.headers.get("x-served-by", "")
    if response.status != OK:
        return Answer(request_id, response.status, response.headers.get(REASON, ""), pod)
    if f'"cmpl-{request_id}"' not in text:
        return Answer(request_id, OK, LOST, pod, f"the answer is another's: {text[:80]!r}")
    if call.is_stream and not text.rstrip().endswith("data: [DONE]"):
        return Answer(request_id, OK, LOST, pod, f"the stream broke off: {text[-80:]!r}")
    return Answer(request_id, OK, pod=pod)


def main() -> None:
    """Make the calls of one wave."""
    parser = argparse.ArgumentParser(description="the clients of the flowgate demo")
    parser.add_argument("--url", required=True)
    parser.add_argument("--wave", choices=WAVES, required=True)
    options = parser.parse_args()
    say(attrs.asdict(answer) for answer in asyncio.run(make_calls(options.url, options.wave)))


if __name__ == "__main__":
    main()
