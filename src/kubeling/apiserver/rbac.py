"""Role-based access control: roles and bindings, indexed as they are written.

Every request asks, so the answer comes from memory: bindings are filed by subject, rules are
compiled once per role. ``system:masters`` may do everything, as upstream.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

from kubeling.apiserver.records import Event
from kubeling.apiserver.storage import Store
from kubeling.apiserver.user import User
from kubeling.kube.errors import Forbidden
from kubeling.kube.objects import Obj

__all__ = ["RBAC", "Attributes", "Authorizer", "Decision", "Rbac", "Rule", "forbidden", "rules_of"]

RBAC: Final = "rbac.authorization.k8s.io"
MASTERS: Final = "system:masters"
_ACCOUNT: Final = "system:serviceaccount:"


@dataclass(frozen=True, slots=True)
class Attributes:
    """What a request wants to do; ``path`` is set for requests that are not about resources."""

    verb: str
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""
    version: str = ""

    @property
    def full_resource(self) -> str:
        return f"{self.resource}/{self.subresource}" if self.subresource else self.resource

    def __str__(self) -> str:
        if self.path:
            return f'{self.verb} path "{self.path}"'
        where = (
            f' in the namespace "{self.namespace}"' if self.namespace else " at the cluster scope"
        )
        return f'{self.verb} resource "{self.full_resource}" in API group "{self.group}"{where}'


class Decision(NamedTuple):
    """Whether something is allowed, and the binding that allows it."""

    allowed: bool
    reason: str = ""


class Authorizer(Protocol):
    """Decides whether a user may do something. Quick, and without I/O."""

    def allows(self, user: User, attributes: Attributes) -> bool: ...


def forbidden(user: User, wanted: Attributes) -> Forbidden:
    """The refusal, in upstream's words."""
    why = f'User "{user.name}" cannot {wanted}'
    if wanted.path:
        return Forbidden(f"forbidden: {why}")
    if not wanted.name:
        qualified = f"{wanted.resource}.{wanted.group}" if wanted.group else wanted.resource
        return Forbidden(
            f"{qualified} is forbidden: {why}",
            details={"group": wanted.group, "kind": wanted.resource},
        )
    return Forbidden.of(wanted.group, wanted.resource, wanted.name, why)


@dataclass(frozen=True, slots=True)
class Rule:
    """One compiled ``PolicyRule``."""

    verbs: frozenset[str]
    groups: frozenset[str] = frozenset()
    resources: frozenset[str] = frozenset()
    names: frozenset[str] = frozenset()
    paths: tuple[str, ...] = ()

    @classmethod
    def compile(cls, rule: Mapping[str, list[str]]) -> Rule:
        return cls(
            frozenset(rule.get("verbs") or ()),
            frozenset(rule.get("apiGroups") or ()),
            frozenset(rule.get("resources") or ()),
            frozenset(rule.get("resourceNames") or ()),
            tuple(rule.get("nonResourceURLs") or ()),
        )

    def allows(self, wanted: Attributes) -> bool:
        if not _any(self.verbs, wanted.verb):
            return False
        if wanted.path:
            return any(_path_matches(path, wanted.path) for path in self.paths)
        return (
            _any(self.groups, wanted.group)
            and self._has_resource(wanted)
            and (not self.names or wanted.name in self.names)
        )

    def covers(self, other: Rule) -> bool:
        """Whether holding this rule means holding all of ``other`` (a rule of one of each)."""
        wanted = Attributes(
            next(iter(other.verbs), ""),
            next(iter(other.groups), ""),
            *_split(next(iter(other.resources), "")),
            name=next(iter(other.names), ""),
            path=next(iter(other.paths), ""),
        )
        return self.allows(wanted) and (not self.names or bool(other.names))

    def parts(self) -> Iterator[Rule]:
        """The rule as rules of one verb, group, resource and name each."""
        for verb in self.verbs:
            for path in self.paths:
                yield Rule(frozenset([verb]), paths=(path,))
            for group in self.groups:
                for resource in self.resources:
                    for name in self.names or ("",):
                        names = frozenset([name]) if name else frozenset[str]()
                        yield Rule(
                            frozenset([verb]), frozenset([group]), frozenset([resource]), names
                        )

    def _has_resource(self, wanted: Attributes) -> bool:
        return (
            "*" in self.resources
            or wanted.full_resource in self.resources
            or (bool(wanted.subresource) and f"*/{wanted.subresource}" in self.resources)
        )


@dataclass(frozen=True, slots=True)
class _Grant:
    """A binding, from a subject's point of view; ``namespace`` is empty for cluster-wide ones."""

    binding: tuple[str, str]
    namespace: str
    role: tuple[str, str]

    def __str__(self) -> str:
        namespace, name = self.binding
        kind = "RoleBinding" if namespace else "ClusterRoleBinding"
        bound = f"{namespace}/{name}" if namespace else name
        role = "Role" if self.role[0] else "ClusterRole"
        return f'{kind} "{bound}" of {role} "{self.role[1]}"'


