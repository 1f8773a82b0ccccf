"""Locators with few parts, to wrap."""

from collections.abc import Callable, Hashable, Mapping, Sequence

from flowgate.contracts import Pod


class PlainLocator:
    """Has `locate` and nothing else; answers with the very list it holds, and counts calls."""

    def __init__(self, pods: Sequence[Pod] = ()) -> None:
        self.pods: Sequence[Pod] = pods
        self.calls = 0

    def __repr__(self) -> str:
        return "PlainLocator()"

    def locate(self, metadata: Mapping[str, object]) -> Sequence[Pod]:
        self.calls += 1
        return self.pods


class KeyedLocator(PlainLocator):
    """Has one lane for all; announces nothing."""

    def selection_key(self, metadata: Mapping[str, object]) -> Hashable:
        return "all"


class ModelLocator(PlainLocator):
    """Has a lane for each model; announces nothing."""

    def __init__(self, **models: Sequence[Pod]) -> None:
        super().__init__()
        self.models = models

    def locate(self, metadata: Mapping[str, object]) -> Sequence[Pod]:
        self.calls += 1
        return self.models[str(metadata["model"])]

    def selection_key(self, metadata: Mapping[str, object]) -> Hashable:
        return metadata.get("model")


class TimedLocator(ModelLocator):
    """Its answers change at a time that it tells."""

    change_at: float | None = None
    clock: Callable[[], float] | None = None

    def bind(self, clock: Callable[[], float]) -> None:
        self.clock = clock

    def next_change(self) -> float | None:
        return self.change_at


class Clock:
    """A clock to set."""

    now = 0.0

    def __call__(self) -> float:
        return self.now
