"""Filter, score, pick: with plug-ins that may fail, and requests that may not."""

from collections.abc import Callable, Sequence
from typing import Any

from flowgate import Pod
from flowgate_epp.scheduling._contracts import Filter, Scorer
from flowgate_epp.scheduling._faults import Faults
from flowgate_epp.scheduling._requests import InferenceRequest
from flowgate_epp.scheduling._settings import SchedulerSettings

__all__ = ["Scheduler"]

_ODD_SCORE = "answered a score outside 0..1: it counts as 0"


class Scheduler:
    """Picks one of a request's candidates.

    Filters take pods away, one after the other. Of what they leave, each scorer scores all, and the picker chooses by
    the weighted sums. Where one pod is left nothing is scored. Parts that are `Picked` or `Closed` are told of the pick
    and of its end. One that fails is logged once and overruled, and the request goes on.

    Args:
        settings: The parts; None for the defaults.

    Attributes:
        faults: Failures of the parts.
    """

    def __init__(self, settings: SchedulerSettings | None = None) -> None:
        settings = SchedulerSettings() if settings is None else settings
        self.faults: Faults = Faults("flowgate_epp.scheduling")
        self._filters = settings.filters
        self._scorers = [(each.scorer, float(each.weight)) for each in settings.scorers]
        self._picker = settings.picker
        parts = [*self._filters, *(scorer for scorer, _ in self._scorers), self._picker]
        self._picked = _methods(parts, "picked")
        self._closed = _methods(parts, "closed")

    def schedule(self, request: InferenceRequest, candidates: Sequence[Pod]) -> Pod | None:
        """Return the candidate that the request goes to; None where the filters leave none.

        Args:
            request: What is known of it.
            candidates: The pods to choose from.
        """
        pods = candidates
        for each in self._filters:
            pods = self._filter(each, request, pods)
        if not pods:
            return None
        pod = pods[0] if len(pods) == 1 else self._pick(list(zip(pods, self._score(request, pods), strict=True)))
        if not is_among(pod, candidates):
            self.faults.note("filters and picker", self._picker, "chose a pod that is no candidate: the first one goes")
            pod = candidates[0]
        for part, picked in self._picked:
            try:
                picked(request, pod)
            except Exception as error:  # a plug-in may raise anything
                self.faults.note("learner", part, error)
        return pod

    def closed(self, pod: Pod) -> None:
        """Tell the parts that a request which was picked for this pod has ended."""
        for part, closed in self._closed:
            try:
                closed(pod)
            except Exception as error:  # a plug-in may raise anything
                self.faults.note("learner", part, error)

    def _filter(self, each: Filter, request: InferenceRequest, pods: Sequence[Pod]) -> Sequence[Pod]:
        if not pods:
            return pods
        try:
            left = each.filter(request, pods)
            len(left)
        except Exception as error:  # a plug-in may raise anything
            self.faults.note("filter", each, error)
            return pods
        return left

    def _score(self, request: InferenceRequest, pods: Sequence[Pod]) -> Sequence[float]:
        totals = [0.0] * len(pods)
        for scorer, weight in self._scorers:
            scores = self._scores_of(scorer, request, pods)
            totals = [total + weight * score for total, score in zip(totals, scores, strict=True)]
        return totals

    def _scores_of(self, scorer: Scorer, request: InferenceRequest, pods: Sequence[Pod]) -> Sequence[float]:
        try:
            scores = scorer.score(request, pods)
            if len(scores) != len(pods):
                self.faults.note(
                    "scorer", scorer, "answered for another number of pods than it was asked for: 0 for all"
                )
                return [0.0] * len(pods)
            # min and max overlook a NaN that does not come first; the sum does not.
            if min(scores) >= 0.0 and max(scores) <= 1.0 and sum(scores) >= 0.0:
                return scores
            self.faults.note("scorer", scorer, _ODD_SCORE)
            return [score if 0.0 <= score <= 1.0 else 0.0 for score in scores]
        except Exception as error:  # a plug-in may raise anything
            self.faults.note("scorer", scorer, error)
            return [0.0] * len(pods)

    def _pick(self, scored: Sequence[tuple[Pod, float]]) -> Pod:
        try:
            return self._picker.pick(scored)
        except Exception as error:  # a plug-in may raise anything
            self.faults.note("picker", self._picker, error)
            return max(scored, key=lambda each: each[1])[0]


def is_among(pod: object, pods: Sequence[Pod]) -> bool:
    """Return whether a pod is one of these; quick where it is the very same object."""
    for each in pods:
        if each is pod:
            return True
    return pod in pods


def _methods(parts: Sequence[object], name: str) -> Sequence[tuple[object, Callable[..., Any]]]:
    found = ((part, getattr(part, name, None)) for part in parts)
    return [(part, method) for part, method in found if callable(method)]
