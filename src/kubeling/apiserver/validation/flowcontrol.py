"""Rules of flow schemas and priority levels (``pkg/apis/flowcontrol/validation``)."""

from __future__ import annotations

from functools import cache
from typing import Any, Final

from kubeling.apiserver.validation.rules import Checks, Errors, between, choice, required, spec_of
from kubeling.kube.errors import FieldError
from kubeling.kube.objects import Obj

__all__ = ["FLOW_CONTROL_RULES"]

_GROUP: Final = "flowcontrol.apiserver.k8s.io"
_HIGHEST: Final = 10000
_VERBS: Final = (
    "create", "delete", "deletecollection", "get", "list", "patch", "proxy", "update", "watch",
)  # fmt: skip
_SUBJECTS: Final = {"Group": "group", "ServiceAccount": "serviceAccount", "User": "user"}


def _schema(new: Obj, old: Obj | None) -> Errors:
    spec, precedence = spec_of(new), spec_of(new).get("matchingPrecedence", 0)
    path = "spec.matchingPrecedence"
    if precedence <= 0:
        yield FieldError(path, "Invalid value", "must be a positive value", precedence)
    if precedence > _HIGHEST:
        message = f"must not be greater than {_HIGHEST}"
        yield FieldError(path, "Invalid value", message, precedence)
    if precedence == 1 and _name(new) != "exempt":
        message = "only the schema named 'exempt' may have matchingPrecedence 1"
        yield FieldError(path, "Invalid value", message, precedence)
    method, methods = spec.get("distinguisherMethod") or {}, ("ByNamespace", "ByUser")
    yield from choice(method, "spec.distinguisherMethod", "type", methods)
    if not (spec.get("priorityLevelConfiguration") or {}).get("name"):
        where = "spec.priorityLevelConfiguration.name"
        yield FieldError(where, "Required value", "must reference a priority level")
    for index, rule in enumerate(spec.get("rules") or ()):
        yield from _rule(rule, f"spec.rules[{index}]")
    yield from _fixed("FlowSchema", new)


def _rule(rule: Obj, path: str) -> Errors:
    if not rule.get("subjects"):
        message = "subjects must contain at least one value"
        yield FieldError(f"{path}.subjects", "Required value", message)
    for index, subject in enumerate(rule.get("subjects") or ()):
        yield from _subject(subject, f"{path}.subjects[{index}]")
    resources, others = rule.get("resourceRules") or (), rule.get("nonResourceRules") or ()
    if not resources and not others:
        message = "at least one of resourceRules and nonResourceRules has to be non-empty"
        yield FieldError(path, "Required value", message)
    for index, entry in enumerate(resources):
        where = f"{path}.resourceRules[{index}]"
        yield from _listed(entry, where, "verbs", "verbs must contain at least one value", "verbs")
        for field, word in (("apiGroups", "api group"), ("resources", "resource")):
            message = f"resource rules must supply at least one {word}"
            yield from _listed(entry, where, field, message, f"{word}s")
        if not entry.get("namespaces") and not entry.get("clusterScope"):
            message = (
                "resource rules that are not cluster scoped must supply at least one namespace"
            )
            yield FieldError(f"{where}.namespaces", "Required value", message)
    for index, entry in enumerate(others):
        where, field = f"{path}.nonResourceRules[{index}]", "nonResourceURLs"
        yield from _listed(entry, where, "verbs", "verbs must contain at least one value", "verbs")
        message = "nonResourceURLs must contain at least one value"
        yield from _listed(entry, where, field, message, "non-resource URLs")


def _listed(entry: Obj, path: str, field: str, missing: str, word: str) -> Errors:
    """A list with at least one value, of which ``*`` stands alone."""
    values: list[Any] = entry.get(field) or []
    if not values:
        yield FieldError(f"{path}.{field}", "Required value", missing)
    elif "*" in values and len(values) > 1:
        message = f"if '*' is present, must not specify other {word}"
        yield FieldError(f"{path}.{field}", "Invalid value", message, values)
    elif field == "verbs" and "*" not in values and not set(values) <= set(_VERBS):
        message = "supported values: " + ", ".join(f'"{verb}"' for verb in _VERBS)
        yield FieldError(f"{path}.{field}", "Unsupported value", message, values)


