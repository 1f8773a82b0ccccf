"""Pods that a file lists, followed as it changes."""

import asyncio
import json
import logging
from collections.abc import Sequence
from contextlib import aclosing
from pathlib import Path
from typing import cast

import attrs

from flowgate import Pod
from flowgate.configfile import ConfigError, Problem, load_record
from flowgate.validators import finite_seconds
from flowgate_epp.contracts import PodSink
from flowgate_epp.pods._directory import directory_changes
from flowgate_epp.pods._entries import PodEntry, distinct
from flowgate_epp.pods._outage import Outage

__all__ = ["Content", "FilePods"]

_logger = logging.getLogger("flowgate_epp.pods")


@attrs.frozen
class _PodsFile:
    pods: tuple[PodEntry, ...] = attrs.field(validator=distinct)


@attrs.frozen
class FilePods:
    """Pods that a JSON, TOML or YAML file lists: ``{"pods": [{"name": ..., "address": ..., "port": ...}]}``.

    An entry may also have a ``namespace`` and ``labels``. The file's directory is watched, so that a file put in place
    by a rename is seen within some 20 ms, and so is a mounted ConfigMap's. Write it like that: to a file beside it,
    then ``os.replace``; of a file that is written in place, a half may be read.

    A file that is wrong or cannot be read leaves the pool as it is, and the log says once what is wrong where. So does
    a file that vanishes: no pods is what an empty list says.

    Args:
        path: The file; its name ends with .json, .toml, .yaml or .yml.
        poll_interval: How often the file is read for all that, in seconds: a safety net for directories that cannot be
            watched, or were replaced.

    Raises:
        ValueError: The name ends otherwise, or the interval is no finite time.
    """

    path: str = attrs.field()
    poll_interval: float = attrs.field(default=5.0, validator=finite_seconds)

    @path.validator
    def _check_path(self, _field: object, value: str) -> None:
        if Path(value).suffix.lower() not in {".json", ".toml", ".yaml", ".yml"}:
            raise ValueError(f"path must end with .json, .toml, .yaml or .yml, not {value!r}")

    async def run(self, sink: PodSink) -> None:
        """Follow the file until cancelled."""
        content = Content(Path(self.path))
        outage = Outage(_logger, f"the pods of {self.path}", "the pool stays as it is")
        async with aclosing(directory_changes(content.path.parent, self.poll_interval)) as changes:
            async for _ in changes:
                await _follow(content, sink, outage)


async def _follow(content: "Content", sink: PodSink, outage: Outage) -> None:
    try:
        # In a thread: a thousand pods of YAML take a third of a second to read.
        pods = await asyncio.to_thread(content.read)
    except (OSError, ValueError) as error:
        outage.fail(_reason(error))
        return
    outage.recover()
    if pods is not None:
        sink.set_pods(pods)


def _reason(error: OSError | ValueError) -> str:
    if isinstance(error, OSError):
        return f"the file cannot be read: {error.strerror}"
    return "; ".join(map(str, error.problems)) if isinstance(error, ConfigError) else str(error)


@attrs.define(eq=False)
class Content:
    """A file, and what was in it when it was last read."""

    path: Path
    _seen: bytes | None = None
    _error: ValueError | None = None

    def read(self) -> Sequence[Pod] | None:
        """Return the pods, or None when the file is the one read before.

        Raises:
            OSError: It cannot be read.
            ValueError: It is wrong.
        """
        content = self.path.read_bytes()
        if content == self._seen:
            if self._error is not None:
                raise self._error
            return None
        self._seen, self._error = content, None
        try:
            return [entry.to_pod() for entry in self._load(content).pods]
        except RecursionError:
            self._error = ValueError("the file is nested too deeply")
            raise self._error from None
        except ValueError as error:
            self._error = error
            raise

    def _load(self, content: bytes) -> _PodsFile:
        if self.path.suffix.lower() != ".json":
            return load_record(_PodsFile, self.path)
        table = json.loads(content)
        if not isinstance(table, dict):
            raise ConfigError(str(self.path), [Problem("", f"the file must hold a table, not {table!r:.40}")])
        return load_record(_PodsFile, cast("dict[str, object]", table))
