"""A program's own configuration, which holds flowgate's as a part."""

from collections.abc import Iterable, Mapping
from typing import Final, TypeVar, cast

from flowgate.configfile._annotations import Shapes
from flowgate.configfile._files import is_yaml
from flowgate.configfile._plugins import KINDS, PluginKind
from flowgate.configfile._problems import Place
from flowgate.configfile._settings import ConfigSource, Settings, SettingsTable, open_source, raise_any
from flowgate.configfile._shapes import Shape
from flowgate.configfile._tables import Record

__all__ = ["load_record"]

_Record = TypeVar("_Record")

_SPECIAL: Final[Mapping[object, Shape]] = {Settings: SettingsTable()}


def load_record(record: type[_Record], source: ConfigSource, *, plugins: Iterable[PluginKind] = ()) -> _Record:
    """Read a file into an attrs class of your own, by the rules of flowgate's files.

    The class's fields are the file's keys: a field that holds an attrs class is a table, a union of attrs classes a
    choice by `name`, ``X | None`` may be ``"none"``. A field of the type `Settings` is a table with all that
    `load_settings` reads. Unknown and missing keys are errors, and so is whatever the class's validators refuse.

    Args:
        record: The class.
        source: The path of a ``.toml``, ``.yaml`` or ``.yml`` file, or what such a file would hold.
        plugins: Kinds of plug-ins of your own, which fields annotated with their contracts may name.

    Raises:
        ConfigError: It cannot be read, or anything in it is wrong; all mistakes are told at once.

    >>> import attrs
    >>> from flowgate.configfile import load_settings
    >>> @attrs.frozen
    ... class Gateway:
    ...     port: int = 8080
    ...     flow_control: Settings = attrs.field(factory=lambda: load_settings({}))
    >>> gateway = load_record(Gateway, {"port": 80, "flow_control": {"default_ttl": 5, "detector": "utilization"}})
    >>> gateway.port, gateway.flow_control.config.default_ttl
    (80, 5)
    """
    table, name = open_source(source)
    place = Place(is_yaml=is_yaml(name))
    made = Record(record, Shapes((*KINDS, *plugins), _SPECIAL).of).read(table, place)
    raise_any(name, table, place)
    return cast("_Record", made)
