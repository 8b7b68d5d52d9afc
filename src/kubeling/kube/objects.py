"""Reading and writing the parts every Kubernetes object shares.

Objects travel as plain dicts in Kubernetes JSON. These functions know ``metadata`` and
``status.conditions``; everything else belongs to the room that owns the kind.
"""

import datetime as dt
from collections.abc import Iterable, Mapping, MutableMapping
from typing import Any, Final, NamedTuple, cast

import msgspec

from kubeling.kube.resources import Resource

__all__ = [
    "Condition",
    "Key",
    "Obj",
    "annotations",
    "api_version_of",
    "condition",
    "controller_of",
    "deep_copy",
    "deletion_requested",
    "format_time",
    "generation",
    "is_condition_true",
    "is_owned_by",
    "key_of",
    "labels",
    "mapping",
    "mappings",
    "name",
    "namespace",
    "new_object",
    "owner_reference",
    "parse_time",
    "remove_condition",
    "resource_version",
    "set_condition",
    "uid",
]

Obj = dict[str, Any]

_SECONDS: Final = len("2026-01-31T23:59:59")


class Key(NamedTuple):
    """What a reconciler is asked about; ``namespace`` is empty for cluster-scoped kinds."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


def deep_copy(value: Any) -> Any:
    """A copy of a JSON value, dozens of times faster than :func:`copy.deepcopy`."""
    return msgspec.to_builtins(value)


def mapping(value: Any) -> dict[str, Any]:
    """The value, if it is an object: what is read before a schema is checked may be anything."""
    return value if isinstance(value, dict) else {}


def mappings(value: Any) -> list[dict[str, Any]]:
    """The objects in the value, if it is a list."""
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def name(obj: Mapping[str, Any]) -> str:
    return cast(str, obj["metadata"]["name"])


def namespace(obj: Mapping[str, Any]) -> str:
    """The object's namespace, empty for cluster-scoped kinds."""
    return cast(str, obj["metadata"].get("namespace", ""))


def uid(obj: Mapping[str, Any]) -> str:
    return cast(str, obj["metadata"].get("uid", ""))


def key_of(obj: Mapping[str, Any]) -> Key:
    return Key(namespace(obj), name(obj))


def labels(obj: Mapping[str, Any]) -> dict[str, str]:
    """The labels (do not change them in place)."""
    return obj["metadata"].get("labels") or {}


def annotations(obj: Mapping[str, Any]) -> dict[str, str]:
    """The annotations (do not change them in place)."""
    return obj["metadata"].get("annotations") or {}


def generation(obj: Mapping[str, Any]) -> int:
    return int(obj["metadata"].get("generation", 0))


def resource_version(obj: Mapping[str, Any]) -> str:
    return cast(str, obj["metadata"].get("resourceVersion", ""))


def api_version_of(group: str, version: str) -> str:
    return f"{group}/{version}" if group else version


def deletion_requested(obj: Mapping[str, Any]) -> bool:
    """Whether the object waits for its finalizers or its grace period."""
    return "deletionTimestamp" in obj["metadata"]


def new_object(
    resource: Resource,
    name: str,
    namespace: str = "",
    *,
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
    owner: Obj | None = None,
    **content: Any,
) -> Obj:
    """A new object of the kind; ``owner`` becomes its controlling owner reference."""
    metadata: Obj = {"name": name}
    if namespace:
        metadata["namespace"] = namespace
    if labels:
        metadata["labels"] = dict(labels)
    if annotations:
        metadata["annotations"] = dict(annotations)
    if owner is not None:
        metadata["ownerReferences"] = [owner_reference(owner)]
    return {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": metadata,
        **content,
    }


def owner_reference(owner: Mapping[str, Any], *, controller: bool = True) -> Obj:
    """A reference that makes the garbage collector delete the dependent with ``owner``."""
    reference: Obj = {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": name(owner),
        "uid": uid(owner),
    }
    if controller:
        reference["controller"] = True
        reference["blockOwnerDeletion"] = True
    return reference


def controller_of(obj: Mapping[str, Any]) -> Obj | None:
    """The owner reference marked as controller, if any."""
    for reference in obj["metadata"].get("ownerReferences") or ():
        if reference.get("controller"):
            return cast(Obj, reference)
    return None


def is_owned_by(obj: Mapping[str, Any], owner: Mapping[str, Any]) -> bool:
    """Whether ``owner`` (this very object, by uid) is among the object's owners."""
    wanted = uid(owner)
    return any(r.get("uid") == wanted for r in obj["metadata"].get("ownerReferences") or ())


def format_time(moment: dt.datetime) -> str:
    """RFC 3339 in UTC with whole seconds, as ``metav1.Time``."""
    if moment.tzinfo is not dt.UTC:
        moment = moment.astimezone(dt.UTC)
    return moment.isoformat()[:_SECONDS] + "Z"


def parse_time(text: str) -> dt.datetime:
    """The moment an RFC 3339 text names, in UTC."""
    return dt.datetime.fromisoformat(text).astimezone(dt.UTC)


class Condition(NamedTuple):
    """One entry of ``status.conditions``, read-only."""

    type: str
    status: str
    reason: str
    message: str


def condition(obj: Mapping[str, Any], type: str) -> Condition | None:
    """The condition of that type, if the object has it."""
    for entry in (obj.get("status") or {}).get("conditions") or ():
        if entry.get("type") == type:
            return Condition(
                type, entry.get("status", ""), entry.get("reason", ""), entry.get("message", "")
            )
    return None


def is_condition_true(obj: Mapping[str, Any], type: str) -> bool:
    found = condition(obj, type)
    return found is not None and found.status == "True"


def set_condition(
    status: MutableMapping[str, Any],
    type: str,
    value: bool | str,
    *,
    reason: str = "",
    message: str = "",
    now: dt.datetime,
    to_end: bool = False,
    stamp_update: bool = False,
) -> bool:
    """Sets a condition in a status; tells whether anything changed.

    ``lastTransitionTime`` moves only when the status value changes. ``to_end`` moves a changed
    condition to the end of the list and ``stamp_update`` keeps a ``lastUpdateTime``, as Katib and
    the training operator do.
    """
    wanted = value if isinstance(value, str) else str(value)
    conditions: list[Obj] = status.setdefault("conditions", [])
    current = next((c for c in conditions if c.get("type") == type), None)
    if current is not None and _same(current, wanted, reason, message):
        return False
    stamp = format_time(now)
    moved = current is None or current.get("status") != wanted
    fresh: Obj = {"type": type, "status": wanted, "reason": reason, "message": message}
    if stamp_update:
        fresh["lastUpdateTime"] = stamp
    fresh["lastTransitionTime"] = (
        stamp if moved or current is None else current.get("lastTransitionTime", stamp)
    )
    if current is None:
        conditions.append(fresh)
    elif to_end and moved:
        conditions.remove(current)
        conditions.append(fresh)
    else:
        conditions[conditions.index(current)] = fresh
    return True


def remove_condition(status: MutableMapping[str, Any], types: Iterable[str]) -> None:
    """Drops the conditions of the given types."""
    dropped = set(types)
    status["conditions"] = [
        c for c in status.get("conditions") or () if c.get("type") not in dropped
    ]


def _same(current: Mapping[str, Any], status: str, reason: str, message: str) -> bool:
    return (
        current.get("status") == status
        and current.get("reason", "") == reason
        and current.get("message", "") == message
    )
