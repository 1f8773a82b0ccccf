"""The last word of the demo: the figures, and whether everything adds up."""

from collections import Counter
from collections.abc import Iterable, Sequence

from rich import box
from rich.console import Console
from rich.table import Table

from examples.demo.calls import CALLS
from examples.demo.checks import RunReport
from examples.demo.clients import HUNG_UP
from examples.demo.figures import cold_start, first_turns, lateness, percentile, waits
from examples.demo.settings import BANDS, STANDARD, TENANTS
from flowgate import FlowKey, QueueOutcome
from flowgate.admission import http_response

__all__ = ["print_summary"]

MILLISECONDS = 1_000


def print_summary(console: Console, report: RunReport, found: Sequence[str]) -> None:
    """Print the tables, the facts and the verdict."""
    console.print()
    for table in (_waits(report), _outcomes(report), _pods(report)):
        console.print(table)
        console.print()
    for fact in (*_facts(report), *_fairness(report)):
        console.print(fact, soft_wrap=True, highlight=False)
    console.print()
    for problem in found:
        console.print(f"PROBLEM: {problem}", style="bold red", soft_wrap=True, highlight=False, markup=False)
    if not found:
        text = f"OK: {len(report.called)} requests, each with exactly one end; no limit broken"
        console.print(text, style="bold green", soft_wrap=True, highlight=False)


def _table(title: str, first: str, *others: str) -> Table:
    table = Table(
        title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False
    )
    table.add_column(first, min_width=18)
    for name in others:
        table.add_column(name, justify="right")
    return table


def _waits(report: RunReport) -> Table:
    columns = ("count", "p50", "p99", *(f"{tenant} p50" for tenant in TENANTS))
    table = _table("Seconds in the queue, of those that went on", "priority", *columns)
    by_flow = waits(report.decisions)
    for priority, name in BANDS.items():
        by_tenant = [by_flow.get(FlowKey(tenant, priority), []) for tenant in TENANTS]
        everybody = [wait for seconds in by_tenant for wait in seconds]
        shares = [percentile(everybody, 0.5), percentile(everybody, 0.99)]
        shares += [percentile(seconds, 0.5) for seconds in by_tenant]
        table.add_row(f"{name} ({priority})", str(len(everybody)), *(f"{share:.2f}" for share in shares))
    return table


def _outcomes(report: RunReport) -> Table:
    title = "How requests ended, by the Endpoint Picker's log and metrics, and for the clients"
    table = _table(title, "outcome", "HTTP", "reason", "log", "/metrics", "clients")
    logged = Counter(decision.outcome for decision in report.decisions)
    told = Counter(answer.reason for answer in report.answers)
    for outcome in QueueOutcome:
        counts = (logged[outcome], report.counted.get(outcome, 0))
        if any(counts):
            said = http_response(outcome)
            by_clients = told[HUNG_UP if outcome is QueueOutcome.EVICTED_CANCELLED else said.reason or ""]
            table.add_row(outcome.name, str(said.status), said.reason or "", *map(str, (*counts, by_clients)))
    table.add_section()
    totals = (len(report.decisions), sum(report.counted.values()), len(report.answers))
    table.add_row("all", "", "", *map(str, totals))
    return table


def _pods(report: RunReport) -> Table:
    table = _table("Most requests in flight", "pod", "slots", "by the picker", "by the pod", "served")
    for pod in report.pods:
        by_pod = "?" if pod.most_by_pod is None else str(pod.most_by_pod)
        table.add_row(pod.name, str(pod.limit), str(pod.most_by_epp), by_pod, str(pod.served))
    return table


def _facts(report: RunReport) -> Iterable[str]:
    yield f"cold start: {cold_start(report.decisions):.2f} s from the first request to the first that went on"
    stopped = sum(pod.most_by_pod is not None for pod in report.pods)
    yield f"pods: {len(report.pods)} started, {stopped} stopped in good order"
    late = lateness(report.decisions, CALLS)
    if late:
        most = max(late) * MILLISECONDS
        yield f"impatience: {len(late)} requests left when their own TTL ended, at most {most:.1f} ms later"
    yield f"order: {report.inversions} requests went on while a higher priority waited"


def _fairness(report: RunReport) -> Iterable[str]:
    turns, backlog = first_turns(report.decisions, STANDARD)
    if turns:
        shares = ", ".join(f"{tenant} {turns[tenant]} (of {backlog[tenant]})" for tenant in TENANTS)
        yield f"fairness: the first {turns.total()} {BANDS[STANDARD]} requests to go on were {shares}"
