"""The traffic: about 200 requests of three tenants, some of them impatient, some of whose clients hang up."""

import random
from collections.abc import Iterator, Mapping

import attrs

from examples.demo.settings import BATCH, INTERACTIVE, STANDARD, TENANTS, TOKENS

__all__ = ["CALLS", "WAVES", "Call", "burst", "encore"]


@attrs.frozen
class Call:
    """One request that a client makes.

    Attributes:
        at: When it is made, in seconds from the start; those of the second wave from the first answer.
        tenant: Whose it is.
        priority: Its band.
        ttl: Seconds for which it may be held; None leaves that to the Endpoint Picker.
        hang_up_after: Seconds after which the client hangs up; None if it never does.
        is_late: Whether it belongs to the second wave.
        tokens: How many it asks for.
        is_stream: Whether they are to come one by one.
    """

    at: float
    tenant: str
    priority: int
    ttl: float | None = None
    hang_up_after: float | None = None
    is_late: bool = False
    tokens: int = TOKENS[0]
    is_stream: bool = False


def burst() -> Iterator[Call]:
    """Make the calls of a cold start: everybody at once, then a steady stream that competes with the backlog."""
    dice = random.Random(7)
    for number, call in enumerate(_burst(dice)):
        yield attrs.evolve(call, tokens=dice.randint(*TOKENS), is_stream=number % 2 == 0)


def _burst(dice: random.Random) -> Iterator[Call]:
    noisy, *quiet = TENANTS
    backlog = {INTERACTIVE: (8, 8), STANDARD: (32, 10), BATCH: (18, 8)}
    for priority, (by_noisy, by_quiet) in backlog.items():
        for tenant, count in ((noisy, by_noisy), *((tenant, by_quiet) for tenant in quiet)):
            yield from (Call(dice.uniform(0.0, 0.5), tenant, priority) for _ in range(count))
    for number in range(12):
        tenant = TENANTS[number % len(TENANTS)]
        yield Call(0.1, tenant, STANDARD, ttl=0.9 + number / 40)
        yield Call(0.1, tenant, BATCH, hang_up_after=0.9 + number / 40)
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

CALLS: Mapping[str, Call] = {
    f"{wave}-{number}": call for wave, calls in WAVES.items() for number, call in enumerate(calls())
}
"""All of them, by request id."""
