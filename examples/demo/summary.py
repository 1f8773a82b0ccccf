"""The last word of the demo: the figures, and whether everything adds up."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence

from rich import box
from rich.console import Console
from rich.table import Table

from examples.demo.checks import RunReport
from examples.demo.clients import HUNG_UP
from examples.demo.ledger import Ledger
from examples.demo.settings import BANDS, STANDARD, TENANTS
from flowgate import FlowKey, QueueOutcome
from flowgate.admission import http_response

__all__ = ["percentile", "print_summary"]

MILLISECONDS = 1_000


def print_summary(console: Console, report: RunReport, ledger: Ledger, found: Sequence[str]) -> None:
    """Print the tables, the facts and the verdict."""
    console.print()
    for table in (_waits(ledger), _outcomes(report), _pods(report)):
        console.print(table)
        console.print()
    for fact in (*_facts(report, ledger), *_fairness(ledger)):
        console.print(fact, soft_wrap=True, highlight=False)
    console.print()
    for problem in found:
        console.print(f"PROBLEM: {problem}", style="bold red", soft_wrap=True, highlight=False, markup=False)
    if not found:
        text = f"OK: {len(report.called)} requests, each with exactly one end; no limit broken"
        console.print(text, style="bold green", soft_wrap=True, highlight=False)


def percentile(values: Iterable[float], share: float) -> float:
    """Return the smallest value that at least this share of the values does not exceed; NaN without values."""
    ranked = sorted(values)
    return ranked[max(0, math.ceil(share * len(ranked)) - 1)] if ranked else math.nan


def _table(title: str, first: str, *others: str) -> Table:
    table = Table(
        title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False
    )
    table.add_column(first, min_width=18)
    for name in others:
        table.add_column(name, justify="right")
    return table


def _waits(ledger: Ledger) -> Table:
    columns = ("count", "p50", "p99", *(f"{tenant} p50" for tenant in TENANTS))
    table = _table("Seconds in the queue, of those that went on", "priority", *columns)
    for priority, name in BANDS.items():
        by_tenant = [ledger.waits[FlowKey(tenant, priority)] for tenant in TENANTS]
        everybody = [wait for waits in by_tenant for wait in waits]
        shares = [percentile(everybody, 0.5), percentile(everybody, 0.99)]
        shares += [percentile(waits, 0.5) for waits in by_tenant]
        table.add_row(f"{name} ({priority})", str(len(everybody)), *(f"{share:.2f}" for share in shares))
    return table


def _outcomes(report: RunReport) -> Table:
    table = _table("How requests ended", "outcome", "HTTP", "reason", "gateway", "clients")
    told = Counter(answer.reason for answer in report.answers)
    for outcome in sorted(report.outcomes, key=list(QueueOutcome).index):
        said = http_response(outcome)
        by_clients = told[HUNG_UP if outcome is QueueOutcome.EVICTED_CANCELLED else said.reason or ""]
        table.add_row(outcome.name, str(said.status), said.reason or "", str(report.outcomes[outcome]), str(by_clients))
    total = (str(report.submitted), str(len(report.answers)))
    table.add_section()
    table.add_row("all", "", "", *total)
    return table


def _pods(report: RunReport) -> Table:
    table = _table("Most requests in flight", "pod", "limit", "by flowgate", "by the pod", "served")
    for pod in report.pods:
        counts = (pod.limit, pod.most_by_flowgate, "?" if pod.most_by_pod is None else pod.most_by_pod, pod.served)
        table.add_row(pod.name, *map(str, counts))
    return table


def _facts(report: RunReport, ledger: Ledger) -> Iterable[str]:
    if ledger.first_arrival is not None and ledger.first_dispatch is not None:
        seconds = ledger.first_dispatch - ledger.first_arrival
        yield f"cold start: {seconds:.2f} s from the first request to the first dispatch"
    stopped = sum(pod.most_by_pod is not None for pod in report.pods)
    yield f"pods: {len(report.pods)} started, {stopped} stopped in good order"
    if ledger.lateness:
        late = max(ledger.lateness) * MILLISECONDS
        yield f"impatience: {len(ledger.lateness)} requests left when their own TTL ended, at most {late:.1f} ms later"
    yield f"order: {report.inversions} requests went on while a higher priority waited"


def _fairness(ledger: Ledger) -> Iterable[str]:
    turns = Counter(ledger.first_turns)
    if turns:
        shares = ", ".join(f"{tenant} {turns[tenant]} (of {ledger.backlog_then.get(tenant, 0)})" for tenant in TENANTS)
        yield f"fairness: the first {turns.total()} {BANDS[STANDARD]} requests to go on were {shares}"
