"""What is being done to which object, by whom: the subject of an admission review."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from kubeling.apiserver.deletion import DeleteOptions
from kubeling.apiserver.options import WriteOptions
from kubeling.apiserver.scale import scale_of
from kubeling.apiserver.served import Served
from kubeling.apiserver.user import ADMIN, User
from kubeling.kube.objects import Obj

__all__ = ["Attributes", "Operation", "of_deletion", "of_write"]

Operation = Literal["CREATE", "UPDATE", "DELETE", "CONNECT"]

_OPTIONS = "meta.k8s.io/v1"


@dataclass(frozen=True, slots=True)
class Attributes:
    """One request as admission sees it, in the version it was made in."""

    served: Served
    operation: Operation
    namespace: str
    name: str
    object: Obj | None
    old: Obj | None
    subresource: str = ""
    user: User = ADMIN
    dry_run: bool = False
    options: Obj | None = None
    warnings: list[str] = field(default_factory=list)
    """What the client is told besides the answer."""

    def with_object(self, obj: Obj) -> Attributes:
        """The same request with another object."""
        return replace(self, object=obj)

    def in_version(self, served: Served, obj: Obj | None, old: Obj | None) -> Attributes:
        """The same request as one of another version of the resource."""
        return replace(self, served=served, object=obj, old=old)


def of_write(served: Served, new: Obj, old: Obj | None, options: WriteOptions) -> Attributes:
    """A creation, or with ``old`` an update."""
    metadata = new["metadata"]
    scaled = options.subresource == "scale"
    return Attributes(
        served,
        "CREATE" if old is None else "UPDATE",
        _namespace(served, metadata.get("namespace", ""), metadata["name"] if old else ""),
        metadata.get("name", ""),
        scale_of(served, new) if scaled else new,
        scale_of(served, old) if scaled and old is not None else old,
        options.subresource,
        options.user,
        options.dry_run,
        _write_options("CreateOptions" if old is None else "UpdateOptions", options),
        options.warnings,
    )


def of_deletion(served: Served, old: Obj, options: DeleteOptions) -> Attributes:
    """A deletion of ``old``."""
    metadata = old["metadata"]
    name = metadata["name"]
    return Attributes(
        served,
        "DELETE",
        _namespace(served, metadata.get("namespace", ""), name),
        name,
        None,
        old,
        user=options.user or ADMIN,
        dry_run=options.dry_run,
        options=_delete_options(options),
        warnings=options.warnings,
    )


def _namespace(served: Served, namespace: str, name: str) -> str:
    """A namespace that exists counts as being in itself."""
    return name if served.storage == "/namespaces" else namespace


def _write_options(kind: str, options: WriteOptions) -> Obj:
    shown: Obj = {"kind": kind, "apiVersion": _OPTIONS}
    if options.dry_run:
        shown["dryRun"] = ["All"]
    if options.field_manager:
        shown["fieldManager"] = options.field_manager
    return {**shown, "fieldValidation": options.field_validation}


def _delete_options(options: DeleteOptions) -> Obj:
    shown: Obj = {"kind": "DeleteOptions", "apiVersion": _OPTIONS}
    if options.grace_period_seconds is not None:
        shown["gracePeriodSeconds"] = options.grace_period_seconds
    wanted = {"uid": options.uid, "resourceVersion": options.resource_version}
    if preconditions := {key: value for key, value in wanted.items() if value}:
        shown["preconditions"] = preconditions
    if options.propagation:
        shown["propagationPolicy"] = options.propagation
    if options.dry_run:
        shown["dryRun"] = ["All"]
    return shown
