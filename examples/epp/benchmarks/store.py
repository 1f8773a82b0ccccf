"""``python -m examples.epp.benchmarks.store [--quick] [--json FILE]``: what 10,000 pods cost while they change.

A process of its own plays the API server: it holds the pods, and lets some become ready or unready every second. What
is measured here is everything between its answers and the dispatch pass: the watch, the store, the index of subsets,
and a controller in which requests wait that no pod has room for. Run it from the repository's root. Nothing fails when
a target is missed.
"""

import argparse
import asyncio
import itertools
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from statistics import median
from typing import Any, Final

import attrs

from benchmarks.report import machine
from examples.stage.kubernetes import FakeApiServer
from flowgate import FlowControlConfig, FlowController, Pod, PodMetrics, PriorityBandConfig, Request
from flowgate.locators import SubsetPodLocator
from flowgate.saturation import UtilizationDetector
from flowgate_epp.kubernetes import ApiClient, ClusterSettings, KubernetesPods
from flowgate_epp.pods import PodStore

__all__ = ["MOST_LOCATE", "MOST_SHARE", "Figures", "Scene", "main", "measure"]

MOST_SHARE: Final = 0.15
"""Of a core, that the pool may take while it changes."""
MOST_LOCATE: Final = 50e-6
"""Seconds of CPU time that a locate for a subset may take meanwhile."""

_NAMESPACE: Final = "bench"
_PODS: Final = f"/api/v1/namespaces/{_NAMESPACE}/pods"
_POOL: Final = f"/apis/inference.networking.k8s.io/v1/namespaces/{_NAMESPACE}/inferencepools"
_API_VERSION: Final = "inference.networking.k8s.io/v1"
_HINT: Final = ("envoy.lb.subset_hint", "x-gateway-destination-endpoint-subset")
_SUBSET: Final = 10
_ASKED: Final = 20
_FULL: Final = 1_000


@attrs.frozen
class Sizes:
    """How much work a run does.

    Args:
        pods: In the pool.
        changes: Pods that become ready or unready, a second.
        seconds: For which each scene is measured.
    """

    pods: int = 10_000
    changes: int = 100
    seconds: float = 10.0


@attrs.frozen
class Scene:
    """What waits while the pool changes.

    Args:
        name: As the report shows it.
        is_all: Whether a request waits for any pod.
        subsets: Lanes in which requests wait for ten pods each.
        metrics: Scrapes a second whose figures are new.
    """

    name: str
    is_all: bool = False
    subsets: int = 0
    metrics: int = 0


@attrs.frozen
class Figures:
    """What one scene cost.

    Args:
        share: CPU time of this process, as a share of a core.
        changes: Changes of the pool that were seen, a second.
        locate: Seconds of CPU time for a locate of ten pods right after a change, as the mean of 20 such subsets; the
            median of all changes, and 99 %.
    """

    share: float
    changes: float
    locate: tuple[float, float]


SCENES: Final = (
    Scene("nobody waits"),
    Scene("one lane of all pods waits", is_all=True),
    Scene("100 lanes of 10 pods wait", subsets=100),
    Scene("both, and 1,000 scrapes a second", is_all=True, subsets=100, metrics=1_000),
)
FULL: Final = Sizes()
QUICK: Final = Sizes(seconds=3.0)


async def measure(sizes: Sizes, scenes: Sequence[Scene] = SCENES) -> Mapping[str, Figures]:
    """Run all scenes, one after the other."""
    with tempfile.TemporaryDirectory() as folder:
        kubeconfig = Path(folder) / "kubeconfig"
        async with _server(kubeconfig, sizes):
            return {scene.name: await _run(scene, sizes, kubeconfig) for scene in scenes}


