"""Admission: what a room wants to fill in and refuse when its objects are written.

A room states both as pure functions. The embedded API server calls them in process; on a cluster
the same functions answer mutating and validating webhooks. They see the object as the user sent
it, before the CRD's schema is applied to it, so defaults may supply what the schema requires.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from kubeling.kube.errors import FieldError
from kubeling.kube.objects import Obj
from kubeling.kube.resources import Resource

__all__ = [
    "Admission",
    "AdmissionRequest",
    "Default",
    "Find",
    "Keep",
    "ListAll",
    "Validate",
    "Warn",
]

Find = Callable[[Resource, str, str], Obj | None]
"""Reads another object by kind, name and namespace (empty for cluster-scoped kinds)."""

ListAll = Callable[[Resource, str], Iterable[Obj]]
"""Reads all objects of a kind in a namespace; without one, in all of them."""


@dataclass(frozen=True, slots=True)
class AdmissionRequest:
    """Who writes what, and how.

    ``old`` is what is to be changed. ``find`` and ``list`` read what is known without asking
    anybody; where they are ``None`` (a cluster's webhooks), rules about other objects are left to
    the controllers.
    """

    resource: Resource
    operation: Literal["CREATE", "UPDATE", "DELETE"]
    user: str = ""
    groups: tuple[str, ...] = ()
    dry_run: bool = False
    old: Obj | None = None
    find: Find | None = None
    list: ListAll | None = None


Default = Callable[[Obj, AdmissionRequest], None]
"""Fills in the object in place."""

Validate = Callable[[Obj, Obj | None, AdmissionRequest], Iterable[FieldError]]
"""Names what is wrong with ``new``; ``old`` is ``None`` on creation."""

Keep = Callable[[Obj, AdmissionRequest], str]
"""Why an object may not be deleted; empty where it may."""

Warn = Callable[[Obj, AdmissionRequest], Iterable[str]]
"""What the client is told besides the answer, about an object that is accepted."""


@dataclass(frozen=True, slots=True)
class Admission:
    """The admission of one resource. None of the functions may do I/O or keep state.

    ``apart`` is what clients are told that try to change the status beside the rest, where upstream
    has no subresource for it and would let them: here, as anywhere with one, it stays as it is.
    ``keep`` is asked where somebody deletes an object; a cluster's webhooks do not ask it.
    With ``labelled`` a cluster asks about objects with that label only; elsewhere it is up to the
    functions to pass over all others.
    """

    default: Default | None = None
    validate: Validate | None = None
    warn: Warn | None = None
    keep: Keep | None = None
    labelled: str = ""
    apart: str = ""
