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

__all__ = ["Admission", "AdmissionRequest", "Default", "Validate"]


@dataclass(frozen=True, slots=True)
class AdmissionRequest:
    """Who writes what, and how."""

    resource: Resource
    operation: Literal["CREATE", "UPDATE"]
    user: str = ""
    groups: tuple[str, ...] = ()
    dry_run: bool = False


Default = Callable[[Obj, AdmissionRequest], None]
"""Fills in the object in place."""

Validate = Callable[[Obj, Obj | None, AdmissionRequest], Iterable[FieldError]]
"""Names what is wrong with ``new``; ``old`` is ``None`` on creation."""


@dataclass(frozen=True, slots=True)
class Admission:
    """The admission of one resource. Neither function may do I/O or keep state."""

    default: Default | None = None
    validate: Validate | None = None
