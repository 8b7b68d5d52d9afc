"""One resource as the server offers it: names, storage, shape and rules."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from sys import intern
from typing import Any, Final, NamedTuple, Protocol

from kubeling.apiserver.records import Record, StoreKey
from kubeling.apiserver.strategy import Strategy
from kubeling.kube.errors import FieldError
from kubeling.kube.objects import Obj
from kubeling.kube.resources import Resource

__all__ = [
    "ALL_VERBS",
    "SUBRESOURCE_VERBS",
    "Findings",
    "FreeShape",
    "Scale",
    "Served",
    "Settled",
    "Shape",
]

ALL_VERBS: Final = (
    "create",
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "update",
    "watch",
)

_UPDATE: Final = ("get", "patch", "update")
SUBRESOURCE_VERBS: Final[Mapping[str, tuple[str, ...]]] = {
    "status": _UPDATE,
    "scale": _UPDATE,
    "resize": _UPDATE,
    "ephemeralcontainers": _UPDATE,
    "approval": _UPDATE,
    "finalize": ("update",),
    "log": ("get",),
    "exec": ("create", "get"),
    "attach": ("create", "get"),
    "portforward": ("create", "get"),
    "proxy": ("create", "delete", "get", "patch", "update"),
    "binding": ("create",),
    "eviction": ("create",),
    "token": ("create",),
}
"""What can be done with each subresource, whatever the kind."""


class Settled(NamedTuple):
    """What was found while an object was brought into shape."""

    unknown: list[str]
    """Paths of fields the kind does not have; they are gone."""
    errors: list[FieldError]
    unreadable: str = ""
    """Why it cannot even be read as an object of its kind."""


class Findings(NamedTuple):
    """What a schema's rules say about an object."""

    errors: list[FieldError]
    warnings: list[str]
    """Rules broken by values that were there before."""


class Shape(Protocol):
    """What a kind's schema does to objects. All methods are pure but for the object given."""

    def decode(self, obj: Obj) -> str:
        """Does away with nulls; says why the object cannot be read as one of its kind, if so."""
        ...

    def settle(self, new: Obj, old: Obj | None) -> Settled:
        """Removes what the kind does not have, fills in what was left out, checks the rest."""
        ...

    def settle_status(self, status: Any) -> Settled:
        """The same for a status by itself."""
        ...

    def check_rules(self, new: Obj, old: Obj | None) -> Findings:
        """Evaluates the schema's expressions over a settled object."""
        ...

    @property
    def merge_schema(self) -> Any:
        """What merging by key needs to know (strategic merge, apply)."""
        ...


class FreeShape:
    """A kind without a schema: everything goes."""

    merge_schema: Any = None

    def decode(self, obj: Obj) -> str:
        return ""

    def settle(self, new: Obj, old: Obj | None) -> Settled:
        return Settled([], [])

    def settle_status(self, status: Any) -> Settled:
        return Settled([], [])

    def check_rules(self, new: Obj, old: Obj | None) -> Findings:
        return Findings([], [])


@dataclass(frozen=True, slots=True)
class Scale:
    """Where the scale subresource reads and writes; paths are those of the CRD."""

    spec_replicas: str = ".spec.replicas"
    status_replicas: str = ".status.replicas"
    label_selector: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Served:
    """A resource in one version.

    ``stored`` is the version objects are kept in; ``to_stored`` and ``from_stored`` change whole
    objects where the two differ by more than the name of the version.
    """

    resource: Resource
    stored: Resource
    strategy: Strategy
    shape: Shape
    subresources: frozenset[str] = frozenset()
    verbs: tuple[str, ...] = ALL_VERBS
    scale: Scale | None = None
    custom: bool = False
    columns: tuple[Mapping[str, Any], ...] = ()
    selectable_fields: tuple[str, ...] = ()
    to_stored: Callable[[Obj], Obj] | None = None
    from_stored: Callable[[Obj], Obj] | None = None
    deprecation: str = ""
    """What clients are told who still use this version."""
    by_webhook: bool = False
    """Whether a webhook changes objects between versions, so that here they stay as they are."""
    definition: Obj | None = field(default=None, repr=False)
    storage: str = field(init=False)
    """The name of the collection in the store."""

    def __post_init__(self) -> None:
        # Every record has it in its key, so there is one for all of them.
        object.__setattr__(self, "storage", intern(f"{self.stored.group}/{self.stored.plural}"))

    def key(self, namespace: str, name: str) -> StoreKey:
        return StoreKey(self.storage, intern(namespace) if self.resource.namespaced else "", name)

    def shows_as_stored(self, record: Record) -> bool:
        """Whether :meth:`present` changes nothing."""
        return self.by_webhook or record.api_version == self.resource.api_version

    def present(self, obj: Obj) -> Obj:
        """A stored object in this version. It may share parts with ``obj``."""
        if obj.get("apiVersion") == self.resource.api_version or self.by_webhook:
            return obj
        if self.from_stored is not None:
            return self.from_stored(obj)
        return {**obj, "apiVersion": self.resource.api_version}

    def accept(self, obj: Obj) -> Obj:
        """An object of this version as it is stored. It may share parts with ``obj``."""
        if self.resource == self.stored or obj.get("apiVersion") == self.stored.api_version:
            return obj
        if self.to_stored is not None:
            return self.to_stored(obj)
        return {**obj, "apiVersion": self.stored.api_version}
