"""Where a task's pod may run: node selectors, tolerations, affinities. Pure.

Each has a form written out in the platform spec and a form whose JSON comes from a parameter.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from kubeling.kube.objects import Obj
from kubeling.pipelines.platform_values import SettingsError, Value

__all__ = ["affinity", "given_name", "node_selector", "tolerations"]


def given_name(entry: Obj, field: str, value: Value) -> str:
    """A name given as a parameter source, or in one of the older forms; empty for null."""
    if source := entry.get(f"{field}Parameter"):
        return str(value(source) or "")
    for older in ("taskOutputParameter", "componentInputParameter"):
        if entry.get(older):
            return str(value({older: entry[older]}) or "")
    return str(entry.get(field) or entry.get("constant") or "")


def node_selector(settings: Obj, value: Value) -> dict[str, str]:
    """The labels a node must have."""
    given = settings.get("nodeSelector") or {}
    if "nodeSelectorJson" in given:
        found = _json(given["nodeSelectorJson"], value, "nodeSelector")
        return {str(k): str(v) for k, v in (found or {}).items()}
    labels: dict[str, str] = given.get("labels") or {}
    return labels


def tolerations(settings: Obj, value: Value) -> list[Obj]:
    """The taints a pod bears; the JSON form is one toleration or a list of them."""
    found: list[Obj] = []
    for entry in settings.get("tolerations") or ():
        if "tolerationJson" in entry:
            given = _json(entry["tolerationJson"], value, "tolerations")
            found += given if isinstance(given, list) else [given] if given else []
        else:
            found.append(entry)
    return [{k: int(v) if k == "tolerationSeconds" else v for k, v in e.items()} for e in found]


def affinity(settings: Obj, value: Value) -> Obj:
    """Near what a pod wants to be, or far from what; with a weight it is a wish only."""
    found: Obj = {}
    if nodes := _node_affinity(settings.get("nodeAffinity") or (), value):
        found["nodeAffinity"] = nodes
    for term in settings.get("podAffinity") or ():
        kind = "podAntiAffinity" if term.get("anti") else "podAffinity"
        _add(found.setdefault(kind, {}), _pod_term(term), term, "podAffinityTerm")
    return found


def _node_affinity(terms: Iterable[Obj], value: Value) -> Obj:
    found: Obj = {}
    for term in terms:
        if "nodeAffinityJson" in term:
            _merge(found, _json(term["nodeAffinityJson"], value, "nodeAffinity") or {})
            continue
        parts = {k: term[k] for k in ("matchExpressions", "matchFields") if term.get(k)}
        if not parts:
            continue
        if term.get("weight"):
            _add(found, parts, term, "preference")
        else:
            required = found.setdefault("requiredDuringSchedulingIgnoredDuringExecution", {})
            required.setdefault("nodeSelectorTerms", []).append(parts)
    return found


def _merge(into: Obj, given: Obj) -> None:
    required = given.get("requiredDuringSchedulingIgnoredDuringExecution") or {}
    if terms := required.get("nodeSelectorTerms"):
        own = into.setdefault("requiredDuringSchedulingIgnoredDuringExecution", {})
        own.setdefault("nodeSelectorTerms", []).extend(terms)
    if wishes := given.get("preferredDuringSchedulingIgnoredDuringExecution"):
        into.setdefault("preferredDuringSchedulingIgnoredDuringExecution", []).extend(wishes)


def _pod_term(term: Obj) -> Obj:
    found: Obj = {"topologyKey": term.get("topologyKey", "")}
    for field, expressions, labels in (
        ("labelSelector", "matchPodExpressions", "matchPodLabels"),
        ("namespaceSelector", "matchNamespaceExpressions", "matchNamespaceLabels"),
    ):
        selector: Obj = {}
        if term.get(expressions):
            selector["matchExpressions"] = term[expressions]
        if term.get(labels):
            selector["matchLabels"] = term[labels]
        if selector:
            found[field] = selector
    if term.get("namespaces"):
        found["namespaces"] = term["namespaces"]
    return found


def _add(into: Obj, parts: Obj, term: Obj, called: str) -> None:
    if weight := int(term.get("weight") or 0):
        wishes = into.setdefault("preferredDuringSchedulingIgnoredDuringExecution", [])
        wishes.append({"weight": weight, called: parts})
    else:
        into.setdefault("requiredDuringSchedulingIgnoredDuringExecution", []).append(parts)


def _json(source: Obj, value: Value, field: str) -> Any:
    found = value(source)
    if isinstance(found, str):
        try:
            found = msgspec.json.decode(found) if found else None
        except msgspec.DecodeError as error:
            raise SettingsError(f"{field}: Invalid value: {found!r}: {error}") from None
    if found is not None and not isinstance(found, dict | list):
        raise SettingsError(f"{field}: Invalid value: {found!r}: JSON is expected")
    return found
