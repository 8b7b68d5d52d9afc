"""CustomResourceDefinitions: what the server decides about them, and what it serves from them.

A definition is established in the very write that creates it, because the schema is checked then
and the server reads the collection from memory: there is nothing to wait for.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable
from typing import Final, cast

from kubeling.apiserver.jsonpath import compile_path
from kubeling.apiserver.schemarules import states_rules
from kubeling.apiserver.served import ALL_VERBS, Scale, Served, Shape
from kubeling.apiserver.strategy import CustomStrategy, GenerationStrategy
from kubeling.apiserver.validation.rules import choice
from kubeling.apiserver.validation.webhooks import client_config_errors, review_version_errors
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
        spec, names = new["spec"], new["spec"].get("names") or {}
        errors = list(_missing(spec, names))
        if errors:
            return errors
        errors += _name_errors(new, spec, names)
        errors += _version_errors(spec["versions"])
        errors += _rule_errors(spec["versions"], (old or {}).get("spec", {}).get("versions") or ())
        errors += _conversion_errors(spec.get("conversion") or {})
        if old is not None:
            errors += _changes(spec, old["spec"])
        return errors


def _missing(spec: Obj, names: Obj) -> Iterable[FieldError]:
    for path, value in (
        ("group", spec.get("group")),
        ("scope", spec.get("scope")),
        ("names.plural", names.get("plural")),
        ("names.kind", names.get("kind")),
        ("versions", spec.get("versions")),
    ):
        if not value:
            yield FieldError(f"spec.{path}", "Required value", "")


def _name_errors(definition: Obj, spec: Obj, names: Obj) -> Iterable[FieldError]:
    wanted = f"{names['plural']}.{spec['group']}"
    name = definition["metadata"].get("name")
    if name != wanted:
        message = f'must be spec.names.plural+"."+spec.group: "{wanted}"'
        yield FieldError("metadata.name", "Invalid value", message, name)
    if spec["scope"] not in ("Namespaced", "Cluster"):
        message = 'supported values: "Cluster", "Namespaced"'
        yield FieldError("spec.scope", "Unsupported value", message, spec["scope"])


def _version_errors(versions: list[Obj]) -> Iterable[FieldError]:
    if sum(bool(version.get("storage")) for version in versions) != 1:
        message = "must have exactly one version marked as storage version"
        yield FieldError("spec.versions", "Invalid value", message)
    for index, version in enumerate(versions):
        path = f"spec.versions[{index}]"
        if not (version.get("schema") or {}).get("openAPIV3Schema"):
            yield FieldError(f"{path}.schema.openAPIV3Schema", "Required value", "")
        for place, column in enumerate(version.get("additionalPrinterColumns") or ()):
            try:
                compile_path(column["jsonPath"])
            except ValueError as error:
                where = f"{path}.additionalPrinterColumns[{place}].jsonPath"
                yield FieldError(where, "Invalid value", str(error), column["jsonPath"])


def _rule_errors(versions: list[Obj], before: Iterable[Obj]) -> Iterable[FieldError]:
    """Rules that cannot be compiled; schemas that stay as they are stay accepted."""
    known = [version.get("schema") for version in before]
    for index, version in enumerate(versions):
        schema = (version.get("schema") or {}).get("openAPIV3Schema") or {}
        if version.get("schema") in known or not states_rules(schema):
            continue
        from kubeling.apiserver.schemarules.tree import definition_errors

        path = f"spec.versions[{index}].schema.openAPIV3Schema"
        yield from definition_errors(schema, path)


def _conversion_errors(conversion: Obj) -> Iterable[FieldError]:
    path, webhook = "spec.conversion", conversion.get("webhook")
    yield from choice(conversion, path, "strategy", ("None", "Webhook"))
    if conversion.get("strategy") != "Webhook":
        if webhook is not None:
            message = 'should not be set when strategy is not set to "Webhook"'
            yield FieldError(f"{path}.webhook", "Forbidden", message)
        return
    config = (webhook or {}).get("clientConfig")
    if config is None:
        message = 'required when strategy is set to "Webhook"'
        yield FieldError(f"{path}.webhook.clientConfig", "Required value", message)
        return
    versions = (webhook or {}).get("conversionReviewVersions") or []
    yield from review_version_errors(versions, f"{path}.webhook.conversionReviewVersions")
    yield from client_config_errors(config, f"{path}.webhook.clientConfig")


def _changes(spec: Obj, before: Obj) -> Iterable[FieldError]:
    names, names_before = spec["names"], before["names"]
    for path, value, old in (
        ("group", spec.get("group"), before.get("group")),
        ("scope", spec.get("scope"), before.get("scope")),
        ("names.plural", names.get("plural"), names_before.get("plural")),
        ("names.kind", names.get("kind"), names_before.get("kind")),
    ):
        if value != old:
            yield FieldError(f"spec.{path}", "Invalid value", "field is immutable", value)


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
        by_webhook=(definition["spec"].get("conversion") or {}).get("strategy") == "Webhook",
        definition=definition,
    )


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
