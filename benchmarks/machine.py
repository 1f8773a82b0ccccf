"""What the figures were measured on, and when."""

import os
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

import attrs

__all__ = ["Machine"]


@attrs.frozen
class Machine:
    """A machine, and a day.

    Args:
        cores: That the operating system knows.
        cpu: The model of its processor.
        python: Implementation and version.
        platform: Operating system and architecture.
        date: As ``2026-11-24``, in UTC.
    """

    cores: int
    cpu: str
    python: str
    platform: str
    date: str

    @classmethod
    def here(cls) -> Self:
        """Describe this one, today."""
        return cls(
            os.cpu_count() or 1,
            _cpu(),
            f"{platform.python_implementation()} {platform.python_version()}",
            platform.platform(),
            datetime.now(UTC).date().isoformat(),
        )

    def __str__(self) -> str:
        return f"{self.cores} cores of {self.cpu}, {self.python}, {self.platform}, {self.date}"


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:  # not Linux
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()
