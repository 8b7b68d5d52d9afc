"""What is special about a kind when it is written: one small class per kind that differs.

The registry runs the same steps for every resource and asks the strategy at the points where
kinds differ. Strategies are stateless and do no I/O.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, Final

from kubeling.apiserver.deletion import Propagation
from kubeling.kube.errors import FieldError
from kubeling.kube.objects import Obj
from kubeling.kube.resources import Resource

__all__ = [
    "CREATED_BY_UPDATE",
    "VERSION_REQUIRED",
    "CustomStrategy",
    "GenerationStrategy",
    "Strategy",
]

CREATED_BY_UPDATE: Final = frozenset(
    {
        "/endpoints",
        "/events",
        "/limitranges",
        "/services",
        "coordination.k8s.io/leases",
        "node.k8s.io/runtimeclasses",
        "rbac.authorization.k8s.io/clusterrolebindings",
        "rbac.authorization.k8s.io/clusterroles",
        "rbac.authorization.k8s.io/rolebindings",
        "rbac.authorization.k8s.io/roles",
    }
)
"""Collections in which replacing what is not there creates it (``AllowCreateOnUpdate``)."""
VERSION_REQUIRED: Final = frozenset(
    {
        "admissionregistration.k8s.io/mutatingadmissionpolicies",
        "admissionregistration.k8s.io/mutatingadmissionpolicybindings",
        "admissionregistration.k8s.io/mutatingwebhookconfigurations",
        "admissionregistration.k8s.io/validatingadmissionpolicies",
        "admissionregistration.k8s.io/validatingadmissionpolicybindings",
        "admissionregistration.k8s.io/validatingwebhookconfigurations",
        "apiextensions.k8s.io/customresourcedefinitions",
        "coordination.k8s.io/leases",
        "node.k8s.io/runtimeclasses",
        "policy/poddisruptionbudgets",
        "storage.k8s.io/csidrivers",
        "storage.k8s.io/csinodes",
        "storage.k8s.io/csistoragecapacities",
        "storage.k8s.io/volumeattachments",
    }
)
"""Collections in which a replacement says what it replaces (``AllowUnconditionalUpdate``)."""


class Strategy:
    """The ordinary kind: no generation, deleted at once."""

    has_generation: ClassVar[bool] = False
    default_propagation: ClassVar[Propagation] = "Background"
    returns_deleted: ClassVar[bool] = False
    """Whether an immediate deletion answers with the object rather than a ``Status``."""
    parts: ClassVar[frozenset[str]] = frozenset()
    """Subresources that write a part of the object's spec."""

    def prepare_create(self, obj: Obj) -> None:
        """Sets what the server decides about a new object."""

    inherits: ClassVar[bool] = False
    """Whether :meth:`inherit` does anything: what it reads has to be of the kind's types."""

    def inherit(self, new: Obj, old: Obj) -> None:
        """Keeps what the server once gave out and a client may leave out."""

    def prepare_update(self, new: Obj, old: Obj) -> None:
        """Sets what the server decides about a changed object."""

    def validate(self, new: Obj, old: Obj | None) -> Iterable[FieldError]:
        """Rules that no schema states; ``old`` is what ``new`` replaces."""
        return ()

    def part(self, subresource: str, new: Obj, old: Obj) -> Obj | None:
        """What a write through a subresource of the kind's own comes to.

        Only the part that the subresource is for is taken from ``new``. ``None`` for subresources
        that are not parts of the object's spec.
        """
        return None

    def validate_part(self, subresource: str, new: Obj, old: Obj) -> Iterable[FieldError]:
        """Rules of such a write, which stand for those of the kind's ordinary updates."""
        return ()

    def changed_generation(self, new: Obj, old: Obj) -> bool:
        """Whether the change asks controllers to act."""
        return bool(new.get("spec") != old.get("spec"))

    def grace_period(self, obj: Obj, requested: int | None) -> int:
        """For how many seconds a deleted object stays for someone to finish it."""
        return 0

    def companions(self, obj: Obj) -> Iterable[tuple[Resource, Obj]]:
        """What comes into being together with a new object."""
        return ()


class CustomStrategy(Strategy):
    """Custom resources: the generation counts every change outside metadata and status."""

    has_generation = True

    def changed_generation(self, new: Obj, old: Obj) -> bool:
        ignored = ("metadata", "status")
        return any(
            new.get(key) != old.get(key) for key in new.keys() | old.keys() if key not in ignored
        )


class GenerationStrategy(Strategy):
    """A kind whose ``metadata.generation`` counts changes of its spec."""

    has_generation = True
