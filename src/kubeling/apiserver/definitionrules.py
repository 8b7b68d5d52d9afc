"""What a CustomResourceDefinition may say: names, versions, columns, paths, and what must stay.

Source: ``ValidateCustomResourceDefinition`` and ``…Update`` of the apiextensions server. Schemas
that stay as they are stay accepted, whatever newer rules say of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from kubeling.apiserver.builtin.types import definition_schema
from kubeling.apiserver.names import (
    LABEL_1035_TEXT,
    SUBDOMAIN_TEXT,
    is_label_1035,
    is_subdomain,
)
from kubeling.apiserver.schema import compile_schema
from kubeling.apiserver.schemarules import states_rules
from kubeling.apiserver.structural import schema_errors
from kubeling.apiserver.validation.rules import choice
from kubeling.apiserver.validation.webhooks import client_config_errors, review_version_errors
from kubeling.kube.errors import FieldError
from kubeling.kube.jsonpath import JsonPathError, compile_path
from kubeling.kube.objects import Obj, deep_copy

__all__ = ["definition_errors"]

Errors = Iterator[FieldError]

_APPROVED: Final = "api-approved.kubernetes.io"
_PROTECTED: Final = (".k8s.io", ".kubernetes.io")
_COLUMN_TYPES: Final = ("boolean", "date", "integer", "number", "string")
_COLUMN_FORMATS: Final = (
    "binary",
    "byte",
    "date",
    "date-time",
    "double",
    "float",
    "int32",
    "int64",
    "password",
)
_SELECTABLE: Final = 8
"""How many selectable fields a version may have."""
_SELECTABLE_TYPES: Final = ("boolean", "integer", "string")
_WARNING_LIMIT: Final = 256


def definition_errors(new: Obj, old: Obj | None) -> Iterable[FieldError]:
    """What is wrong with a definition; ``old`` is what it replaces."""
    spec = new["spec"]
    before = old["spec"] if old else {}
    errors = list(_missing(spec, spec.get("names") or {}))
    if errors:
        return errors
    errors += _name_errors(new, spec, spec["names"])
    errors += _approval(new, spec)
    errors += _version_errors(spec, before)
    errors += _rule_errors(spec["versions"], before.get("versions") or ())
    errors += _conversion_errors(spec.get("conversion") or {})
    if old is not None:
        errors += _changes(spec, before)
        errors += _stored_versions(spec, (old.get("status") or {}).get("storedVersions") or ())
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


def _name_errors(definition: Obj, spec: Obj, names: Obj) -> Errors:
    wanted, name = f"{names['plural']}.{spec['group']}", definition["metadata"].get("name")
    if name != wanted:
        message = f'must be spec.names.plural+"."+spec.group: "{wanted}"'
        yield _wrong("metadata.name", name, message)
    if not is_subdomain(spec["group"]):
        yield _wrong("spec.group", spec["group"], SUBDOMAIN_TEXT)
    elif "." not in spec["group"]:
        yield _wrong("spec.group", spec["group"], "should be a domain with at least one dot")
    if spec["scope"] not in ("Namespaced", "Cluster"):
        message = 'supported values: "Cluster", "Namespaced"'
        yield FieldError("spec.scope", "Unsupported value", message, spec["scope"])
    if spec.get("preserveUnknownFields"):
        message = (
            "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in "
            "spec.versions[*].schema instead"
        )
        yield _wrong("spec.preserveUnknownFields", True, message)
    for field in ("plural", "singular"):
        if not is_label_1035(names.get(field) or "x"):
            yield _wrong(f"spec.names.{field}", names[field], LABEL_1035_TEXT)
    for field in ("kind", "listKind"):
        if not is_label_1035((names.get(field) or "x").lower()):
            message = f"may have mixed case, but should otherwise match: {LABEL_1035_TEXT}"
            yield _wrong(f"spec.names.{field}", names[field], message)
    if names["kind"] == names.get("listKind"):
        message = "kind and listKind may not be the same"
        yield _wrong("spec.names.listKind", names["listKind"], message)
    for field in ("shortNames", "categories"):
        for index, found in enumerate(names.get(field) or ()):
            if not is_label_1035(found):
                yield _wrong(f"spec.names.{field}[{index}]", found, LABEL_1035_TEXT)


def _approval(definition: Obj, spec: Obj) -> Errors:
    """Kubernetes' own groups are for what its community has agreed on."""
    annotations = definition["metadata"].get("annotations") or {}
    if spec["group"].endswith(_PROTECTED) and not annotations.get(_APPROVED):
        message = (
            f'protected groups must have approval annotation "{_APPROVED}", see '
            "https://github.com/kubernetes/enhancements/pull/1111"
        )
        yield FieldError(f"metadata.annotations[{_APPROVED}]", "Required value", message)


def _version_errors(spec: Obj, before: Obj) -> Errors:
    versions, path = spec["versions"], "spec.versions"
    if sum(bool(version.get("storage")) for version in versions) != 1:
        yield _wrong(
            path, _shown(versions), "must have exactly one version marked as storage version"
        )
    if len({version.get("name") for version in versions}) != len(versions):
        yield _wrong(path, _shown(versions), "must contain unique version names")
    known = [version.get("schema") for version in before.get("versions") or ()]
    for index, version in enumerate(versions):
        where = f"{path}[{index}]"
        if not is_label_1035(version.get("name") or ""):
            yield _wrong(f"{where}.name", version.get("name") or "", LABEL_1035_TEXT)
        schema = (version.get("schema") or {}).get("openAPIV3Schema")
        if not schema:
            yield FieldError(f"{where}.schema.openAPIV3Schema", "Required value", "")
        elif version["schema"] not in known:
            yield from schema_errors(schema, f"{where}.schema.openAPIV3Schema", _default_errors)
        yield from _deprecation(version, f"{where}.deprecationWarning")
        scale = (version.get("subresources") or {}).get("scale") or {}
        yield from _scale_errors(scale, f"{where}.subresources.scale")
        for place, column in enumerate(version.get("additionalPrinterColumns") or ()):
            yield from _column_errors(column, f"{where}.additionalPrinterColumns[{place}]")
        fields = version.get("selectableFields") or ()
        yield from _selectable_errors(fields, schema or {}, f"{where}.selectableFields")


