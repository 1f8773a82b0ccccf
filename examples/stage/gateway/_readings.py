"""What a Prometheus page says."""

from typing import Self

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

__all__ = ["Readings"]


class Readings:
    """The samples of one page.

    Args:
        samples: As they were read.
    """

    def __init__(self, samples: list[Sample]) -> None:
        self.samples = samples

    @classmethod
    def read(cls, text: str) -> Self:
        """Read a page.

        Raises:
            ValueError: It is none.
        """
        return cls([sample for family in text_string_to_metric_families(text) for sample in family.samples])

    @property
    def names(self) -> set[str]:
        """The names of all samples."""
        return {sample.name for sample in self.samples}

    def total(self, name: str, **labels: str) -> float:
        """Add up the samples of a name that have these labels, among others."""
        return sum(sample.value for sample in self._of(name, labels))

    def by(self, label: str, name: str, **labels: str) -> dict[str, float]:
        """Add them up by one more label, without what is zero."""
        totals: dict[str, float] = {}
        for sample in self._of(name, labels):
            which = sample.labels[label]
            totals[which] = totals.get(which, 0.0) + sample.value
        return {which: total for which, total in totals.items() if total}

    def _of(self, name: str, labels: dict[str, str]) -> list[Sample]:
        return [sample for sample in self.samples if sample.name == name and labels.items() <= sample.labels.items()]
