"""A whole configuration: from a file, or a mapping, to what a controller takes."""

import os
import re
from collections.abc import Iterable, Mapping
from typing import Final, cast

import attrs

from flowgate.config import FlowControlConfig
from flowgate.configfile._annotations import shape_of
from flowgate.configfile._files import is_yaml, read_file
from flowgate.configfile._problems import INVALID, ConfigError, Place, Problem
from flowgate.configfile._tables import Record
from flowgate.configfile._words import show
from flowgate.contracts import PodLocator, SaturationDetector, UsageLimitPolicy
from flowgate.controller import FlowController

__all__ = [
    "ConfigSource",
    "Settings",
    "SettingsTable",
    "load_config",
    "load_settings",
    "open_source",
    "raise_any",
]

ConfigSource = Mapping[str, object] | str | os.PathLike[str]

_PLUGINS: Final[Mapping[str, object]] = {
    "detector": SaturationDetector | None,
    "locator": PodLocator | None,
    "usage_limit": UsageLimitPolicy | None,
}


@attrs.define(eq=False)
class _Use:
    """Whether settings have made their controller; the one thing of theirs that changes."""

    is_made: bool = False


@attrs.frozen
class Settings:
    """What a configuration file says.

    Plug-ins hold state, so the settings of one load make one controller.

    Args:
        config: Limits, budgets and policies.
        detector: Says how full a pod is; None where the file names none.
        locator: Resolves a request's metadata to pods; None where the file names none.
        usage_limit: Holds lower bands back; None lets every band fill a pod.
    """

    config: FlowControlConfig
    detector: SaturationDetector | None = None
    locator: PodLocator | None = None
    usage_limit: UsageLimitPolicy | None = None
    _use: _Use = attrs.field(factory=_Use, init=False, eq=False, repr=False)

    def new_controller(
        self,
        *,
        locator: PodLocator | None = None,
        detector: SaturationDetector | None = None,
        observers: Iterable[object] = (),
        explain_last: int | None = None,
    ) -> FlowController:
        """Make the controller that the file describes.

        Args:
            locator: Stands in for the file's.
            detector: Stands in for the file's.
            observers: Receive events.
            explain_last: How many decisions can be explained; None for what the file says.

        Raises:
            ValueError: Neither the file nor the call names a locator, or a detector.
            RuntimeError: These settings have made a controller already.
        """
        if self._use.is_made:
            raise RuntimeError("these settings have made a controller already: load the file again")
        locator = locator or self.locator
        detector = detector or self.detector
        if locator is None or detector is None:
            missing = "locator" if locator is None else "detector"
            raise ValueError(f"the configuration names no {missing}, and none is given")
        config = self.config if explain_last is None else attrs.evolve(self.config, explain_last=explain_last)
        controller = FlowController(
            config, locator=locator, detector=detector, observers=observers, usage_limit=self.usage_limit
        )
        self._use.is_made = True
        return controller


def load_settings(source: ConfigSource) -> Settings:
    """Read a whole configuration.

    Args:
        source: The path of a ``.toml``, ``.yaml`` or ``.yml`` file, or what such a file would hold.

    Raises:
        ConfigError: It cannot be read, or anything in it is wrong; all mistakes are told at once.

    >>> settings = load_settings({"default_ttl": 30, "detector": {"name": "concurrency", "max_concurrency": 8}})
    >>> settings.config.default_ttl, settings.detector
    (30, ConcurrencyDetector(8))
    """
    table, name = open_source(source)
    place = Place(is_yaml=is_yaml(name))
    settings = SettingsTable().read(table, place)
    raise_any(name, table, place)
    return cast("Settings", settings)


