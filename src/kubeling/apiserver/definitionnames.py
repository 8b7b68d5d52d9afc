"""Names of custom kinds, of which each means one thing in its group: first come, first served.

A definition whose names are taken is stored but not served, and its conditions say why; it gets
them when they are free. Source: the naming controller of the apiextensions server, which decides a
moment later what is decided here in the write itself.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator
from typing import Final

from kubeling.apiserver.options import WriteOptions
from kubeling.apiserver.served import Served
from kubeling.kube.clock import Clock
from kubeling.kube.objects import Obj, set_condition

__all__ = ["NameClaims"]

_RESOURCES: Final = (("plural", "PluralConflict"), ("singular", "SingularConflict"))
_KINDS: Final = (("kind", "KindConflict"), ("listKind", "ListKindConflict"))


class NameClaims:
    """Decides which of a definition's names are its own."""

    storages: Final = ("apiextensions.k8s.io/customresourcedefinitions",)

    def __init__(self, catalog: Iterable[Served], clock: Clock) -> None:
        self._catalog = catalog
        self._clock = clock

    def __call__(self, served: Served, new: Obj, old: Obj | None, options: WriteOptions) -> None:
        """Corrects the status of a definition that is about to be stored."""
        if options.subresource:
            return
        before: Obj = (old or {}).get("status") or {}
        accepted = before.get("acceptedNames") or {}
        wanted, found = new["spec"]["names"], dict(new["status"]["acceptedNames"])
        conflicts = list(self._conflicts(new, wanted, accepted))
        for field, _, _ in conflicts:
            if field in accepted:
                found[field] = accepted[field]
            else:
                found.pop(field, None)
        if conflicts:
            new["status"]["acceptedNames"] = found
            _tell(new["status"], conflicts, before, self._clock.now())

    def _conflicts(self, new: Obj, wanted: Obj, accepted: Obj) -> Iterator[tuple[str, str, str]]:
        """The fields that cannot be had, with the reason and the message for the condition."""
        resources, kinds = self._taken(new["spec"]["group"], new["metadata"]["name"])
        for fields, taken in ((_RESOURCES, resources), (_KINDS, kinds)):
            for field, reason in fields:
                name = wanted.get(field)
                if name in taken and name != accepted.get(field):
                    yield field, reason, f'"{name}" is already in use'
        ours = accepted.get("shortNames") or ()
        names = [n for n in wanted.get("shortNames") or () if n in resources and n not in ours]
        if names:
            told = ", ".join(f'"{name}" is already in use' for name in names)
            told = f"[{told}]" if len(names) > 1 else told
            yield "shortNames", "ShortNamesConflict", told

    def _taken(self, group: str, definition: str) -> tuple[set[str], set[str]]:
        resources: set[str] = set()
        kinds: set[str] = set()
        for served in self._catalog:
            resource = served.resource
            own = served.definition and served.definition["metadata"]["name"] == definition
            if resource.group == group and not own:
                resources |= {resource.plural, resource.singular, *resource.short_names}
                kinds |= {resource.kind, f"{resource.kind}List"}
        return resources, kinds


def _tell(
    status: Obj, conflicts: list[tuple[str, str, str]], before: Obj, now: dt.datetime
) -> None:
    _, reason, message = conflicts[-1]
    set_condition(status, "NamesAccepted", False, reason=reason, message=message, now=now)
    established = [c for c in before.get("conditions") or () if c["type"] == "Established"]
    if not (established and established[0]["status"] == "True"):
        message = "not all names are accepted"
        set_condition(status, "Established", False, reason="NotAccepted", message=message, now=now)
