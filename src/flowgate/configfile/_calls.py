"""What a class or factory takes, and how a table of a file becomes a call of it."""

import inspect
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import FunctionType
from typing import Any, cast, get_type_hints

import attrs

from flowgate.configfile._problems import INVALID, Place
from flowgate.configfile._shapes import Function, Shape
from flowgate.configfile._words import known

__all__ = ["Call", "blame"]

_Kind = inspect.Parameter


@attrs.frozen
class Call:
    """A class or factory, and the shapes of its parameters.

    Args:
        target: What is called.
        name: What messages call it.
        signature: Its signature; None where Python does not know it.
        shapes: By parameter; those without an annotation take anything.
    """

    target: Callable[..., object]
    name: str
    signature: inspect.Signature | None
    shapes: Mapping[str, Shape]

    @classmethod
    def of(cls, target: Callable[..., object], name: str, shape_of: Callable[[object], Shape]) -> "Call":
        """Look at a class or factory.

        Args:
            target: The class or factory.
            name: What messages call it.
            shape_of: Makes the shape of an annotation.
        """
        try:
            signature = inspect.signature(target)
        except (TypeError, ValueError):
            return cls(target, name, None, {})
        hints = _hints(target)
        shapes: dict[str, Shape] = {}
        for key, parameter in signature.parameters.items():
            if parameter.kind is _Kind.VAR_KEYWORD:
                continue
            # A list, for a parameter that is given any number of times.
            annotation = hints.get(key, object)
            is_many = parameter.kind is _Kind.VAR_POSITIONAL
            shapes[key] = shape_of(Sequence[annotation] if is_many else annotation)  # type: ignore[valid-type]
        return cls(target, name, signature, shapes)

    def read(self, table: Mapping[object, object], place: Place, also: Iterable[str] = ()) -> dict[str, object]:
        """Read the values that a table gives; problems are noted, and keys with one left out.

        Args:
            table: The table.
            place: Where it is.
            also: Keys that are known beside the parameters, and read elsewhere.
        """
        values: dict[str, object] = {}
        names, extra = self.shapes, set(also)
        for key, given in table.items():
            here = place.key(key)
            if key in extra:
                continue
            if key in names:
                value = self.shapes[str(key)].read(given, here)
                if value is not INVALID:
                    values[str(key)] = value
            elif self._takes_any and isinstance(key, str):
                values[key] = given
            else:
                there_are = known(key, [*names, *extra]) if names else f"{self.name} takes no parameters"
                here.refuse(f"unknown key; {there_are}")
        self._refuse_missing(table, place)
        _check_fields(self.target, values, place)
        return values

    def make(self, values: Mapping[str, object], place: Place) -> object:
        """Call the target; an error of its own is noted as a problem."""
        try:
            return self._call(values)
        except Exception as error:  # a plug-in may raise anything
            return blame(error, values, place)

    def _call(self, values: Mapping[str, object]) -> object:
        if self.signature is None:
            return self.target(**values)
        named = {name: value for name, value in values.items() if name in self.shapes}
        bound = inspect.BoundArguments(self.signature, cast("Any", named))
        bound.apply_defaults()  # no gap, or what comes after it by position would be lost
        others = {name: value for name, value in values.items() if name not in self.shapes}
        return self.target(*bound.args, **bound.kwargs, **others)

    @property
    def _takes_any(self) -> bool:
        return self.signature is None or any(each.kind is _Kind.VAR_KEYWORD for each in self._parameters())

    def _parameters(self) -> Iterable[inspect.Parameter]:
        return () if self.signature is None else self.signature.parameters.values()

    def _refuse_missing(self, table: Mapping[object, object], place: Place) -> None:
        optional = {_Kind.VAR_POSITIONAL, _Kind.VAR_KEYWORD}
        needed = (each for each in self._parameters() if each.default is _Kind.empty and each.kind not in optional)
        missing = [each.name for each in needed if each.name not in table]
        functions = [name for name in missing if self.shapes[name] == Function()]
        if functions:
            place.refuse(f"it takes {functions[0]}, a Python function, which no file can hold: make it in code")
        else:
            for name in missing:
                place.refuse(f'the key "{name}" is missing: expected {self.shapes[name].expected}')


def _hints(target: Callable[..., object]) -> Mapping[str, object]:
    """Return the annotations of a call's parameters; none where one of them cannot be resolved."""
    is_record = isinstance(target, type) and attrs.has(target)
    source = inspect.getattr_static(target, "__init__") if isinstance(target, type) and not is_record else target
    try:
        hints = get_type_hints(source)
    except Exception:  # a name that only type checkers import; the constructor judges then
        return {}
    if is_record:
        fields = attrs.fields(cast("Any", target))
        return {cast("str", field.alias): hints[field.name] for field in fields if field.name in hints}
    return hints


def _check_fields(target: Callable[..., object], values: Mapping[str, object], place: Place) -> None:
    """Run the checks of a record's fields one by one, so that not only the first mistake is told."""
    if not (isinstance(target, type) and attrs.has(target)):
        return
    draft = object.__new__(target)
    fields = [field for field in attrs.fields(cast("Any", target)) if field.alias in values and _is_plain(field)]
    for field in fields:
        object.__setattr__(draft, field.name, values[cast("str", field.alias)])
    for field in fields:
        name = cast("str", field.alias)
        try:
            value = values[name] if field.converter is None else field.converter(values[name])
            if field.validator is not None:
                field.validator(draft, field, value)
        except (TypeError, ValueError) as error:
            blame(error, [name], place, otherwise=place.key(name))
        except Exception:  # noqa: S112 - it asks for more than the draft has; the constructor judges
            continue


def _is_plain(field: "attrs.Attribute[Any]") -> bool:
    """Return whether a field has no converter, or one that takes the value alone, as far as can be told."""
    converter = cast("object", field.converter)
    return converter is None or isinstance(converter, FunctionType)


def blame(error: Exception, keys: Iterable[str], place: Place, otherwise: Place | None = None) -> object:
    """Note an error that a constructor raised: at the key that its message begins with, else at the table."""
    message = " ".join(str(error).split()) or type(error).__name__
    if not isinstance(error, TypeError | ValueError):
        message = f"{type(error).__name__}: {message}"
    # A band says its priority; its path says where it is.
    message = re.sub(r"^band -?\d+: ", "", message)
    about = re.fullmatch(r"(?:an? \w+'s )?(\w+) (.+)", message)
    if about and about[1] in set(keys):
        return place.key(about[1]).refuse(about[2])
    return (otherwise or place).refuse(message)
