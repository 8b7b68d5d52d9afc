"""OpenAPI v2: one document of everything, for tools that came before v3.

kubectl reads v3, but for a ``List``; generators of client libraries and older tools ask for this.
It is made from the v3 documents, and says less: v2 has no ``oneOf``, ``anyOf``, ``not`` or
``nullable``, which upstream leaves out as well.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from kubeling.kube.objects import Obj

__all__ = ["whole_document"]

_V3: Final = "#/components/schemas/"
_V2: Final = "#/definitions/"
_UNKNOWN: Final = frozenset({"oneOf", "anyOf", "not", "nullable"})
_TYPED: Final = {
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": {
        "type": "string",
        "format": "int-or-string",
    },
    "io.k8s.apimachinery.pkg.api.resource.Quantity": {"type": "string"},
}
"""Types that v3 tells by ``oneOf``."""
_JSON: Final = ["application/json", "application/yaml"]


def whole_document(documents: Iterable[bytes]) -> Obj:
    """The v3 documents of all groups as one of v2."""
    paths: Obj = {}
    definitions: Obj = {}
    for text in documents:
        document = msgspec.json.decode(text)
        for name, schema in document["components"]["schemas"].items():
            definitions.setdefault(name, _TYPED.get(name) or _schema(schema))
        for path, item in document["paths"].items():
            paths[path] = {method: _operation(found) for method, found in item.items()}
    return {
        "swagger": "2.0",
        "info": {"title": "Kubernetes", "version": "v1"},
        "paths": paths,
        "definitions": definitions,
    }


def _schema(node: Any) -> Any:
    if isinstance(node, list):
        return [_schema(one) for one in node]
    if not isinstance(node, dict):
        return node
    made = {key: _schema(value) for key, value in node.items() if key not in _UNKNOWN}
    if len(whole := made.get("allOf") or []) == 1:
        # In v2 a description may stand beside a reference.
        made = {**whole[0], **{key: value for key, value in made.items() if key != "allOf"}}
    if isinstance(reference := made.get("$ref"), str):
        made["$ref"] = reference.replace(_V3, _V2)
    return made


def _operation(found: Obj) -> Obj:
    parameters = [
        {"name": one["name"], "in": one["in"], **one["schema"]}
        for one in found.get("parameters") or ()
    ]
    made = {key: value for key, value in found.items() if key.startswith("x-")}
    if (content := (found.get("requestBody") or {}).get("content")) is not None:
        schema = _schema(next(iter(content.values()))["schema"])
        parameters.append({"name": "body", "in": "body", "required": True, "schema": schema})
        made["consumes"] = list(content)
    if parameters:
        made["parameters"] = parameters
    answer = found["responses"]["200"]
    shown = _schema(answer["content"]["application/json"]["schema"])
    responses = {"200": {"description": answer["description"], "schema": shown}}
    return {**made, "produces": _JSON, "responses": responses}
