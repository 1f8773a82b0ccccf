"""How much work a run does: enough for steady medians, enough for a first look, or just enough to test the program."""

import attrs

__all__ = ["FULL", "QUICK", "TINY", "Sizes"]


@attrs.frozen
class Sizes:
    """How much work each suite does.

    Args:
        rounds: That count, of most suites.
        few_rounds: That count, where a round is long: drains, churn, peers and the matrix.
        calls: Of the fast path, in a round.
        callers: Of the queued path, at a time.
        each: Requests of each of these callers.
        most: Bands, disjoint lanes, and pods of one lane, where there are many of them.
        operations: Of each cell of the matrix, in a round, at least; every caller makes one at least.
        matrix_callers: Numbers of callers in the matrix, and of flows.
        parked: Numbers of requests behind the closed gate.
        drained_flows: Numbers of flows that they are spread over, as far as there are as many requests.
        active: Numbers of flows that wait while a fairness policy chooses between them.
        choices: It makes, in a round.
        churned: Requests of each kind of churn, in a round.
        waiting: Requests that wait while memory or callbacks are counted.
        seen: Flows that came and went before memory is measured.
        handovers: Slots whose way to the next caller is timed, one by one.
        announced: Requests that wait for one pod to be announced.
        announcements: How often it is.
        bursts: Numbers of callers that come at once, for the peers.
        idle_seconds: How long nothing changes.
    """

    rounds: int = 7
    few_rounds: int = 3
    calls: int = 20_000
    callers: int = 5_000
    each: int = 4
    most: int = 1_000
    operations: int = 10_000
    matrix_callers: tuple[int, int] = (10, 5_000)
    parked: tuple[int, ...] = (10_000, 100_000)
    drained_flows: tuple[int, ...] = (10, 1_000, 10_000, 100_000)
    active: tuple[int, ...] = (10, 1_000, 100_000)
    choices: int = 10_000
    churned: int = 10_000
    waiting: int = 100_000
    seen: int = 1_000_000
    handovers: int = 10_000
    announced: int = 10_000
    announcements: int = 10
    bursts: tuple[int, ...] = (1_000, 10_000)
    idle_seconds: float = 1.0


FULL = Sizes()
QUICK = Sizes(
    rounds=3,
    few_rounds=1,
    calls=5_000,
    callers=1_000,
    each=2,
    most=200,
    operations=1_000,
    matrix_callers=(10, 1_000),
    parked=(5_000,),
    drained_flows=(10, 5_000),
    active=(10, 10_000),
    choices=2_000,
    churned=2_000,
    waiting=5_000,
    seen=20_000,
    handovers=1_000,
    announced=2_000,
    announcements=2,
    bursts=(1_000,),
    idle_seconds=0.2,
)
TINY = Sizes(
    rounds=1,
    few_rounds=1,
    calls=100,
    callers=20,
    each=2,
    most=4,
    operations=20,
    matrix_callers=(2, 10),
    parked=(30,),
    drained_flows=(2, 30),
    active=(2, 5),
    choices=20,
    churned=30,
    waiting=30,
    seen=50,
    handovers=20,
    announced=20,
    announcements=1,
    bursts=(10,),
    idle_seconds=0.01,
)
