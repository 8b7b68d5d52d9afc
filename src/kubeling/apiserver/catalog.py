"""Everything the server offers at this moment: built-in resources and those of definitions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from kubeling.apiserver.definitions import served_by
from kubeling.apiserver.records import Event
from kubeling.apiserver.served import Served, Shape
from kubeling.kube.objects import Obj, is_condition_true

__all__ = ["Catalog"]


class Catalog:
    """The resources by the names they have in paths and in objects.

    ``generation`` counts the changes; what is derived from the catalogue (discovery, OpenAPI) is
    kept for as long as it stays the same. ``retire`` is called with the storage of what is no
    longer served as it was.
    """

    def __init__(
        self,
        builtin: Iterable[Served],
        shape: Callable[[Obj, Obj], Shape],
        retire: Callable[[str], None],
    ) -> None:
        self.generation = 0
        self._shape = shape
        self._retire = retire
        self._by_path: dict[tuple[str, str, str], Served] = {}
        self._by_kind: dict[tuple[str, str], Served] = {}
        self._by_storage: dict[str, Served] = {}
        self._definitions: dict[str, list[Served]] = {}
        for served in builtin:
            self._add(served)

    def find(self, group: str, version: str, plural: str) -> Served | None:
        """The resource a path names."""
        return self._by_path.get((group, version, plural))

    def of_kind(self, api_version: str, kind: str) -> Served | None:
        """The resource an object belongs to."""
        return self._by_kind.get((api_version, kind))

    def of_storage(self, storage: str) -> Served | None:
        """One of the versions in which a stored collection is served."""
        return self._by_storage.get(storage)

    def has_group_version(self, group: str, version: str) -> bool:
        return any(key[:2] == (group, version) for key in self._by_path)

    def __iter__(self) -> Iterator[Served]:
        return iter(self._by_path.values())

    def on_definition(self, event: Event) -> None:
        """Follows a definition: what it names is served, or no longer."""
        definition = event.record.obj
        name = definition["metadata"]["name"]
        old = event.previous.obj if event.previous else None
        established = is_condition_true(definition, "Established")
        if (
            event.type == "MODIFIED"
            and old is not None
            and old["spec"] == definition["spec"]
            and is_condition_true(old, "Established") == established
        ):
            return
        for served in self._definitions.pop(name, ()):
            self._remove(served)
            self._retire(served.storage)
        if event.type != "DELETED" and established:
            fresh = served_by(definition, self._shape)
            self._definitions[name] = fresh
            for served in fresh:
                self._add(served)
        self.generation += 1

    def _add(self, served: Served) -> None:
        resource = served.resource
        self._by_path[resource.group, resource.version, resource.plural] = served
        if served.verbs != ("create",):
            self._by_kind.setdefault((resource.api_version, resource.kind), served)
        if served.resource == served.stored:
            self._by_storage[served.storage] = served
        else:
            self._by_storage.setdefault(served.storage, served)

    def _remove(self, served: Served) -> None:
        resource = served.resource
        self._by_path.pop((resource.group, resource.version, resource.plural), None)
        self._by_kind.pop((resource.api_version, resource.kind), None)
        self._by_storage.pop(served.storage, None)
