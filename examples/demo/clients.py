"""The clients: about 200 real HTTP requests of three tenants, some of them impatient, some of them hanging up.

A process of its own. Its last words are a line of JSON for each request: how it ended.
"""

import argparse
import math
import random
from collections.abc import Iterator

import anyio
import attrs
import httpx

from examples.demo.last_words import say
from examples.demo.settings import BATCH, INTERACTIVE, STANDARD, TENANTS

__all__ = ["Answer", "Call", "burst", "encore", "main"]

HUNG_UP, LOST = "hung up", "lost"
LONGEST_WAIT = 40.0


@attrs.frozen
class Call:
    """One request that a client makes.

    Attributes:
        at: When it is made, in seconds from the start; those of the second wave from the first answer.
        tenant: Whose it is.
        priority: Its band.
        ttl: Seconds for which the gateway may hold it; None leaves it to the gateway.
        hang_up_after: Seconds after which the client hangs up; None if it never does.
        is_late: Whether it belongs to the second wave.
    """

    at: float
    tenant: str
    priority: int
    ttl: float | None = None
    hang_up_after: float | None = None
    is_late: bool = False


@attrs.frozen
class Answer:
    """How one request ended for its client.

    Attributes:
        request_id: Which one.
        status: The HTTP status; 0 without one.
        reason: Why it was dropped, or ``"hung up"``, or ``"lost"``; empty for an answer in full.
        detail: What went wrong, for one that is lost.
    """

    request_id: str
    status: int
    reason: str = ""
    detail: str = ""


def burst() -> Iterator[Call]:
    """Make the calls of a cold start: everybody at once, then a steady stream that competes with the backlog."""
    dice = random.Random(7)
    noisy, *quiet = TENANTS
    backlog = {INTERACTIVE: (8, 8), STANDARD: (32, 10), BATCH: (18, 8)}
    for priority, (by_noisy, by_quiet) in backlog.items():
        for tenant, count in ((noisy, by_noisy), *((tenant, by_quiet) for tenant in quiet)):
            yield from (Call(dice.uniform(0.0, 0.5), tenant, priority) for _ in range(count))
    for number in range(12):
        tenant = TENANTS[number % len(TENANTS)]
        yield Call(0.1, tenant, STANDARD, ttl=1.0 + number / 40)
        yield Call(0.1, tenant, BATCH, hang_up_after=1.0 + number / 40)
    for number in range(48):
        tenant = TENANTS[number % len(TENANTS)]
        yield Call(number / 12, tenant, INTERACTIVE if number % 2 else STANDARD, is_late=True)
    for number in range(9):
        yield Call(0.2, TENANTS[number % len(TENANTS)], BATCH, ttl=0.8, is_late=True)


def encore() -> Iterator[Call]:
    """Make a few calls more, for a pool that is back at zero."""
    for number in range(9):
        yield Call(0.0, TENANTS[number % len(TENANTS)], (BATCH, STANDARD, INTERACTIVE)[number // 3])


WAVES = {"burst": burst, "encore": encore}


async def make_calls(url: str, wave: str) -> list[Answer]:
    """Make all calls of a wave, each at its time; returns how each ended."""
    answers: list[Answer] = []
    first_answer = anyio.Event()
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
    async with (
        httpx.AsyncClient(base_url=url, limits=limits, timeout=LONGEST_WAIT, trust_env=False) as http,
        anyio.create_task_group() as tasks,
    ):
        for number, call in enumerate(WAVES[wave]()):
            tasks.start_soon(make_call, http, call, f"{wave}-{number}", first_answer, answers)
    return answers


async def make_call(
    http: httpx.AsyncClient, call: Call, request_id: str, first_answer: anyio.Event, answers: list[Answer]
) -> None:
    """Make one call, and add how it ended."""
    if call.is_late:
        await first_answer.wait()
    await anyio.sleep(call.at)
    answer = Answer(request_id, 0, HUNG_UP)
    with anyio.move_on_after(math.inf if call.hang_up_after is None else call.hang_up_after):
        answer = await ask(http, call, request_id)
    if answer.status == httpx.codes.OK or answer.reason == LOST:
        first_answer.set()
    answers.append(answer)


async def ask(http: httpx.AsyncClient, call: Call, request_id: str) -> Answer:
    """Send one request, and read its answer to the end."""
    headers = {"x-tenant": call.tenant, "x-priority": str(call.priority), "x-request-id": request_id}
    if call.ttl is not None:
        headers["x-ttl"] = str(call.ttl)
    try:
        response = await http.post("/v1/completions", headers=headers, content=b"tell me a story")
    except httpx.HTTPError as error:
        return Answer(request_id, 0, LOST, repr(error))
    if response.status_code != httpx.codes.OK:
        return Answer(request_id, response.status_code, response.headers.get("x-flowgate-dropped-reason", ""))
    if response.headers["x-request-id"] != request_id:
        return Answer(request_id, 200, LOST, f"the answer is that of {response.headers['x-request-id']}")
    return Answer(request_id, 200)


def main() -> None:
    """Make the calls of one wave."""
    parser = argparse.ArgumentParser(description="the clients of the flowgate demo")
    parser.add_argument("--url", required=True)
    parser.add_argument("--wave", choices=WAVES, required=True)
    options = parser.parse_args()
    say(attrs.asdict(answer) for answer in anyio.run(make_calls, options.url, options.wave))


if __name__ == "__main__":
    main()
