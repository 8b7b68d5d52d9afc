"""The variables in the configurations of a service.

Source: pkg/controller/v1alpha2/llmisvc/config_merge.go: Go templates over the service, once what it
builds on is merged. Of Go's templates this knows fields (``{{ .Spec.Model.Name }}``) and
``ChildName``, which is what configurations are written with; the conditions in upstream's own
presets are about vLLM.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any, Final

from kubeling.kube.objects import Obj

__all__ = ["TemplateError", "child_name", "substituted"]

_VARIABLE: Final = re.compile(r"\{\{-?\s*(.*?)\s*-?\}\}", re.DOTALL)
_FIELD: Final = re.compile(r"^(?:\.[A-Za-z]\w*)+$")
_CHILD: Final = re.compile(r"^ChildName\s+((?:\.[A-Za-z]\w*)+)\s+[`\"']([^`\"']*)[`\"']$")
_LONGEST: Final = 63
_HASH: Final = 32


class TemplateError(ValueError):
    """A variable that is not understood, or that has no value."""


def substituted(value: Any, service: Obj) -> Any:
    """A spec with its variables replaced; raises :class:`TemplateError`."""
    if isinstance(value, str):
        return _VARIABLE.sub(lambda found: _value(found[1], service), value)
    if isinstance(value, dict):
        return {key: substituted(item, service) for key, item in value.items()}
    if isinstance(value, list):
        return [substituted(item, service) for item in value]
    return value


def _value(expression: str, service: Obj) -> str:
    if _FIELD.match(expression):
        return _field(expression, service)
    if found := _CHILD.match(expression):
        return child_name(_field(found[1], service), found[2])
    raise TemplateError(
        f'"{{{{ {expression} }}}}" is not understood; fields such as {{{{ .Spec.Model.Name }}}} '
        "are, and {{ ChildName .ObjectMeta.Name `-suffix` }}"
    )


def _field(path: str, service: Obj) -> str:
    """A field of the service by its name in Go: the metadata stands at the top as well."""
    found: Any = {
        **service["metadata"],
        "objectMeta": service["metadata"],
        "spec": service.get("spec") or {},
        "globalConfig": {},
    }
    for part in path.split(".")[1:]:
        key = _json_name(part)
        if not isinstance(found, dict) or key not in found:
            raise TemplateError(f'"{{{{ {path} }}}}" has no value')
        found = found[key]
    if isinstance(found, dict | list):
        raise TemplateError(f'"{{{{ {path} }}}}" is no single value')
    return str(found)


def _json_name(part: str) -> str:
    special = {"URI": "uri", "LoRA": "lora", "KVCacheOffloading": "kvCacheOffloading"}
    return special.get(part, part[:1].lower() + part[1:])


def child_name(parent: str, suffix: str) -> str:
    """Knative's ``kmeta.ChildName``: shortened with a digest where it would be too long."""
    if len(parent) + len(suffix) <= _LONGEST:
        return parent + suffix
    digest = hashlib.md5(parent.encode(), usedforsecurity=False).hexdigest()
    head = parent
    if len(suffix) <= _LONGEST - _HASH:
        return head[: _LONGEST - _HASH - len(suffix)] + digest + suffix
    whole = hashlib.md5((parent + suffix).encode(), usedforsecurity=False).hexdigest()
    return (parent + suffix)[: _LONGEST - _HASH] + whole
