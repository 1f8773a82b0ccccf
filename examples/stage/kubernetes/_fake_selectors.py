"""Selectors: which objects a list or a watch is about."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import attrs

from examples.stage.kubernetes._fake_kinds import Kind
from examples.stage.kubernetes._fake_status import bad_request
from examples.stage.kubernetes._fake_store import Stored

__all__ = ["Selection", "field_requirements", "label_requirements", "reach"]

_TOKEN = re.compile(r"\s*(==|!=|[=!(),<>]|[^\s=!(),<>]+)\s*")

Requirement = Callable[[Mapping[str, str]], bool]


@attrs.frozen
class Selection:
    """What of a kind is asked for.

    Attributes:
        namespace: Its namespace; None for all.
        labels: What the labels must fulfil.
        fields: Pairs of a field's path and what its value must fulfil.
    """

    namespace: str | None
    labels: tuple[Requirement, ...] = ()
    fields: tuple[tuple[str, Callable[[str], bool]], ...] = ()

    def matches(self, stored: Stored | None) -> bool:
        """Say whether an object is asked for; None is not."""
        if stored is None:
            return False
        if self.namespace is not None and stored.object["metadata"].get("namespace") != self.namespace:
            return False
        return all(fulfils(stored.labels) for fulfils in self.labels) and all(
            fulfils(str(reach(stored.object, path) or "")) for path, fulfils in self.fields
        )


def reach(content: object, path: str, missing: Any = None) -> Any:
    """Return what lies at a path with dots in an object."""
    for part in path.split("."):
        if not isinstance(content, Mapping) or part not in content:
            return missing
        content = content[part]
    return content


def label_requirements(text: str) -> tuple[Requirement, ...]:
    """Read a label selector such as `app=x,tier in (a,b),!old`.

    Raises:
        StatusError: 400, it cannot be read.
    """
    tokens = list(_tokens(text))
    found: list[Requirement] = []
    while tokens:
        found.append(_requirement(tokens))
        if tokens and (tokens.pop(0) != "," or not tokens):
            raise _unreadable("label", text)
    return tuple(found)


def field_requirements(text: str, kind: Kind) -> tuple[tuple[str, Callable[[str], bool]], ...]:
    """Read a field selector such as `metadata.name=x`.

    Raises:
        StatusError: 400, it cannot be read, or names a field that the kind cannot be asked for.
    """
    found: list[tuple[str, Callable[[str], bool]]] = []
    for part in filter(None, text.split(",")):
        match = re.fullmatch(r"([^=!]+)(==|=|!=)(.*)", part)
        if match is None:
            raise bad_request(f"invalid selector: '{part}'; can't understand '{part}'")
        path, operator, value = match.groups()
        if path not in {"metadata.name", "metadata.namespace", *kind.fields}:
            raise bad_request(f"field label not supported: {path}")
        found.append((path, _equals(value, is_wanted=operator != "!=")))
    return tuple(found)


def _tokens(text: str) -> Iterator[str]:
    return (match.group(1) for match in _TOKEN.finditer(text))


def _requirement(tokens: list[str]) -> Requirement:
    if tokens[0] == "!":
        tokens.pop(0)
        absent = _word(tokens)
        return lambda labels: absent not in labels
    key = _word(tokens)
    match tokens[0] if tokens else ",":
        case ",":
            return lambda labels: key in labels
        case "=" | "==" | "!=" as operator:
            tokens.pop(0)
            value = _word(tokens) if tokens and tokens[0] != "," else ""
            is_wanted = operator != "!="
            # What lacks the label fulfils `!=`.
            return lambda labels: (labels.get(key) == value) == is_wanted
        case "in" | "notin" as operator:
            tokens.pop(0)
            values = _values(tokens)
            is_in = operator == "in"
            return lambda labels: (labels.get(key) in values) == is_in
        case "<" | ">" as operator:
            tokens.pop(0)
            return _compares(key, operator, _word(tokens))
        case found:
            raise bad_request(f"unable to parse requirement: found '{found}', expected: in, notin, =, ==, !=, gt, lt")


def _equals(value: str, *, is_wanted: bool) -> Callable[[str], bool]:
    return lambda found: (found == value) == is_wanted


def _compares(key: str, operator: str, text: str) -> Requirement:
    if not re.fullmatch(r"[-+]?\d+", text):
        raise bad_request(f"values: Invalid value: \"{text}\": for 'Gt', 'Lt' operators, the value must be an integer")

    def fulfils(labels: Mapping[str, str]) -> bool:
        found = labels.get(key, "")
        if not re.fullmatch(r"[-+]?\d+", found):
            return False
        return int(found) < int(text) if operator == "<" else int(found) > int(text)

    return fulfils


def _values(tokens: list[str]) -> set[str]:
    values = set()
    if not tokens or tokens.pop(0) != "(":
        raise bad_request("unable to parse requirement: expected: '('")
    while True:
        values.add(_word(tokens))
        match tokens.pop(0) if tokens else "":
            case ")":
                return values
            case ",":
                continue
            case found:
                raise bad_request(f"unable to parse requirement: found '{found}', expected: ',' or ')'")


def _word(tokens: list[str]) -> str:
    found = tokens.pop(0) if tokens else ""
    if not re.fullmatch(r"[^=!(),<>]+", found):
        raise bad_request(f"unable to parse requirement: found '{found}', expected: identifier")
    return found


def _unreadable(what: str, text: str) -> Exception:
    return bad_request(f"unable to parse {what} selector: '{text}'")
