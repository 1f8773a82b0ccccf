"""What a place in a file may hold: plain values, lists, maps, and choices between them."""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final, Protocol, cast

import attrs

from flowgate.configfile._numbers import number_hint
from flowgate.configfile._problems import INVALID, Place
from flowgate.configfile._words import either, show

__all__ = ["Anything", "Choice", "Function", "ListOf", "MapOf", "Nothing", "OneOf", "Plain", "Row", "Shape"]

_PLAIN_NAMES: Final[Mapping[type, str]] = {bool: "true or false", int: "an integer", float: "a number", str: "a text"}


class Shape(Protocol):
    """What a place may hold, and what it becomes."""

    @property
    def expected(self) -> str:
        """What the place should hold, for messages."""
        ...

    def suits(self, value: object) -> bool:
        """Return whether a value has the outward form; what is in it may still be wrong."""
        ...

    def read(self, value: object, place: Place) -> object:
        """Return what the value becomes; INVALID once its problems are noted."""
        ...


def _refuse(shape: Shape, value: object, place: Place) -> object:
    hint = number_hint(value, shape.expected, is_yaml=place.is_yaml)
    return place.refuse(f"expected {shape.expected}, not {show(value)}{hint}")


@attrs.frozen
class Plain:
    """A value of one of the four plain types; an integer is a number too, and true is none."""

    kind: type

    @property
    def expected(self) -> str:
        return _PLAIN_NAMES[self.kind]

    def suits(self, value: object) -> bool:
        if isinstance(value, bool):
            return self.kind is bool
        return isinstance(value, int | float) if self.kind is float else isinstance(value, self.kind)

    def read(self, value: object, place: Place) -> object:
        return value if self.suits(value) else _refuse(self, value, place)


@attrs.frozen
class Choice:
    """One of a few values."""

    values: Sequence[object]

    @property
    def expected(self) -> str:
        return either([show(value) for value in self.values])

    def suits(self, value: object) -> bool:
        return any(type(each) is type(value) and each == value for each in self.values)

    def read(self, value: object, place: Place) -> object:
        return value if self.suits(value) else _refuse(self, value, place)


@attrs.frozen
class Nothing:
    """No value: ``"none"``, for TOML has no null, or YAML's null."""

    @property
    def expected(self) -> str:
        return '"none"'

    def suits(self, value: object) -> bool:
        return value is None or value == "none"

    def read(self, value: object, place: Place) -> object:
        return None if self.suits(value) else _refuse(self, value, place)


_NOTHING: Final = Nothing()


@attrs.frozen
class Anything:
    """A value that only the plug-in itself can judge."""

    @property
    def expected(self) -> str:
        return "a value"

    def suits(self, value: object) -> bool:
        return value is not INVALID

    def read(self, value: object, place: Place) -> object:  # noqa: ARG002 - the contract's
        return value


@attrs.frozen
class Function:
    """A Python function."""

    @property
    def expected(self) -> str:
        return "a Python function, which no file can hold"

    def suits(self, value: object) -> bool:
        return callable(value)

    def read(self, value: object, place: Place) -> object:
        return value if self.suits(value) else _refuse(self, value, place)


@attrs.frozen
class ListOf:
    """Any number of values of one shape."""

    item: Shape
    make: Callable[[Sequence[object]], Collection[object]] = tuple

    @property
    def expected(self) -> str:
        return "a list"

    def suits(self, value: object) -> bool:
        return isinstance(value, list | tuple)

    def read(self, value: object, place: Place) -> object:
        if not self.suits(value):
            return _refuse(self, value, place)
        given = cast("Sequence[object]", value)
        items = [self.item.read(item, place.item(index)) for index, item in enumerate(given)]
        return INVALID if any(item is INVALID for item in items) else self.make(items)


@attrs.frozen
class Row:
    """A list of fixed length, with a shape for each item."""

    items: Sequence[Shape]

    @property
    def expected(self) -> str:
        return f"a list of {len(self.items)}"

    def suits(self, value: object) -> bool:
        return isinstance(value, list | tuple) and len(cast("Sequence[object]", value)) == len(self.items)

    def read(self, value: object, place: Place) -> object:
        if not self.suits(value):
            return _refuse(self, value, place)
        given = cast("Sequence[object]", value)
        pairs = enumerate(zip(self.items, given, strict=True))
        items = [shape.read(item, place.item(index)) for index, (shape, item) in pairs]
        return INVALID if any(item is INVALID for item in items) else tuple(items)


@attrs.frozen
class MapOf:
    """A table with keys of the user's own. To TOML all keys are text: where integers are asked for, they are read."""

    keys: Shape
    values: Shape

    @property
    def expected(self) -> str:
        return "a table"

    def suits(self, value: object) -> bool:
        return isinstance(value, Mapping)

    def read(self, value: object, place: Place) -> object:
        if not self.suits(value):
            return _refuse(self, value, place)
        before = len(place.problems)
        result: dict[object, object] = {}
        for key, item in cast("Mapping[object, object]", value).items():
            here = place.key(key)
            read_key = self._key(key, here)
            if read_key is not INVALID and read_key in result:
                here.refuse(f"the key {show(read_key)} is there twice")
            result[read_key] = self.values.read(item, here)
        return result if len(place.problems) == before else INVALID

    def _key(self, key: object, place: Place) -> object:
        if self.keys == Plain(int) and isinstance(key, str) and re.fullmatch(r"[+-]?\d+", key, re.ASCII):
            return int(key)
        if self.keys.suits(key):
            return key
        return place.refuse(f"expected {self.keys.expected} as the key, not {show(key)}")


@attrs.frozen
class OneOf:
    """A value of any of several shapes, the first that takes it; ``"none"`` is no text where none is one of them."""

    options: Sequence[Shape]

    @property
    def expected(self) -> str:
        return either([option.expected for option in self.options if option != Function()])

    def suits(self, value: object) -> bool:
        return any(option.suits(value) for option in self.options)

    def read(self, value: object, place: Place) -> object:
        if _NOTHING in self.options and _NOTHING.suits(value):
            return None
        trials = [(option, place.trial()) for option in self.options if option.suits(value)]
        for option, trial in trials:
            result = option.read(value, trial)
            if result is not INVALID:
                return result
        if not trials:
            return _refuse(self, value, place)
        nearest = min((trial for _, trial in trials), key=lambda trial: len(trial.problems))
        place.problems.extend(nearest.problems)
        return INVALID
