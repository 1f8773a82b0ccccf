"""From the types in a signature to what a file may hold there."""

import types
from collections.abc import Callable, Collection, Iterable, Mapping, MutableMapping, MutableSequence, Sequence
from collections.abc import Set as AbstractSet
from types import MappingProxyType
from typing import Any, Final, Literal, Union, get_args, get_origin

import attrs

from flowgate.configfile._plugins import KINDS, PluginKind
from flowgate.configfile._shapes import Anything, Choice, Function, ListOf, MapOf, Nothing, OneOf, Plain, Row, Shape
from flowgate.configfile._tables import Plugin, Record, Variants

__all__ = ["Shapes", "shape_of"]

_MAPPINGS: Final[frozenset[object]] = frozenset({dict, Mapping, MutableMapping})
_LISTS: Final[Mapping[object, Callable[[Any], Collection[object]]]] = {
    list: list,
    MutableSequence: list,
    set: set,
    AbstractSet: frozenset,
    frozenset: frozenset,
    tuple: tuple,
    Sequence: tuple,
    Collection: tuple,
    Iterable: tuple,
}
_PLAIN: Final[frozenset[type]] = frozenset({bool, int, float, str})
_UNIONS: Final = {Union, types.UnionType}


@attrs.frozen
class Shapes:
    """What a file may hold where a signature has a type.

    Args:
        kinds: The plug-ins that a file may name.
        special: Types that are read in a way of their own.
    """

    kinds: tuple[PluginKind, ...] = KINDS
    special: Mapping[object, Shape] = MappingProxyType({})

    def of(self, annotation: object) -> Shape:
        """Return the shape of an annotation; what cannot be judged, the constructor judges."""
        kind = next((kind for kind in self.kinds if annotation in kind.contracts), None)
        if kind is not None:
            return Plugin(kind, self.of)
        origin, arguments = get_origin(annotation) or annotation, get_args(annotation)
        if origin in _UNIONS:
            return self._union(arguments)
        if origin in _MAPPINGS or origin in _LISTS:
            return self._container(origin, arguments)
        return self._single(origin, arguments)

    def _single(self, origin: object, arguments: Sequence[object]) -> Shape:
        if origin is Callable:
            return Function()
        if origin is Literal:
            return Choice(arguments)
        if origin is types.NoneType:
            return Nothing()
        return self._class(origin) if isinstance(origin, type) else self._new_type(origin)

    def _class(self, kind: type) -> Shape:
        if kind in _PLAIN:
            return Plain(kind)
        if kind in self.special:
            return self.special[kind]
        return Record(kind, self.of) if attrs.has(kind) else Anything()

    def _new_type(self, origin: object) -> Shape:
        named = getattr(origin, "__supertype__", None)
        return Anything() if named is None else self.of(named)

    def _container(self, origin: object, arguments: Sequence[object]) -> Shape:
        if origin in _MAPPINGS:
            keys, values = arguments or (object, object)
            return MapOf(self.of(keys), self.of(values))
        if origin is tuple and arguments and arguments[-1] is not Ellipsis:
            return Row([self.of(argument) for argument in arguments])
        return ListOf(self.of(arguments[0] if arguments else object), _LISTS[origin])

    def _union(self, members: Iterable[object]) -> Shape:
        shapes: list[Shape] = []
        records: list[Record] = []
        for shape in map(self.of, members):
            if isinstance(shape, Record):
                records.append(shape)
            elif shape not in shapes:  # two contracts may be one kind of plug-in
                shapes.append(shape)
        if records:
            shapes.insert(0, records[0] if len(records) == 1 else Variants(records))
        # What may be none says so last.
        shapes.sort(key=lambda shape: shape == Nothing())
        return shapes[0] if len(shapes) == 1 else OneOf(shapes)


shape_of: Final = Shapes().of
"""The shape of an annotation that names flowgate's own plug-ins."""
