"""Detectors with few parts, to wrap."""

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any

from flowgate.contracts import Pod, PodLoad, ReleaseResult

Callback = Callable[[Sequence[Pod] | None], None]


class Clock:
    """A clock to set."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


class SilentDetector:
    """Has `saturation` and nothing else; answers what it is told to."""

    def __init__(self, answer: Any = 0.5) -> None:
        self.answer = answer

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.answer})"

    def saturation(self, pod: Pod, load: PodLoad) -> Any:
        return self.answer


class WatchableDetector(SilentDetector):
    """Announces what a test says."""

    def __init__(self, answer: Any = 0.5) -> None:
        super().__init__(answer)
        self.callbacks: list[Callback] = []

    def subscribe(self, callback: Callback) -> Callable[[], None]:
        self.callbacks.append(callback)
        return lambda: self.callbacks.remove(callback)

    def announce(self, pods: Sequence[Pod] | None = None) -> None:
        for callback in self.callbacks:
            callback(pods)


class TimedDetector(SilentDetector):
    """Its answers change at a time that it tells."""

    change_at: float | None = None
    clock: Callable[[], float] | None = None

    def bind(self, clock: Callable[[], float]) -> None:
        self.clock = clock

    def next_change(self) -> float | None:
        return self.change_at


class LearningDetector(WatchableDetector):
    """Keeps what it hears of releases."""

    def __init__(self, answer: Any = 0.5) -> None:
        super().__init__(answer)
        self.heard: list[tuple[Pod, PodLoad, float, ReleaseResult]] = []

    def released(self, pod: Pod, load: PodLoad, held: float, result: ReleaseResult) -> None:
        self.heard.append((pod, load, held, result))


class EnteredDetector(WatchableDetector):
    """An async context manager that notes in a journal when it is entered and left; it may fail to be entered."""

    def __init__(self, name: str, journal: list[str], *, fails: bool = False) -> None:
        super().__init__()
        self.name = name
        self.journal = journal
        self.fails = fails

    async def __aenter__(self) -> "EnteredDetector":
        self.journal.append(f"enter {self.name}")
        if self.fails:
            raise OSError("no connection")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.journal.append(f"leave {self.name}")