def load_config(source: ConfigSource) -> FlowControlConfig:
    """Read the limits, budgets and policies of a controller whose locator and detector are made in code.

    A file that names those, too, is refused: to leave out a part of what a file says, take
    ``load_settings(source).config``.

    Args:
        source: The path of a ``.toml``, ``.yaml`` or ``.yml`` file, or what such a file would hold.

    Raises:
        ConfigError: It cannot be read, or anything in it is wrong; all mistakes are told at once.

    >>> load_config({"bands": [{"priority": 1, "dispatch": "edf"}]}).bands[0].dispatch
    EarliestDeadlineFirst()
    """
    table, name = open_source(source)
    place = Place(is_yaml=is_yaml(name))
    for key in _PLUGINS:
        if key in table:
            place.key(key).refuse("load_config does not read it: take load_settings")
    config = _read_config(table, place)
    raise_any(name, table, place)
    return cast("FlowControlConfig", config)


class SettingsTable:
    """A table that holds what `load_settings` reads."""

    @property
    def expected(self) -> str:
        """A table."""
        return "a table"

    def suits(self, value: object) -> bool:
        """Return whether it is a table."""
        return isinstance(value, Mapping)

    def read(self, value: object, place: Place) -> object:
        """Make the settings."""
        if not self.suits(value):
            return place.refuse(f"expected {self.expected}, not {show(value)}")
        before = len(place.problems)
        table = cast("Mapping[object, object]", value)
        config = _read_config(table, place)
        given = {key: kind for key, kind in _PLUGINS.items() if key in table}
        plugins = {key: shape_of(kind).read(table[key], place.key(key)) for key, kind in given.items()}
        if len(place.problems) > before:
            return INVALID
        return Settings(cast("FlowControlConfig", config), **plugins)  # type: ignore[arg-type]


def open_source(source: ConfigSource) -> tuple[Mapping[object, object], str]:
    """Return a configuration's table, and its name for errors.

    Raises:
        ConfigError: The file cannot be read.
        TypeError: The source is neither a path nor a mapping.
    """
    if isinstance(source, Mapping):
        return cast("Mapping[object, object]", source), "configuration"
    if isinstance(source, str | os.PathLike):
        return read_file(source), os.fspath(source)
    raise TypeError(f"a configuration is a path or a mapping, not {source!r}")


def _read_config(table: Mapping[object, object], place: Place) -> object:
    config = Record(FlowControlConfig, shape_of).read(_with_template(table, place), place, also=_PLUGINS)
    bands = place.key("bands")
    repeated = _repeated_priorities(table.get("bands"), bands)
    if repeated:  # the constructor says so less exactly, and only when all else is right
        place.problems[:] = [problem for problem in place.problems if problem.path != bands.path] + repeated
    return config


def _with_template(table: Mapping[object, object], place: Place) -> Mapping[object, object]:
    """Give the template of bands a priority, which each band has of its own."""
    template = table.get("default_band")
    if not isinstance(template, Mapping):
        return table
    if "priority" in template:
        place.key("default_band").key("priority").refuse("the template serves every priority that bands does not list")
    return {**table, "default_band": {**cast("Mapping[object, object]", template), "priority": 0}}


def _repeated_priorities(bands: object, place: Place) -> list[Problem]:
    """Return a problem for each priority that a band before it has."""
    first: dict[int, int] = {}
    found = place.trial()
    for index, band in enumerate(cast("Iterable[object]", bands) if isinstance(bands, list | tuple) else ()):
        priority = cast("Mapping[object, object]", band).get("priority") if isinstance(band, Mapping) else None
        if isinstance(priority, int) and not isinstance(priority, bool):
            earlier = first.setdefault(priority, index)
            if earlier != index:
                found.item(index).key("priority").refuse(f"bands[{earlier}] has the priority {priority}, too")
    return found.problems


def raise_any(name: str, table: Mapping[object, object], place: Place) -> None:
    """Raise what was found, in the order of the table.

    Raises:
        ConfigError: Something was.
    """
    order = [Place().key(key).path for key in table]

    def position(problem: Problem) -> tuple[int, int]:
        parts = re.match(r'("[^"]*"|[\w-]+)(?:\[(\d+)\])?', problem.path)
        root, index = parts.groups() if parts else ("", None)
        return (order.index(root) if root in order else -1, int(index or 0))

    if place.problems:
        raise ConfigError(name, sorted(place.problems, key=position))