async def _run(scene: Scene, sizes: Sizes, kubeconfig: Path) -> Figures:
    store = PodStore()
    locator = SubsetPodLocator(store)
    # Each pod is scraped again before what it said is stale.
    detector = UtilizationDetector(staleness=3.0 * sizes.pods / max(scene.metrics, 1))
    config = FlowControlConfig([PriorityBandConfig(0)], default_ttl=3_600.0)
    async with (
        ApiClient(ClusterSettings(kubeconfig=str(kubeconfig), namespace=_NAMESPACE)) as client,
        FlowController(config, locator=locator, detector=detector) as controller,
    ):
        tasks = [asyncio.create_task(KubernetesPods("pool").source(client).run(store))]
        await store.synced()
        tasks += [asyncio.create_task(_wait(controller, metadata)) for metadata in _waiting(scene)]
        tasks += [asyncio.create_task(_scrape(store, scene.metrics))]
        await asyncio.sleep(1.0)
        try:
            with _count(store, locator) as counted:
                began, spent = time.monotonic(), time.process_time()
                await asyncio.sleep(sizes.seconds)
                # What the measurement itself takes does not count.
                spent = time.process_time() - spent - _ASKED * sum(counted.locates)
                elapsed = time.monotonic() - began
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
    ordered = sorted(counted.locates) or [0.0]
    return Figures(spent / elapsed, counted.changes / elapsed, (median(ordered), ordered[len(ordered) * 99 // 100]))


def _waiting(scene: Scene) -> Iterator[Mapping[str, object]]:
    if scene.is_all:
        yield {}
    for number in range(scene.subsets):
        yield _hint(range(_SUBSET * number, _SUBSET * (number + 1)))


def _hint(pods: range) -> Mapping[str, object]:
    namespace, key = _HINT
    return {namespace: {key: [f"{_address(number)}:8000" for number in pods]}}


async def _wait(controller: FlowController, metadata: Mapping[str, object]) -> None:
    (await controller.enqueue_and_wait(Request("flow", metadata=metadata))).release()


async def _scrape(store: PodStore, rate: int) -> None:
    loop, step = asyncio.get_running_loop(), 0.01
    pods: Iterator[Pod] = iter(())
    while rate:
        for _ in range(int(rate * step)):
            pod = next(pods, None)
            if pod is None:
                pods = iter(store.pods)
                pod = next(pods)
            store.set_metrics(pod, PodMetrics(_FULL, 8, 0.5, loop.time()))
        await asyncio.sleep(step)


@attrs.define
class _Changes:
    """What was seen: pods that came or went, and the seconds that a locate took after each change."""

    changes: int = 0
    locates: list[float] = attrs.Factory(list[float])


@contextmanager
def _count(store: PodStore, locator: SubsetPodLocator) -> Iterator[_Changes]:
    counted = _Changes()
    hints = [_hint(range(start, start + _SUBSET)) for start in range(0, _SUBSET * _ASKED, _SUBSET)]

    def hear(
        pods: Sequence[Pod] | None = None,  # noqa: ARG001 - the contract's
        *,
        removed: Sequence[Pod] = (),
        added: Sequence[Pod] = (),
    ) -> None:
        if removed or added:
            counted.changes += len(removed) + len(added)
            began = time.thread_time()
            for hint in hints:
                locator.locate(hint)
            counted.locates.append((time.thread_time() - began) / _ASKED)

    unsubscribe = store.subscribe_changes(hear)
    try:
        yield counted
    finally:
        unsubscribe()


# -- the process that plays the API server


@asynccontextmanager
async def _server(kubeconfig: Path, sizes: Sizes) -> Any:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "examples.epp.benchmarks.store", "--serve", str(kubeconfig)),
        *("--pods", str(sizes.pods), "--changes", str(sizes.changes)),
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        await process.stdout.readline()
        yield
    finally:
        process.terminate()
        await process.wait()


async def _serve(kubeconfig: Path, sizes: Sizes) -> None:
    async with FakeApiServer() as server:
        pool = {"selector": {"matchLabels": {"app": "model"}}, "targetPorts": [{"number": 8000}]}
        kind = {"apiVersion": _API_VERSION, "kind": "InferencePool"}
        await server.create(_POOL, {**kind, "metadata": {"name": "pool"}, "spec": pool})
        for number in range(sizes.pods):
            await server.create(_PODS, _pod(number, is_ready=True))
        server.write_kubeconfig(kubeconfig, namespace=_NAMESPACE)
        print("ready", flush=True)
        began = time.monotonic()
        for turn in itertools.count():
            # One pod after the other becomes unready, and ready again.
            number = turn // 2 % sizes.pods
            await server.update(f"{_PODS}/{_name(number)}", _pod(number, is_ready=bool(turn % 2)))
            await asyncio.sleep(max(0.0, began + turn / sizes.changes - time.monotonic()))


def _pod(number: int, *, is_ready: bool) -> Mapping[str, Any]:
    conditions = [
        {"type": kind, "status": "True" if is_ready or kind != "Ready" else "False", "lastProbeTime": None}
        for kind in ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled")
    ]
    container = {
        "name": "server",
        "image": "registry.example/model-server:1",
        "env": [{"name": f"SETTING_{each}", "value": "x" * 40} for each in range(20)],
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": _name(number), "labels": {"app": "model", "pod-template-hash": "5d4f8c7b9"}},
        "spec": {"nodeName": f"node-{number % 500}", "containers": [container]},
        "status": {"phase": "Running", "podIP": _address(number), "conditions": conditions},
    }


def _name(number: int) -> str:
    return f"model-5d4f8c7b9-{number:05d}"


def _address(number: int) -> str:
    return f"10.{1 + number // 62_500}.{number // 250 % 250}.{number % 250 + 1}"


# -- the report


def table(figures: Mapping[str, Figures]) -> str:
    """Return the report as aligned lines."""
    rows: list[tuple[str, ...]] = [("", "changes/s", "share of a core", "locate of 10", "99 %")]
    rows += [
        (name, f"{each.changes:.0f}", f"{each.share:.1%}", *(f"{1e6 * seconds:.1f} µs" for seconds in each.locate))
        for name, each in figures.items()
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        )
        for row in rows
    )


def verdicts(figures: Mapping[str, Figures]) -> Sequence[str]:
    """Say of each target whether it is met."""
    share = max(each.share for each in figures.values())
    locate = max(each.locate[0] for each in figures.values())
    return [
        f"{share:.1%} of a core at most, {_met(share, MOST_SHARE)} (less than {MOST_SHARE:.0%})",
        f"{1e6 * locate:.1f} µs for a locate, {_met(locate, MOST_LOCATE)} (less than {1e6 * MOST_LOCATE:.0f} µs)",
    ]


def _met(value: float, most: float) -> str:
    return "as it should" if value < most else "MORE than it should"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m examples.epp.benchmarks.store", description="Measure what a large pool costs while it changes."
    )
    parser.add_argument("--quick", action="store_true", help="shorter scenes")
    parser.add_argument("--pods", type=int, metavar="N", help="in the pool")
    parser.add_argument("--changes", type=int, metavar="N", help="a second")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    return parser


def main(arguments: Sequence[str] | None = None, say: Callable[[str], None] = print) -> None:
    """Print the report."""
    options = _parser().parse_args(arguments)
    sizes = QUICK if options.quick else FULL
    sizes = attrs.evolve(sizes, pods=options.pods or sizes.pods, changes=options.changes or sizes.changes)
    if options.serve is not None:
        asyncio.run(_serve(options.serve, sizes))
        return
    figures = asyncio.run(measure(sizes))
    say(machine())
    say(f"{sizes.pods:,} pods; for {sizes.seconds:g} s each\n")
    say(table(figures))
    say("\n" + "\n".join(verdicts(figures)))
    if options.json is not None:
        plain = {name: attrs.asdict(each) for name, each in figures.items()}
        options.json.write_text(json.dumps(plain, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