def _subject(subject: Obj, path: str) -> Errors:
    kind = subject.get("kind", "")
    yield from choice(subject, path, "kind", tuple(_SUBJECTS))
    for named, field in _SUBJECTS.items():
        found = subject.get(field)
        if named == kind and found is not None:
            fields = ("name", "namespace") if field == "serviceAccount" else ("name",)
            yield from required(found, f"{path}.{field}", *fields)
        elif named == kind:
            message = f"{field} is required when subject kind is '{kind}'"
            yield FieldError(f"{path}.{field}", "Required value", message)
        elif found is not None and kind in _SUBJECTS:
            message = f"{field} is forbidden when subject kind is not '{named}'"
            yield FieldError(f"{path}.{field}", "Forbidden", message)


def _level(new: Obj, old: Obj | None) -> Errors:
    spec = spec_of(new)
    kind = spec.get("type", "")
    if (_name(new) == "exempt") != (kind == "Exempt"):
        message = "must be 'Exempt' if and only if `name` is 'exempt'"
        yield FieldError("spec.type", "Invalid value", message, kind)
    yield from choice(spec, "spec", "type", ("Exempt", "Limited"))
    if kind == "Limited" and spec.get("exempt") is not None:
        yield FieldError("spec.exempt", "Forbidden", "must be nil if the type is Limited")
    if kind == "Limited" and spec.get("limited") is None:
        message = "must not be empty when type is Limited"
        yield FieldError("spec.limited", "Required value", message)
    if kind == "Exempt" and spec.get("limited") is not None:
        yield FieldError("spec.limited", "Forbidden", "must be nil if the type is not Limited")
    for field in ("limited", "exempt"):
        part = spec.get(field) or {}
        path, shares = f"spec.{field}", part.get("nominalConcurrencyShares", 0)
        if shares < 0:
            where, message = f"{path}.nominalConcurrencyShares", "must be a non-negative integer"
            yield FieldError(where, "Invalid value", message, shares)
        yield from between(part, path, "lendablePercent", 0, 100)
    if spec.get("limited"):
        yield from _response(spec["limited"].get("limitResponse") or {})
    yield from _fixed("PriorityLevelConfiguration", new)


def _response(response: Obj) -> Errors:
    path, kind, queuing = "spec.limited.limitResponse", response.get("type"), "queuing"
    yield from choice(response, path, "type", ("Queue", "Reject"))
    if kind == "Reject" and response.get(queuing) is not None:
        message = "must be nil if limited.limitResponse.type is not Limited"
        yield FieldError(f"{path}.queuing", "Forbidden", message)
    if kind == "Queue" and response.get(queuing) is None:
        message = "must not be empty if limited.limitResponse.type is Limited"
        yield FieldError(f"{path}.queuing", "Required value", message)
    queues = response.get(queuing) or {}
    hand, count = queues.get("handSize", 1), queues.get("queues", 1)
    if hand > count:
        message = f"should not be greater than queues ({count})"
        yield FieldError(f"{path}.queuing.handSize", "Invalid value", message, hand)
    for field in ("queues", "handSize", "queueLengthLimit"):
        if queues.get(field, 1) <= 0:
            where = f"{path}.queuing.{field}"
            yield FieldError(where, "Invalid value", "must be positive", queues[field])


def _fixed(kind: str, new: Obj) -> Errors:
    """The mandatory objects are as they are, but for how much the exempt level lends."""
    wanted = _mandatory().get((kind, _name(new)))
    if wanted is None:
        return
    given = spec_of(new)
    if kind == "PriorityLevelConfiguration" and _name(new) == "exempt":
        given, message = {**given, "exempt": wanted["exempt"]}, " except the 'spec.exempt' field"
    else:
        message = ""
    if given != wanted:
        text = f"spec of '{_name(new)}'{message} must equal the fixed value"
        yield FieldError("spec", "Invalid value", text, spec_of(new))


def _name(obj: Obj) -> str:
    return str((obj.get("metadata") or {}).get("name") or "")


@cache
def _mandatory() -> dict[tuple[str, str], Obj]:
    from kubeling.apiserver.flowcontrol.objects import MANDATORY, flow_control_objects

    return {
        (resource.kind, _name(obj)): obj["spec"]
        for resource, obj in flow_control_objects("")
        if _name(obj) in MANDATORY
    }


FLOW_CONTROL_RULES: Final[Checks] = {
    (_GROUP, "FlowSchema"): _schema,
    (_GROUP, "PriorityLevelConfiguration"): _level,
}
