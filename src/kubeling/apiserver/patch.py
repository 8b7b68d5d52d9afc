"""The three kinds of patches: JSON (RFC 6902), merge (RFC 7386) and strategic merge.

All are pure: they return a new object and leave the old one as it is. Strategic merge follows
apimachinery ``strategicpatch``: lists with a merge key are merged by it, and the directives
``$patch``, ``$retainKeys``, ``$setElementOrder/…`` and ``$deleteFromPrimitiveList/…`` are honoured.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from kubeling.apiserver.schema import Schema
from kubeling.kube.errors import BadRequest, Invalid
from kubeling.kube.objects import Obj, deep_copy

__all__ = ["json_patch", "merge_patch", "strategic_merge_patch"]

_ORDER: Final = "$setElementOrder/"
_DELETE: Final = "$deleteFromPrimitiveList/"


def merge_patch(target: Any, patch: Any) -> Any:
    """Applies an RFC 7386 patch: objects merge, ``null`` deletes, all else replaces."""
    if not isinstance(patch, dict):
        return deep_copy(patch)
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge_patch(result.get(key), value)
    return result


# JSON patch


def json_patch(target: Obj, operations: Any) -> Obj:
    """Applies RFC 6902 operations; a failed test or a missing path raises :class:`Invalid`."""
    if not isinstance(operations, list):
        raise BadRequest("a JSON patch is a list of operations")
    document: Any = deep_copy(target)
    for operation in operations:
        document = _operate(document, operation)
    if not isinstance(document, dict):
        raise _refused("the patch leaves no object")
    return document


def _operate(document: Any, operation: Any) -> Any:
    if not isinstance(operation, dict) or "op" not in operation or "path" not in operation:
        raise BadRequest("each operation of a JSON patch has an op and a path")
    op, path = operation["op"], _pointer(operation["path"])
    match op:
        case "add":
            return _add(document, path, _value(operation))
        case "remove":
            return _remove(document, path)
        case "replace":
            _lookup(document, path)
            return _add(_remove(document, path) if path else None, path, _value(operation))
        case "test":
            if _lookup(document, path) != _value(operation):
                raise _refused(f"testing value {operation['path']} failed")
            return document
        case "move" | "copy":
            if "from" not in operation:
                raise BadRequest(f"the {op} operation at {operation['path']} has no from")
            source = _pointer(operation["from"])
            moved = deep_copy(_lookup(document, source))
            if op == "move":
                document = _remove(document, source)
            return _add(document, path, moved)
    raise BadRequest(f'unexpected kind of operation "{op}" in a JSON patch')


def _value(operation: Obj) -> Any:
    if "value" not in operation:
        raise BadRequest(f"the {operation['op']} operation at {operation['path']} has no value")
    return deep_copy(operation["value"])


def _pointer(text: str) -> list[str]:
    if text == "":
        return []
    if not isinstance(text, str) or not text.startswith("/"):
        raise BadRequest(f"{text!r} is not a JSON pointer: it must begin with /")
    return [part.replace("~1", "/").replace("~0", "~") for part in text[1:].split("/")]


def _lookup(document: Any, path: Sequence[str]) -> Any:
    for part in path:
        if isinstance(document, dict) and part in document:
            document = document[part]
        elif isinstance(document, list):
            document = document[_index(document, part, len(document) - 1)]
        else:
            raise _refused(f"the path /{'/'.join(path)} does not exist")
    return document


def _add(document: Any, path: Sequence[str], value: Any) -> Any:
    if not path:
        return value
    parent, last = _lookup(document, path[:-1]), path[-1]
    if isinstance(parent, dict):
        parent[last] = value
    elif isinstance(parent, list):
        parent.insert(len(parent) if last == "-" else _index(parent, last, len(parent)), value)
    else:
        raise _refused(f"the path /{'/'.join(path)} does not exist")
    return document


def _remove(document: Any, path: Sequence[str]) -> Any:
    if not path:
        return None
    _lookup(document, path)
    parent, last = _lookup(document, path[:-1]), path[-1]
    del parent[_index(parent, last, len(parent) - 1) if isinstance(parent, list) else last]
    return document


def _index(items: list[Any], text: str, last: int) -> int:
    if not (text.isascii() and text.isdigit()) or int(text) > last:
        raise _refused(f"{text} is not an index of a list of {len(items)}")
    return int(text)


def _refused(why: str) -> Invalid:
    return Invalid(f"the server rejected our request due to an error in our request: {why}")


# Strategic merge patch


def strategic_merge_patch(target: Obj, patch: Any, schema: Schema) -> Obj:
    """Merges a patch by the schema's merge keys."""
    if not isinstance(patch, dict):
        raise BadRequest("a strategic merge patch is an object")
    return _merge_objects(target, patch, schema)


