"""CustomResourceDefinitions: what the server decides about them, and what it serves from them.

A definition is established in the very write that creates it, because the schema is checked then
and the server reads the collection from memory: there is nothing to wait for.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable
from typing import Final, cast

from kubeling.apiserver.definitionrules import definition_errors
from kubeling.apiserver.served import ALL_VERBS, Scale, Served, Shape
from kubeling.apiserver.strategy import CustomStrategy, GenerationStrategy
from kubeling.kube.errors import FieldError
from kubeling.kube.objects import Obj, deep_copy, set_condition
from kubeling.kube.resources import Resource

__all__ = ["CLEANUP", "DefinitionStrategy", "served_by"]

CLEANUP: Final = "customresourcecleanup.apiextensions.k8s.io"
"""The finalizer that keeps a definition until its objects are gone."""

_CUSTOM: Final = CustomStrategy()


class DefinitionStrategy(GenerationStrategy):
    """Names are filled in, and the conditions say that the kind is served."""

    def prepare_create(self, obj: Obj) -> None:
        _complete_names(obj)
        obj["metadata"]["finalizers"] = [*obj["metadata"].get("finalizers", ()), CLEANUP]
        obj["status"] = _status(obj, {})

    def prepare_update(self, new: Obj, old: Obj) -> None:
        _complete_names(new)
        new["status"] = _status(new, deep_copy(old.get("status") or {}))

    def validate(self, new: Obj, old: Obj | None) -> Iterable[FieldError]:
        return definition_errors(new, old)


def served_by(definition: Obj, shape: Callable[[Obj, Obj], Shape]) -> list[Served]:
    """What a definition makes the server offer; ``shape`` compiles one version's schema."""
    spec = definition["spec"]
    stored = _resource(spec, next(v for v in spec["versions"] if v.get("storage")))
    return [
        _served(definition, version, stored, shape(definition, version))
        for version in spec["versions"]
        if version.get("served")
    ]


def _served(definition: Obj, version: Obj, stored: Resource, shape: Shape) -> Served:
    subresources = version.get("subresources") or {}
    scale = subresources.get("scale")
    return Served(
        resource=_resource(definition["spec"], version),
        stored=stored,
        strategy=_CUSTOM,
        shape=shape,
        subresources=frozenset(key for key in ("status", "scale") if key in subresources),
        verbs=ALL_VERBS,
        scale=Scale(
            scale["specReplicasPath"],
            scale["statusReplicasPath"],
            scale.get("labelSelectorPath", ""),
        )
        if scale
        else None,
        custom=True,
        columns=tuple(version.get("additionalPrinterColumns") or ()),
        selectable_fields=tuple(
            field["jsonPath"].lstrip(".") for field in version.get("selectableFields") or ()
        ),
        deprecation=_deprecation(definition["spec"], version),
        by_webhook=(definition["spec"].get("conversion") or {}).get("strategy") == "Webhook",
        definition=definition,
    )


def _deprecation(spec: Obj, version: Obj) -> str:
    if not version.get("deprecated"):
        return ""
    name = f"{spec['group']}/{version['name']} {spec['names']['kind']}"
    return str(version.get("deprecationWarning") or f"{name} is deprecated")


def _resource(spec: Obj, version: Obj) -> Resource:
    names = spec["names"]
    return Resource(
        group=spec["group"],
        version=version["name"],
        kind=names["kind"],
        plural=names["plural"],
        namespaced=spec["scope"] == "Namespaced",
        short_names=tuple(names.get("shortNames") or ()),
        categories=tuple(names.get("categories") or ()),
    )


def _complete_names(obj: Obj) -> None:
    spec = obj.get("spec") or {}
    names = spec.get("names") or {}
    if names.get("kind"):
        names.setdefault("singular", names["kind"].lower())
        names.setdefault("listKind", names["kind"] + "List")
    spec.setdefault("conversion", {"strategy": "None"})


def _status(obj: Obj, status: Obj) -> Obj:
    spec = obj.get("spec") or {}
    now = dt.datetime.now(dt.UTC)
    for condition, reason, message in (
        ("NamesAccepted", "NoConflicts", "no conflicts found"),
        ("Established", "InitialNamesAccepted", "the initial names have been accepted"),
    ):
        set_condition(status, condition, True, reason=reason, message=message, now=now)
    status["acceptedNames"] = deep_copy(spec.get("names") or {})
    versions = spec.get("versions") or ()
    stored = next((version["name"] for version in versions if version.get("storage")), None)
    before = cast("list[str]", status.get("storedVersions") or [])
    status["storedVersions"] = [*(v for v in before if v != stored), *([stored] if stored else ())]
    return status
