"""From policies, pods and namespaces to what each pod is allowed. Pure.

The semantics are those of ``networking.k8s.io/v1`` NetworkPolicy: a pod is isolated in a direction
once any policy of its namespace selects it for that direction, and then has the connections that
at least one of them allows. A named port is that of the pod which is connected to.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from kubeling.engine.netpolicy.isolation import OPEN, Allow, Isolation, Ports
from kubeling.engine.netpolicy.members import Member
from kubeling.engine.netpolicy.spans import Spans, spans_of_block, united
from kubeling.kube import selectors
from kubeling.kube.objects import Obj, namespace
from kubeling.kube.selectors import LabelSelector

__all__ = ["isolations", "policy_selects"]

Rule = Mapping[str, Any]


def isolations(
    pods: Iterable[Member],
    others: Iterable[Member],
    policies: Iterable[Obj],
    namespaces: Mapping[str, Mapping[str, str]],
) -> dict[int, Isolation]:
    """What each of the ``pods`` is allowed, by address; all else is open.

    ``others`` can be peers, but are isolated by nobody. ``namespaces`` are labels by name.
    """
    known = list(pods)
    scope = _Scope([*known, *others], namespaces)
    compiled = [_Policy(policy, scope) for policy in policies]
    result = {}
    for pod in known:
        found = [policy for policy in compiled if policy.selects(pod)]
        if isolation := _isolation(pod, found):
            result[pod.address] = isolation
    return result


def policy_selects(policy: Obj, where: str, labels: Mapping[str, str]) -> bool:
    """Whether the policy is about a pod with these labels in that namespace."""
    selector = selectors.from_object(policy["spec"].get("podSelector") or {})
    return namespace(policy) == where and selector.matches(labels)


def _isolation(pod: Member, policies: Sequence[_Policy]) -> Isolation | None:
    ingress = [p.ingress(pod) for p in policies if "Ingress" in p.types]
    egress = [p.egress() for p in policies if "Egress" in p.types]
    found = Isolation(_together(ingress), _together(egress))
    return None if found == OPEN else found


def _together(allowed: Sequence[Iterable[Allow]]) -> tuple[Allow, ...] | None:
    if not allowed:
        return None
    return tuple(dict.fromkeys(allow for some in allowed for allow in some))


class _Scope:
    """All who can be peers, and the labels of their namespaces."""

    def __init__(
        self, members: Sequence[Member], namespaces: Mapping[str, Mapping[str, str]]
    ) -> None:
        self.members = members
        self._namespaces = namespaces

    def matching(self, peer: Rule, home: str) -> list[Member]:
        """Those whom a peer's selectors find, from a policy in the namespace ``home``."""
        pods = selectors.from_object(peer.get("podSelector") or {})
        chosen = self._chosen(peer.get("namespaceSelector"), home)
        return [m for m in self.members if m.namespace in chosen and pods.matches(m.labels)]

    def _chosen(self, selector: Obj | None, home: str) -> set[str]:
        if selector is None:
            return {home}
        found: LabelSelector = selectors.from_object(selector)
        names = {member.namespace for member in self.members}
        return {name for name in names if found.matches(self._namespaces.get(name, {}))}


class _Policy:
    """One policy; what does not depend on the selected pod is worked out once."""

    def __init__(self, policy: Obj, scope: _Scope) -> None:
        spec = policy["spec"]
        self._namespace = namespace(policy)
        self._selector = selectors.from_object(spec.get("podSelector") or {})
        self._scope = scope
        self.types: Sequence[str] = spec.get("policyTypes") or ()
        self._ingress: Sequence[Rule] = spec.get("ingress") or ()
        self._egress: Sequence[Rule] = spec.get("egress") or ()
        self._sources: list[Spans | None] | None = None
        self._outward: tuple[Allow, ...] | None = None

    def selects(self, pod: Member) -> bool:
        return pod.namespace == self._namespace and self._selector.matches(pod.labels)

    def ingress(self, pod: Member) -> Iterator[Allow]:
        """Named ports are the selected pod's own."""
        if self._sources is None:
            self._sources = [self._peers(rule.get("from")) for rule in self._ingress]
        for rule, sources in zip(self._ingress, self._sources, strict=True):
            ports = rule.get("ports")
            if not ports:
                yield Allow(sources)
            elif known := tuple(found for port in ports if (found := _ports(port, pod))):
                yield Allow(sources, known)

    def egress(self) -> tuple[Allow, ...]:
        """Named ports are each peer's own."""
        if self._outward is None:
            self._outward = tuple(a for rule in self._egress for a in self._outgoing(rule))
        return self._outward

    def _outgoing(self, rule: Rule) -> Iterator[Allow]:
        ports = rule.get("ports")
        if not ports:
            yield Allow(self._peers(rule.get("to")))
            return
        if fixed := tuple(found for port in ports if (found := _ports(port, None))):
            yield Allow(self._peers(rule.get("to")), fixed)
        for port in ports:
            if isinstance(port.get("port"), str):
                yield from self._by_name(rule, port)

    def _by_name(self, rule: Rule, port: Rule) -> Iterator[Allow]:
        offered: dict[Ports, list[Member]] = {}
        for member in self._pods_among(rule.get("to")):
            if found := _ports(port, member):
                offered.setdefault(found, []).append(member)
        for ports, members in offered.items():
            yield Allow(_addresses(members), (ports,))

    def _pods_among(self, peers: Sequence[Rule] | None) -> Sequence[Member]:
        if not peers:
            return self._scope.members
        return [
            member
            for peer in peers
            if "ipBlock" not in peer
            for member in self._scope.matching(peer, self._namespace)
        ]

    def _peers(self, peers: Sequence[Rule] | None) -> Spans | None:
        if not peers:
            return None
        return united(span for peer in peers for span in self._spans(peer))

    def _spans(self, peer: Rule) -> Spans:
        if block := peer.get("ipBlock"):
            return spans_of_block(block["cidr"], block.get("except") or ())
        return _addresses(self._scope.matching(peer, self._namespace))


def _addresses(members: Iterable[Member]) -> Spans:
    return united((member.address, member.address) for member in members)


def _ports(port: Rule, member: Member | None) -> Ports | None:
    """What one entry of ``ports`` stands for on that pod; nothing if it has no port so named."""
    protocol, wanted = port.get("protocol") or "TCP", port.get("port")
    if wanted is None:
        return Ports(protocol)
    if isinstance(wanted, str):
        number = member.ports.get((protocol, wanted)) if member else None
        return None if number is None else Ports(protocol, number, number)
    return Ports(protocol, int(wanted), int(port.get("endPort") or wanted))
