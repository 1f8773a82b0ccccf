"""Pods narrowed by the gateway's subset hint."""

import logging
import reprlib
from collections import OrderedDict
from collections.abc import Hashable, Mapping, Sequence
from typing import Literal, cast

from flowgate.contracts import Pod, PodLocator
from flowgate.inner import Bind, NextChange, Subscribe, Wrapper
from flowgate.locators._hints import Member, Selection, parse_hint
from flowgate.locators._index import PodIndex, is_member
from flowgate.locators._inner import InnerLocator, SelectionKey, Selects, SubscribeChanges

__all__ = ["SubsetPodLocator"]

_logger = logging.getLogger("flowgate.locators")

_MAX_INDEXES = 64


class SubsetPodLocator(Wrapper[InnerLocator]):
    """Narrows another locator's pods to those that the request's subset hint names.

    The hint is that of the endpoint-picker protocol: ``metadata["envoy.lb.subset_hint"]
    ["x-gateway-destination-endpoint-subset"]``, a list of ``ip:port``. A member without a port matches by address
    alone; IPv6 stands in brackets or bare, in any spelling. Without a hint all pods match, and an empty list matches
    none. A hint that cannot be read matches none either: it is a selection of its own, counted in `malformed`, and the
    first is logged.

    `locate` is O(members) while the inner locator answers with the same tuple; where it is `Incremental`, and time does
    not change its answers, also while pods come and go. The optional parts (`selection_key`, `subscribe`,
    `subscribe_changes`, `selects`, `bind`, `next_change`) are the inner locator's, and None where it has none. An inner
    locator that is an async context manager is entered and left with this one.

    Args:
        locator: Where the pods come from.
        empty_hint: What an empty list selects: ``"none"``, or ``"all"`` for a gateway that computed the hint while the
            pool was empty.

    Raises:
        ValueError: `empty_hint` is neither.
        TypeError: The locator has no `locate`.

    >>> from flowgate.locators import StaticPodLocator
    >>> pods = [Pod("a", "10.0.0.1", 8000), Pod("b", "10.0.0.2", 8000)]
    >>> locator = SubsetPodLocator(StaticPodLocator(pods))
    >>> hint = {"envoy.lb.subset_hint": {"x-gateway-destination-endpoint-subset": ["10.0.0.2:8000"]}}
    >>> [pod.name for pod in locator.locate(hint)], [pod.name for pod in locator.locate({})]
    (['b'], ['a', 'b'])
    """

    def __init__(self, locator: PodLocator, empty_hint: Literal["none", "all"] = "none") -> None:
        if empty_hint not in {"none", "all"}:
            raise ValueError(f'empty_hint must be "none" or "all", not {empty_hint!r}')
        self._inner = InnerLocator(locator)
        self._is_empty_all = empty_hint == "all"
        self._indexes: OrderedDict[Hashable, PodIndex] = OrderedDict()
        self.malformed: int = 0
        """Hints read that were malformed: at arrivals, and again whenever their candidates are resolved."""
        inner = self._inner
        self.selection_key: SelectionKey | None = self._selection_key if inner.selection_key else None
        self.subscribe: Subscribe | None = inner.subscribe
        self.subscribe_changes: SubscribeChanges | None = None
        self.selects: Selects | None = None
        if inner.subscribe_changes is not None and inner.is_incremental:
            # Before anybody else: whoever asks when it hears of a change must get the new answer.
            inner.subscribe_changes(self._changed)
            self.subscribe_changes, self.selects = inner.subscribe_changes, self._selects
        self.bind: Bind | None = inner.bind
        self.next_change: NextChange | None = inner.next_change

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._inner.locator!r}, empty_hint={'all' if self._is_empty_all else 'none'!r})"

    def locate(self, metadata: Mapping[str, object]) -> Sequence[Pod]:
        """Return the inner locator's pods that the hint selects, in the inner order, each once."""
        selection = self._select(metadata)
        if selection is Selection.MALFORMED or not selection:
            return ()
        if selection is Selection.ALL:
            return self._inner.locate(metadata)
        return self._index_of(metadata).select(selection)

    def _selection_key(self, metadata: Mapping[str, object]) -> Hashable:
        return self._select(metadata), self._inner_key(metadata)

    def _inner_key(self, metadata: Mapping[str, object]) -> Hashable:
        return self._inner.selection_key(metadata) if self._inner.selection_key else None

    def _select(self, metadata: Mapping[str, object]) -> tuple[Member, ...] | Selection:
        selection = parse_hint(metadata)
        if selection is Selection.MALFORMED:
            self._count_malformed(metadata)
        return Selection.ALL if selection == () and self._is_empty_all else selection

    def _count_malformed(self, metadata: Mapping[str, object]) -> None:
        self.malformed += 1
        # Once, and shortened: clients may be the ones who write it.
        if self.malformed == 1:
            _logger.warning(
                "a malformed subset hint selects no pods: %s; further ones are only counted", reprlib.repr(metadata)
            )

    def _index_of(self, metadata: Mapping[str, object]) -> PodIndex:
        # One for each of the inner locator's own selections, or lanes of two models would rebuild it in turns.
        key = self._inner_key(metadata)
        index = self._indexes.get(key)
        if index is None or self.selects is None:
            # Asked first: it may raise, and then there is no index that is out of date.
            pods = self._inner.locate(metadata)
            index = index or PodIndex()
            index.follow(pods)
        self._indexes[key] = index
        self._indexes.move_to_end(key)
        if len(self._indexes) > _MAX_INDEXES:
            self._indexes.popitem(last=False)
        return index

    def _selects(self, key: Hashable, pod: Pod) -> bool:
        selection, inner_key = cast("tuple[tuple[Member, ...] | Selection, Hashable]", key)
        is_named = selection is Selection.ALL if isinstance(selection, Selection) else is_member(pod, selection)
        return is_named and self._is_inner(inner_key, pod)

    def _is_inner(self, inner_key: Hashable, pod: Pod) -> bool:
        return self._inner.selects is not None and self._inner.selects(inner_key, pod)

    def _changed(
        self, pods: Sequence[Pod] | None = None, *, removed: Sequence[Pod] = (), added: Sequence[Pod] = ()
    ) -> None:
        if pods is None:
            self._indexes.clear()
            return
        for key, index in self._indexes.items():
            for pod in pods:
                index.renew(pod)
            for pod in removed:
                index.remove(pod)
            for pod in added:
                if self._is_inner(key, pod):
                    index.put(pod)
