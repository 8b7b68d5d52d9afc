"""Where templates come from: the Workflow itself, or WorkflowTemplates it refers to.

A template taken from elsewhere is stored in the Workflow's status when it is first used, so that a
run does not change when the WorkflowTemplate does. The library does no I/O: what it has not been
given raises :class:`Missing`, and the controller fetches it and goes on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec

from kubeling.kube.objects import Obj
from kubeling.workflows.resources import Template, TemplateRef

__all__ = [
    "Library",
    "Missing",
    "Resolved",
    "TemplateScope",
    "UnknownTemplate",
    "template_type",
    "with_defaults",
]

_TYPES = (
    "container", "script", "steps", "dag", "suspend", "containerSet", "resource", "http", "data",
    "plugin",
)  # fmt: skip


class UnknownTemplate(Exception):
    """A reference leads nowhere; the message says which."""


class Missing(Exception):
    """An object has to be fetched before the execution can go on."""

    def __init__(self, kind: str, name: str) -> None:
        super().__init__(f"{kind} {name}")
        self.kind = kind
        self.name = name


class TemplateScope(NamedTuple):
    """Where a template's references to other templates are looked up."""

    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind}/{self.name}"


@dataclass(frozen=True, slots=True)
class Resolved:
    """A template with the place it came from; ``raw`` still has its tags."""

    raw: Obj
    template: Template
    scope: TemplateScope
    ref: TemplateRef | None = None

    @property
    def type(self) -> str:
        return template_type(self.raw)

    @property
    def name(self) -> str:
        return self.template.name


def template_type(raw: Mapping[str, Any]) -> str:
    """Which of the template types is filled in; empty for none."""
    return next((kind for kind in _TYPES if raw.get(kind) is not None), "")


class Library:
    """The templates within reach of one Workflow.

    ``stored`` is the Workflow's ``status.storedTemplates``; ``objects`` are ConfigMaps and template
    specs by kind and name, ``None`` where the object does not exist.
    """

    def __init__(self, name: str, spec: Obj, stored: dict[str, Obj]) -> None:
        self.local = TemplateScope("local", name)
        self.stored = stored
        self.objects: dict[tuple[str, str], Obj | None] = {}
        self.stored_changed = False
        self._defaults: Obj = spec.get("templateDefaults") or {}
        self._templates: Obj = {t.get("name", ""): t for t in spec.get("templates") or ()}
        self._cache: dict[tuple[TemplateScope, str], Resolved] = {}

    def resolve(self, call: Mapping[str, Any], scope: TemplateScope) -> Resolved:
        """The template a step, task or hook calls; raises :class:`UnknownTemplate`."""
        if inline := call.get("inline"):
            return self._prepared({"name": call.get("name", ""), **inline}, scope, None)
        if ref := call.get("templateRef"):
            wanted = msgspec.convert(ref, TemplateRef)
            kind = "cluster" if wanted.cluster_scope else "namespaced"
            return self._cached(TemplateScope(kind, wanted.name), wanted.template, wanted)
        return self._cached(scope, call.get("template") or "", None)

    def config_map(self, name: str) -> Obj | None:
        """A ConfigMap of the Workflow's namespace."""
        return self._object("configmap", name)

    def _cached(self, scope: TemplateScope, name: str, ref: TemplateRef | None) -> Resolved:
        found = self._cache.get((scope, name))
        if found is None:
            raw = self._templates.get(name) if scope == self.local else self._foreign(scope, name)
            if raw is None:
                raise UnknownTemplate(f'template "{name}" not found in {scope}')
            found = self._cache[scope, name] = self._prepared(raw, scope, ref)
        return found

    def _foreign(self, scope: TemplateScope, name: str) -> Obj | None:
        key = f"{scope}/{name}"
        if (stored := self.stored.get(key)) is not None:
            return stored
        spec = self._object(scope.kind, scope.name)
        if spec is None:
            kind = "clusterworkflowtemplates" if scope.kind == "cluster" else "workflowtemplates"
            raise UnknownTemplate(f'{kind}.argoproj.io "{scope.name}" not found')
        for raw in spec.get("templates") or ():
            if raw.get("name") == name:
                self.stored[key] = raw
                self.stored_changed = True
                found: Obj = raw
                return found
        return None

    def _object(self, kind: str, name: str) -> Obj | None:
        try:
            return self.objects[kind, name]
        except KeyError:
            raise Missing(kind, name) from None

    def _prepared(self, raw: Obj, scope: TemplateScope, ref: TemplateRef | None) -> Resolved:
        if self._defaults:
            raw = with_defaults(raw, self._defaults)
        return Resolved(raw, msgspec.convert(raw, Template), scope, ref)


def with_defaults(raw: Obj, defaults: Obj) -> Obj:
    """A template with what it does not say taken from ``templateDefaults``."""
    own_type = template_type(raw)
    merged = dict(raw)
    for key, value in defaults.items():
        if key in _TYPES and key != own_type:
            continue
        own = merged.get(key)
        if own is None:
            merged[key] = value
        elif isinstance(own, dict) and isinstance(value, dict):
            merged[key] = {**value, **own}
    return merged
