"""Tables that become objects: records, records by name, and plug-ins by name."""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import cast

import attrs

from flowgate.configfile._calls import Call
from flowgate.configfile._plugins import QUEUE, PluginKind, find_plugin
from flowgate.configfile._problems import INVALID, Place
from flowgate.configfile._shapes import Shape
from flowgate.configfile._words import either, known, show

__all__ = ["Plugin", "Record", "Variants"]

ShapeOf = Callable[[object], Shape]


class Record:
    """A table whose keys are the fields of a class.

    Args:
        target: The class.
        shape_of: Makes the shapes of its fields, when they are first needed: a class may hold its own kind.
    """

    def __init__(self, target: type, shape_of: ShapeOf) -> None:
        self._target = target
        self._shape_of = shape_of
        self._call: Call | None = None

    @property
    def expected(self) -> str:
        """A table."""
        return "a table"

    @property
    def name(self) -> str:
        """The class's name, as files spell it: ``Gradient2`` is ``gradient2``, ``MyPolicy`` is ``my-policy``."""
        return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", self._target.__name__).lower()

    @property
    def call(self) -> Call:
        """What the class takes."""
        if self._call is None:
            self._call = Call.of(self._target, self.name, self._shape_of)
        return self._call

    def suits(self, value: object) -> bool:
        """Return whether it is a table."""
        return isinstance(value, Mapping)

    def read(self, value: object, place: Place, also: Iterable[str] = ()) -> object:
        """Make the object; keys of `also` are left to others."""
        if not self.suits(value):
            return place.refuse(f"expected {self.expected}, not {show(value)}")
        return _make(self.call, cast("Mapping[object, object]", value), place, also)


class Variants:
    """One of several classes, which the table's `name` chooses; the bare name does where nothing else is to be said."""

    def __init__(self, records: Iterable[Record]) -> None:
        self._records = {record.name: record for record in records}

    @property
    def expected(self) -> str:
        """The names."""
        return f"{either(show(name) for name in self._records)} (or a table with that name and its keys)"

    def suits(self, value: object) -> bool:
        """Return whether it is a name, or a table."""
        return isinstance(value, str | Mapping)

    def read(self, value: object, place: Place) -> object:
        """Make the object."""
        name, values, there = _split(value, place, self.expected, self._records)
        if name is None:
            return INVALID
        record = self._records.get(name)
        if record is None:
            return there.refuse(f'there is no {place.noun} "{name}"; {known(name, self._records)}')
        return _make(record.call, values, place)


@attrs.frozen
class Plugin:
    """A plug-in: its name, or a table of its `name` and its parameters.

    Args:
        kind: Which kind.
        shape_of: Makes the shapes of its parameters.
    """

    kind: PluginKind
    shape_of: ShapeOf

    @property
    def expected(self) -> str:
        """A name or a table."""
        return f"a {self.kind.noun} (its name, or a table with its name and parameters)"

    def suits(self, value: object) -> bool:
        """Return whether it is a name, or a table."""
        return isinstance(value, str | Mapping)

    def read(self, value: object, place: Place) -> object:
        """Import the plug-in and make it."""
        name, values, there = _split(value, place, self.expected, self.kind.names)
        if name is None:
            return INVALID
        target = find_plugin(self.kind, name, there)
        if target is INVALID:
            return INVALID
        call = Call.of(cast("Callable[..., object]", target), name, self.shape_of)
        if self.kind is QUEUE:
            # The engine itself calls it, for each flow.
            return _refuse_all(values, place) if values else target
        plugin = _make(call, values, place)
        if plugin is not INVALID and (lacking := self.kind.lacks(plugin)):
            return there.refuse(
                f'"{name}" makes a {type(plugin).__name__}, which is no {self.kind.noun}: it lacks '
                + ", ".join(lacking)
            )
        return plugin


def _make(call: Call, table: Mapping[object, object], place: Place, also: Iterable[str] = ()) -> object:
    before = len(place.problems)
    values = call.read(table, place, also)
    return call.make(values, place) if len(place.problems) == before else INVALID


def _split(
    value: object, place: Place, expected: str, names: Iterable[str]
) -> tuple[str | None, Mapping[object, object], Place]:
    """Return a choice's name, its parameters, and where the name stands; no name once its problem is noted."""
    if isinstance(value, str):
        return value, {}, place
    if not isinstance(value, Mapping):
        place.refuse(f"expected {expected}, not {show(value)}")
        return None, {}, place
    table = cast("Mapping[object, object]", value)
    here = place.key("name")
    name = table.get("name")
    if isinstance(name, str):
        return name, {key: each for key, each in table.items() if key != "name"}, here
    if "name" in table:
        here.refuse(f"expected a text, not {show(name)}")
    else:
        place.refuse(f'the key "name" is missing; {known("", names)}')
    return None, {}, here


def _refuse_all(values: Iterable[object], place: Place) -> object:
    for key in values:
        place.key(key).refuse("unknown key; a queue takes no parameters")
    return INVALID
