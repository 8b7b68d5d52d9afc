"""Which requests a policy or a binding is about: ``matchConstraints`` and ``matchResources``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from kubeling.apiserver.served import Served
from kubeling.apiserver.webhooks.attributes import Attributes
from kubeling.apiserver.webhooks.configuration import Rule
from kubeling.apiserver.webhooks.matching import matched_version, selects
from kubeling.kube import selectors
from kubeling.kube.objects import Obj
from kubeling.kube.selectors import LabelSelector

__all__ = ["Constraints"]


@dataclass(frozen=True, slots=True)
class _Requests:
    """Kinds of request, as webhooks describe them too."""

    equivalent: bool
    namespaces: LabelSelector
    objects: LabelSelector
    rules: tuple[Rule, ...] = ()
    names: frozenset[str] = frozenset()
    """Names of objects; none for all."""


class Constraints:
    """One set of constraints, read once. Without rules it is about every resource."""

    def __init__(self, source: Mapping[str, Any]) -> None:
        self._common = _Requests(
            source.get("matchPolicy") != "Exact",
            selectors.from_object(source.get("namespaceSelector") or {}),
            selectors.from_object(source.get("objectSelector") or {}),
        )
        self._wanted = self._each(source.get("resourceRules"))
        self._excluded = self._each(source.get("excludeResourceRules"))

    def _each(self, rules: Iterable[Obj] | None) -> list[_Requests]:
        return [
            replace(
                self._common,
                rules=(Rule.of(rule),),
                names=frozenset(rule.get("resourceNames") or ()),
            )
            for rule in rules or ()
        ]

    def matched(
        self,
        attributes: Attributes,
        versions: Iterable[Served],
        namespace_labels: Callable[[str], dict[str, str]],
    ) -> Served | None:
        """The version of the resource by which a request is covered, if it is.

        ``versions`` are all those under which the stored objects can be reached.
        """
        if not selects(self._common, attributes, namespace_labels):
            return None
        every = list(versions)
        if any(_version(requests, attributes, every) for requests in self._excluded):
            return None
        if not self._wanted:
            return attributes.served
        found = [_version(requests, attributes, every) for requests in self._wanted]
        if attributes.served in found:
            return attributes.served
        return next(filter(None, found), None)


def _version(requests: _Requests, attributes: Attributes, versions: list[Served]) -> Served | None:
    if requests.names and attributes.name not in requests.names:
        return None
    return matched_version(
        requests, attributes.served, attributes.operation, attributes.subresource, versions
    )
