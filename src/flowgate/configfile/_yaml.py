"""YAML, without its traps: a key that is given twice is a mistake, and so is a value that holds itself."""

from typing import Any

import yaml

from flowgate.configfile._problems import INVALID, Place
from flowgate.configfile._words import show

__all__ = ["parse_yaml"]


def parse_yaml(text: str, place: Place) -> object:
    """Return the one document of a text, an empty one as an empty table; INVALID once its problems are noted."""
    try:
        loader: Any = yaml.SafeLoader(text)
        node = loader.get_single_node()
        if node is None:
            return {}
        before = len(place.problems)
        _Walk().check(node, place)
        return loader.construct_document(node) if len(place.problems) == before else INVALID
    except yaml.YAMLError as error:
        return place.refuse(f"the file is not valid YAML: {_sentence(error)}")
    except ValueError as error:  # a date that does not exist, a number too long for Python
        return place.refuse(f"the file is not valid YAML: {error}")


def _sentence(error: yaml.YAMLError) -> str:
    if isinstance(error, yaml.MarkedYAMLError):
        return f"{', '.join(filter(None, [error.context, error.problem]))} ({_position(error.problem_mark)})"
    return " ".join(str(error).split()).replace(' in "<unicode string>"', "")


def _position(mark: Any) -> str:
    return f"at line {mark.line + 1}, column {mark.column + 1}"


class _Walk:
    """One walk through a document's nodes. Anchors share nodes; each is looked at once."""

    def __init__(self) -> None:
        self._above: set[int] = set()
        self._done: set[int] = set()

    def check(self, node: yaml.Node, place: Place) -> None:
        if id(node) in self._above:
            place.refuse(f"the value holds itself ({_position(node.start_mark)})")
        elif id(node) not in self._done:
            self._above.add(id(node))
            if isinstance(node, yaml.MappingNode):
                self._check_keys(node, place)
            elif isinstance(node, yaml.SequenceNode):
                for index, item in enumerate(node.value):
                    self.check(item, place.item(index))
            self._above.discard(id(node))
            self._done.add(id(node))

    def _check_keys(self, node: yaml.MappingNode, place: Place) -> None:
        seen: dict[tuple[str, str], Any] = {}
        for key, value in node.value:
            here = place.key(key.value) if isinstance(key, yaml.ScalarNode) else place
            if isinstance(key, yaml.ScalarNode):
                first = seen.setdefault((key.tag, key.value), key.start_mark)
                if first is not key.start_mark:
                    here.refuse(
                        f"the key {show(key.value)} is there twice, {_position(first)} and {_position(key.start_mark)}"
                    )
            self.check(value, here)