def _shown(versions: list[Obj]) -> list[Any]:
    return [version.get("name") for version in versions]


def _default_errors(schema: Obj, path: str, top: bool = True) -> Errors:
    default = schema.get("default")
    if default is not None:
        compiled, value = compile_schema(schema, definition_schema), deep_copy(default)
        if compiled.prune(value):
            yield _wrong(f"{path}.default", default, "must not have unknown fields")
        yield from compiled.validate(value, f"{path}.default")
    for name, child in (schema.get("properties") or {}).items():
        where = f"{path}.properties[{name}]"
        if top and name == "metadata":
            if child.get("default") is not None:
                yield FieldError(
                    f"{where}.default", "Forbidden", "must not be set in top-level metadata"
                )
            continue
        yield from _default_errors(child, where, top=False)
    for keyword in ("items", "additionalProperties"):
        if isinstance(schema.get(keyword), dict):
            yield from _default_errors(schema[keyword], f"{path}.{keyword}", top=False)


def _deprecation(version: Obj, path: str) -> Errors:
    warning = version.get("deprecationWarning")
    if warning is None:
        return
    if not version.get("deprecated"):
        yield _wrong(path, warning, "can only be set for deprecated versions")
    if not warning:
        yield _wrong(path, warning, "must not be an empty string")
    if len(warning) > _WARNING_LIMIT:
        yield _wrong(path, warning, f"must be <= {_WARNING_LIMIT} characters long")
    if not warning.isprintable():
        yield _wrong(path, warning, "must only contain printable UTF-8 characters")


def _scale_errors(scale: Obj, path: str) -> Errors:
    for field, roots, message in (
        ("specReplicasPath", (".spec.",), "should be a json path under .spec"),
        ("statusReplicasPath", (".status.",), "should be a json path under .status"),
        (
            "labelSelectorPath",
            (".spec.", ".status."),
            "should be a json path under either .spec or .status",
        ),
    ):
        if not (given := scale.get(field)):
            continue
        if not given.startswith("."):
            yield _wrong(f"{path}.{field}", given, "must be a simple json path starting with .")
        elif not given.startswith(roots):
            yield _wrong(f"{path}.{field}", given, message)


def _column_errors(column: Obj, path: str) -> Errors:
    kind, form, wanted = column.get("type"), column.get("format"), column.get("jsonPath")
    if not column.get("name"):
        yield FieldError(f"{path}.name", "Required value", "")
    if not kind:
        message = f"must be one of {','.join(_COLUMN_TYPES)}"
        yield FieldError(f"{path}.type", "Required value", message)
    elif kind not in _COLUMN_TYPES:
        yield _wrong(f"{path}.type", kind, f"must be one of {','.join(_COLUMN_TYPES)}")
    if form and form not in _COLUMN_FORMATS:
        yield _wrong(f"{path}.format", form, f"must be one of {','.join(_COLUMN_FORMATS)}")
    if not wanted:
        yield FieldError(f"{path}.JSONPath", "Required value", "")
    elif not wanted.startswith("."):
        yield _wrong(f"{path}.JSONPath", wanted, "must be a simple json path starting with .")
    else:
        try:
            compile_path(wanted)
        except JsonPathError as error:
            yield _wrong(f"{path}.JSONPath", wanted, str(error))


def _selectable_errors(fields: Iterable[Obj], schema: Obj, path: str) -> Errors:
    seen: set[str] = set()
    for index, field in enumerate(fields):
        where, given = f"{path}[{index}].jsonPath", field.get("jsonPath") or ""
        names = given.split(".")
        if not given:
            yield FieldError(where, "Required value", "")
            continue
        if names[0] or not all(names[1:]) or "[" in given:
            yield _wrong(where, given, "is an invalid path: write it as .spec.field")
            continue
        found: Any = schema
        for name in names[1:]:
            found = (found.get("properties") or {}).get(name) or {}
        if names[1] == "metadata":
            yield _wrong(where, given, "must not point to fields in metadata")
        elif not found:
            message = "is an invalid path: does not refer to a valid field"
            yield _wrong(where, given, message)
        elif found.get("type") not in _SELECTABLE_TYPES:
            message = (
                "must point to a field of type string, boolean or integer. Enum string fields and "
                "strings with formats are allowed."
            )
            yield _wrong(where, given, message)
        if given in seen:
            yield FieldError(where, "Duplicate value", "", given)
        seen.add(given)
    if len(seen) > _SELECTABLE:
        yield FieldError(path, "Too many", f"must have at most {_SELECTABLE} items", len(seen))


def _stored_versions(spec: Obj, stored: Iterable[str]) -> Errors:
    names = _shown(spec["versions"])
    for index, version in enumerate(stored):
        if version not in names:
            message = (
                f"missing from spec.versions; {version} was previously a storage version, and must "
                "remain in spec.versions until a storage migration ensures no data remains "
                f"persisted in {version} and removes {version} from status.storedVersions"
            )
            yield _wrong(f"status.storedVersions[{index}]", version, message)


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


def _wrong(path: str, value: Any, message: str) -> FieldError:
    return FieldError(path, "Invalid value", message, value)
