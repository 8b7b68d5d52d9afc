"""Who makes a request, as authentication found and authorisation reads."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from kubeling.kube.objects import Obj

__all__ = ["ADMIN", "ANONYMOUS", "AUTHENTICATED", "UNAUTHENTICATED", "User", "account_groups"]

AUTHENTICATED: Final = "system:authenticated"
UNAUTHENTICATED: Final = "system:unauthenticated"


@dataclass(frozen=True, slots=True)
class User:
    """A person or a service account."""

    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: dict[str, tuple[str, ...]] = field(default_factory=dict, hash=False)

    def to_object(self) -> Obj:
        """As ``authentication.k8s.io/v1`` ``UserInfo``."""
        info: Obj = {"username": self.name}
        if self.uid:
            info["uid"] = self.uid
        if self.groups:
            info["groups"] = list(self.groups)
        if self.extra:
            info["extra"] = {key: list(values) for key, values in self.extra.items()}
        return info


def account_groups(namespace: str) -> tuple[str, str]:
    """The groups of every service account of a namespace."""
    return "system:serviceaccounts", f"system:serviceaccounts:{namespace}"


ADMIN: Final = User("system:admin", ("system:masters", AUTHENTICATED))
ANONYMOUS: Final = User("system:anonymous", (UNAUTHENTICATED,))
