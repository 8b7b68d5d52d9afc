"""What a DELETE does to an object: a pure function of the object and the options.

Nothing is removed while finalizers hold it or its grace period runs; it is marked instead, and
whoever holds it (the node agent, a controller, the garbage collector) finishes the work. The
propagation policy travels as a finalizer that the garbage collector takes off.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, Literal, cast

from kubeling.apiserver.decoding import typed
from kubeling.apiserver.options import dry_run_errors, refuse, truthy
from kubeling.apiserver.query import Query
from kubeling.apiserver.user import User
from kubeling.kube.errors import BadRequest, Conflict, FieldError
from kubeling.kube.objects import Obj, format_time, name, uid
from kubeling.kube.resources import Resource

__all__ = ["FOREGROUND", "ORPHAN", "DeleteOptions", "Propagation", "mark", "removable"]

FOREGROUND: Final = "foregroundDeletion"
ORPHAN: Final = "orphan"

Propagation = Literal["Background", "Foreground", "Orphan"]
_DEFINITION: Final = "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions"
_POLICIES: Final = ("Background", "Foreground", "Orphan")


@dataclass(frozen=True, slots=True)
class DeleteOptions:
    """The options of one DELETE, from its body or its query."""

    grace_period_seconds: int | None = None
    propagation: Propagation | None = None
    uid: str = ""
    resource_version: str = ""
    dry_run: bool = False
    user: User | None = None
    """Who asks; nobody where the server tidies up, which is its own business."""
    warnings: list[str] = field(default_factory=list)
    """What the client is told besides the answer."""

    @classmethod
    def parse(cls, body: Any, query: Query, user: User | None = None) -> DeleteOptions:
        """Reads a ``DeleteOptions`` object, else the query parameters of the same names."""
        given = _from_query(query) if body is None else typed(_named(body), _DEFINITION)
        policy, orphan = given.get("propagationPolicy"), given.get("orphanDependents")
        refuse("DeleteOptions", _errors(given))
        if policy is None and orphan is not None:
            policy = "Orphan" if orphan else "Background"
        grace = given.get("gracePeriodSeconds")
        preconditions = given.get("preconditions") or {}
        return cls(
            None if grace is None else max(grace, 0),
            cast("Propagation | None", policy),
            preconditions.get("uid") or "",
            preconditions.get("resourceVersion") or "",
            bool(given.get("dryRun")),
            user,
        )

    def check(self, resource: Resource, obj: Obj) -> None:
        """Raises :class:`Conflict` where the preconditions do not hold."""
        found_uid, found_version = uid(obj), obj["metadata"].get("resourceVersion", "")
        for label, wanted, found in (
            ("UID", self.uid, found_uid),
            ("ResourceVersion", self.resource_version, found_version),
        ):
            if wanted and wanted != found:
                why = (
                    f"Precondition failed: {label} in precondition: {wanted}, "
                    f"{label} in object meta: {found}"
                )
                raise Conflict.of(resource.group, resource.plural, name(obj), why)


def mark(obj: Obj, propagation: Propagation, grace: int, now: dt.datetime) -> Obj:
    """The object with its deletion requested; ``obj`` is left alone.

    A second request may shorten the grace period and change the policy, never lengthen it.
    """
    metadata = dict(obj["metadata"])
    finalizers = _finalizers(metadata.get("finalizers") or (), propagation)
    if finalizers:
        metadata["finalizers"] = finalizers
    else:
        metadata.pop("finalizers", None)
    current = metadata.get("deletionGracePeriodSeconds")
    if "deletionTimestamp" not in metadata or current is None or grace < current:
        if "deletionTimestamp" not in metadata and metadata.get("generation"):
            metadata["generation"] += 1
        metadata["deletionTimestamp"] = format_time(now + dt.timedelta(seconds=grace))
        metadata["deletionGracePeriodSeconds"] = grace
    return {**obj, "metadata": metadata}


def removable(obj: Obj) -> bool:
    """Whether nothing holds an object whose deletion was requested."""
    metadata = obj["metadata"]
    held = (
        metadata.get("finalizers")
        or metadata.get("deletionGracePeriodSeconds")
        or (obj["kind"] == "Namespace" and obj.get("spec", {}).get("finalizers"))
    )
    return "deletionTimestamp" in metadata and not held


def _finalizers(current: Any, propagation: Propagation) -> list[str]:
    kept = [entry for entry in current if entry not in (FOREGROUND, ORPHAN)]
    match propagation:
        case "Foreground":
            return [*kept, FOREGROUND]
        case "Orphan":
            return [*kept, ORPHAN]
        case _:
            return kept


def _named(body: Any) -> Any:
    """The body, if it says it is what is expected here; its group does not matter."""
    kind = body.get("kind") if isinstance(body, dict) else None
    if kind not in (None, "", "DeleteOptions"):
        raise BadRequest("decoded object cannot be converted to DeleteOptions")
    return body


def _from_query(query: Query) -> Obj:
    given: Obj = {}
    if policy := query.get("propagationPolicy"):
        given["propagationPolicy"] = policy
    if "orphanDependents" in query:
        given["orphanDependents"] = truthy(query, "orphanDependents")
    if grace := query.get("gracePeriodSeconds"):
        given["gracePeriodSeconds"] = _seconds(grace)
    if dry_run := query.all("dryRun"):
        given["dryRun"] = dry_run
    return given


def _errors(given: Obj) -> Iterator[FieldError]:
    path, policy = "propagationPolicy", given.get("propagationPolicy")
    if policy is not None and given.get("orphanDependents") is not None:
        message = "orphanDependents and deletionPropagation cannot be both set"
        yield FieldError(path, "Invalid value", message, policy)
    if policy is not None and policy not in _POLICIES:
        message = 'supported values: "Foreground", "Background", "Orphan", "nil"'
        yield FieldError(path, "Unsupported value", message, policy)
    yield from dry_run_errors(given.get("dryRun") or ())


def _seconds(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise BadRequest(
            f'gracePeriodSeconds: strconv.ParseInt: parsing "{text}": invalid syntax'
        ) from None