def _merge_objects(target: Obj, patch: Obj, schema: Schema | None) -> Obj:
    match patch.get("$patch"):
        case "replace":
            return {key: deep_copy(value) for key, value in patch.items() if key != "$patch"}
        case "delete":
            return {}
        case None | "merge":
            pass
        case other:
            raise BadRequest(f'unknown value "{other}" of the $patch directive')
    result = dict(target)
    if (kept := patch.get("$retainKeys")) is not None:
        result = {key: value for key, value in result.items() if key in kept}
    for key, value in patch.items():
        if key.startswith("$"):
            continue
        if value is None:
            result.pop(key, None)
            continue
        below = schema.child(key) if schema is not None else None
        result[key] = _merge_value(result.get(key), value, below)
    for key, value in patch.items():
        if key.startswith(_DELETE):
            name = key[len(_DELETE) :]
            result[name] = [item for item in result.get(name) or () if item not in value]
    for key, value in patch.items():
        if key.startswith(_ORDER):
            name = key[len(_ORDER) :]
            below = schema.child(name) if schema is not None else None
            if isinstance(result.get(name), list) and isinstance(value, list):
                before = target[name] if isinstance(target.get(name), list) else []
                key = below.merge_key if below else ""
                result[name] = _arranged(result[name], value, before, key)
    return result


def _merge_value(current: Any, value: Any, schema: Schema | None) -> Any:
    if isinstance(value, dict):
        return _merge_objects(current if isinstance(current, dict) else {}, value, schema)
    if isinstance(value, list):
        return _merge_lists(current if isinstance(current, list) else [], value, schema)
    return value


def _merge_lists(current: list[Any], patch: list[Any], schema: Schema | None) -> list[Any]:
    if schema is None or "merge" not in schema.patch_strategies:
        return [deep_copy(item) for item in patch if not _is_directive(item)]
    if not schema.merge_key:
        merged = current + [item for item in patch if item not in current]
        return _arranged(merged, patch, current, "")
    if any(_is_directive(item) and item["$patch"] == "replace" for item in patch):
        return [deep_copy(item) for item in patch if not _is_directive(item)]
    result = list(current)
    for item in patch:
        result = _merge_item(result, item, schema)
    return _arranged(result, patch, current, schema.merge_key)


def _merge_item(items: list[Any], item: Any, schema: Schema) -> list[Any]:
    key = schema.merge_key
    if not isinstance(item, dict) or key not in item:
        raise BadRequest(f"map: {item} does not contain declared merge key: {key}")
    at = next((i for i, found in enumerate(items) if found.get(key) == item[key]), None)
    if item.get("$patch") == "delete":
        return [found for found in items if found.get(key) != item[key]]
    if at is None:
        return [*items, _merge_objects({}, item, schema.items)]
    return [*items[:at], _merge_objects(items[at], item, schema.items), *items[at + 1 :]]


def _is_directive(item: Any) -> bool:
    return isinstance(item, dict) and "$patch" in item and len(item) == 1


def _arranged(items: list[Any], wanted: list[Any], before: list[Any], key: str) -> list[Any]:
    """The items that are wanted in their order, the others in theirs, and both merged.

    An item that was not there ``before`` comes as early as its order allows, as upstream has it.
    """

    def mark(item: Any) -> str:
        return str(item.get(key) if key and isinstance(item, dict) else item)

    places = {mark(item): place for place, item in enumerate(wanted)}
    known = {mark(item): place for place, item in enumerate(before)}
    named = [item for item in items if mark(item) in places]
    named.sort(key=lambda item: places[mark(item)])
    others = [item for item in items if mark(item) not in places]
    others.sort(key=lambda item: known.get(mark(item), len(known)))
    arranged: list[Any] = []
    for item in named:
        place = known.get(mark(item), -1)
        while others and known.get(mark(others[0]), place) < place:
            arranged.append(others.pop(0))
        arranged.append(item)
    return arranged + others