class Rbac:
    """The authorizer that reads roles and bindings from the store."""

    def __init__(self, store: Store) -> None:
        self._rules: dict[tuple[str, str], tuple[Rule, ...]] = {}
        self._sources: dict[tuple[str, str], list[Obj]] = {}
        self._grants: dict[str, list[_Grant]] = {}
        for plural in ("roles", "clusterroles"):
            store.subscribe(f"{RBAC}/{plural}", self._on_role)
        for plural in ("rolebindings", "clusterrolebindings"):
            store.subscribe(f"{RBAC}/{plural}", self._on_binding)

    def allows(self, user: User, attributes: Attributes) -> bool:
        if MASTERS in user.groups:
            return True
        return any(rule.allows(attributes) for rule in self.rules_for(user, attributes.namespace))

    def decide(self, user: User, attributes: Attributes) -> Decision:
        """As :meth:`allows`, with the reason in upstream's words."""
        if MASTERS in user.groups:
            return Decision(True)
        for subject, grant in self._grants_for(user, attributes.namespace):
            rules = self._rules.get(grant.role, ())
            if any(rule.allows(attributes) for rule in rules):
                return Decision(True, f"RBAC: allowed by {grant} to {_quoted(subject)}")
        return Decision(False)

    def rules_for(self, user: User, namespace: str) -> Iterator[Rule]:
        """The rules a user holds in a namespace; cluster-wide ones included."""
        for _, grant in self._grants_for(user, namespace):
            yield from self._rules.get(grant.role, ())

    def policy_rules_for(self, user: User, namespace: str) -> list[Obj]:
        """As :meth:`rules_for`, as written in the roles."""
        if MASTERS in user.groups:
            everything: Obj = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}
            return [everything, {"verbs": ["*"], "nonResourceURLs": ["*"]}]
        return [
            rule
            for _, grant in self._grants_for(user, namespace)
            for rule in self._sources.get(grant.role, ())
        ]

    def rules_of_role(self, namespace: str, kind: str, name: str) -> tuple[Rule, ...] | None:
        """The rules of a role by its ``roleRef``, or ``None`` if it does not exist."""
        return self._rules.get(("" if kind == "ClusterRole" else namespace, name))

    def lacking(self, user: User, namespace: str, rules: Iterable[Rule]) -> list[Rule]:
        """What of these rules the user may not do, one verb, group, resource and name each."""
        if MASTERS in user.groups:
            return []
        held = list(self.rules_for(user, namespace))
        return [
            part
            for rule in rules
            for part in rule.parts()
            if not any(rule.covers(part) for rule in held)
        ]

    def _grants_for(self, user: User, namespace: str) -> Iterator[tuple[str, _Grant]]:
        for subject in (f"User {user.name}", *(f"Group {group}" for group in user.groups)):
            for grant in self._grants.get(subject, ()):
                if grant.namespace in ("", namespace):
                    yield subject, grant

    def _on_role(self, event: Event) -> None:
        key = (event.record.key.namespace, event.record.key.name)
        if event.type == "DELETED":
            self._rules.pop(key, None)
            self._sources.pop(key, None)
        else:
            self._rules[key] = rules_of(event.record.obj)
            self._sources[key] = event.record.obj.get("rules") or []

    def _on_binding(self, event: Event) -> None:
        key = (event.record.key.namespace, event.record.key.name)
        if event.previous is not None:
            for subject in _subjects(event.previous.obj):
                kept = [g for g in self._grants.get(subject, ()) if g.binding != key]
                if kept:
                    self._grants[subject] = kept
                else:
                    self._grants.pop(subject, None)
        if event.type == "DELETED":
            return
        reference = event.record.obj.get("roleRef") or {}
        namespace = "" if reference.get("kind") == "ClusterRole" else key[0]
        grant = _Grant(key, key[0], (namespace, reference.get("name", "")))
        for subject in _subjects(event.record.obj):
            self._grants.setdefault(subject, []).append(grant)


def rules_of(role: Obj) -> tuple[Rule, ...]:
    """The compiled rules of a Role or ClusterRole."""
    return tuple(Rule.compile(rule) for rule in role.get("rules") or ())


def _subjects(binding: Obj) -> Iterator[str]:
    for subject in binding.get("subjects") or ():
        if subject.get("kind") == "ServiceAccount":
            namespace = subject.get("namespace") or binding["metadata"].get("namespace", "")
            yield f"User system:serviceaccount:{namespace}:{subject.get('name', '')}"
        else:
            yield f"{subject.get('kind')} {subject.get('name', '')}"


def _quoted(subject: str) -> str:
    """The subject of a grant as upstream shows it: an account as ``name/namespace``."""
    kind, _, name = subject.partition(" ")
    if name.startswith(_ACCOUNT) and name.count(":") == 3:
        _, _, namespace, account = name.split(":")
        return f'ServiceAccount "{account}/{namespace}"'
    return f'{kind} "{name}"'


def _any(allowed: frozenset[str], wanted: str) -> bool:
    return wanted in allowed or "*" in allowed


def _path_matches(pattern: str, path: str) -> bool:
    if pattern.endswith("*"):
        return path.startswith(pattern[:-1])
    return pattern == path


def _split(resource: str) -> tuple[str, str]:
    main, _, subresource = resource.partition("/")
    return main, subresource
