"""Objects that are rich, and objects that are wrong: made from the schemas of the kinds themselves.

A sample states every field its type has, a few levels deep, with a value of the right type. A
broken one has one of its fields replaced by something else, or repeated where there should be one.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from random import Random
from typing import Any, Final

from kubeling.apiserver.builtin.resources import BUILTIN_RESOURCES
from kubeling.apiserver.builtin.types import definition_schema
from kubeling.apiserver.served import Served
from kubeling.kube.objects import Obj

__all__ = ["ODD_VALUES", "broken", "paths", "sample", "sample_of"]

ODD_VALUES: Final[tuple[Any, ...]] = (
    None,
    True,
    0,
    -1,
    10**30,
    1.5,
    "",
    "x",
    "-1",
    "é\u0000\n",
    "a" * 300,
    "9" * 5000,
    [],
    [None],
    ["x", 1, {}],
    [[]],
    {},
    {"": None},
    {"x": {"y": []}},
    {"$patch": "delete"},
)
"""What is put where something else belongs."""

_DEPTH: Final = 9
_SERVERS: Final = (
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "generateName",
    "generation",
    "namespace",
    "resourceVersion",
    "selfLink",
    "uid",
)
"""Metadata that the server sets."""
_TEXTS: Final = {
    "date-time": "2026-01-01T00:00:00Z",
    "byte": "eA==",
    "int-or-string": "25%",
    "quantity": "1",
}
_KNOWN: Final = {"port": 80, "name": "x", "key": "k", "operator": "Exists", "kind": "Pod"}


def sample_of(served: Served) -> Obj:
    """An object of a kind with every field that its schema has, and a name."""
    if served.definition is None:
        made = sample(definition_of(served))
    else:
        versions = served.definition["spec"]["versions"]
        version = next(one for one in versions if one["name"] == served.resource.version)
        made = _value(version["schema"]["openAPIV3Schema"], _DEPTH)
    metadata = {**(made.get("metadata") or {}), "name": "x"}
    for field in _SERVERS:
        metadata.pop(field, None)
    resource = served.resource
    return {
        **made,
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": metadata,
    }


def definition_of(served: Served) -> str:
    """The full name of the type of a built-in kind."""
    return next(e.definition for e in BUILTIN_RESOURCES if e.resource == served.resource)


def sample(definition: str, depth: int = _DEPTH) -> Obj:
    """An object of a built-in type with every field that it has."""
    made = _value({"x-kubeling-ref": definition}, depth)
    assert isinstance(made, dict)
    return made


def paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where the parts of a value are."""
    if path:
        yield path
    entries: Any = ()
    if isinstance(value, dict):
        entries = value.items()
    elif isinstance(value, list):
        entries = enumerate(value)
    for key, item in entries:
        yield from paths(item, (*path, key))


def broken(obj: Obj, random: Random) -> Obj:
    """A copy with some of its parts gone, replaced or repeated."""
    made = copy.deepcopy(obj)
    for _ in range(random.choice((1, 1, 2, 6))):
        places = list(paths(made))
        if not places:
            break
        *above, last = random.choice(places)
        parent: Any = made
        for key in above:
            parent = parent[key]
        match random.randrange(6):
            case 0:
                del parent[last]
            case 1 if isinstance(parent, list):
                parent.append(copy.deepcopy(parent[last]))
            case _:
                parent[last] = copy.deepcopy(random.choice(ODD_VALUES))
    return made


def _value(node: Obj, depth: int, name: str = "") -> Any:
    if reference := node.get("x-kubeling-ref"):
        node = {**definition_schema(reference), **node}
    match node.get("type"):
        case "object":
            return _object(node, depth)
        case "array":
            return [_value(node.get("items") or {}, depth - 1)] if depth > 0 else []
        case "string":
            return node["enum"][0] if node.get("enum") else _text(node, name)
        case "integer" | "number":
            return _KNOWN.get(name, 1) if not isinstance(_KNOWN.get(name), str) else 1
        case "boolean":
            return True
        case _:
            return "1" if node.get("x-kubernetes-int-or-string") else {}


def _object(node: Obj, depth: int) -> Obj:
    if depth <= 0:
        return {}
    if isinstance(extra := node.get("additionalProperties"), dict):
        return {"x": _value(extra, depth - 1, "x")}
    return {
        name: _value(child, depth - 1, name)
        for name, child in (node.get("properties") or {}).items()
    }


def _text(node: Obj, name: str) -> str:
    known = _KNOWN.get(name, "x")
    return _TEXTS.get(str(node.get("format")), known if isinstance(known, str) else "x")
