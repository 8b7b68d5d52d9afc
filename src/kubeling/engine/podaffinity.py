"""Which pods want to be, or not to be, where other pods are; judged on one node. Pure.

As upstream's ``interpodaffinity`` and ``podtopologyspread``: a domain is the node's value of a
label, so on one node all pods are in the same domain or, where the label is missing, in none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from kubeling.engine.podspec import spec
from kubeling.kube import selectors
from kubeling.kube.objects import Obj, labels, namespace

__all__ = ["NamespaceLabels", "affinity_refusal", "repels", "spread_refusal"]

NamespaceLabels = Callable[[str], Mapping[str, str]]
"""The labels of a namespace, by name."""

_AFFINITY: Final = "node(s) didn't match pod affinity rules"
_ANTI_AFFINITY: Final = "node(s) didn't match pod anti-affinity rules"
_EXISTING: Final = "node(s) didn't satisfy existing pods anti-affinity rules"
_SPREAD: Final = "node(s) didn't match pod topology spread constraints"


def repels(pod: Obj) -> bool:
    """Whether the pod keeps others away from where it is."""
    return bool(_terms(pod, "podAntiAffinity"))


def affinity_refusal(
    pod: Obj,
    node: Obj,
    others: Sequence[Obj],
    repelling: Iterable[Obj],
    namespaces: NamespaceLabels,
) -> tuple[str, bool]:
    """Why the pods on the node and this one do not go together, and whether fewer might.

    ``repelling`` are those of the others that keep pods away.
    """
    wanted, unwanted = _terms(pod, "podAffinity"), _terms(pod, "podAntiAffinity")
    domains = labels(node)
    if any(term["topologyKey"] not in domains for term in wanted):
        return _AFFINITY, False
    if wanted and not _joins(pod, wanted, others, namespaces):
        return _AFFINITY, False
    for term in unwanted:
        if term["topologyKey"] in domains and _any(term, pod, others, namespaces):
            return _ANTI_AFFINITY, True
    for other in repelling:
        for term in _terms(other, "podAntiAffinity"):
            if term["topologyKey"] in domains and _any(term, other, (pod,), namespaces):
                return _EXISTING, True
    return "", True


def spread_refusal(pod: Obj, node: Obj, others: Iterable[Obj]) -> tuple[str, bool]:
    """Why the pod would be spread too unevenly, and whether fewer pods would help."""
    for constraint in spec(pod).get("topologySpreadConstraints") or ():
        if constraint.get("whenUnsatisfiable", "DoNotSchedule") != "DoNotSchedule":
            continue
        if constraint["topologyKey"] not in labels(node):
            return f"{_SPREAD} (missing required label)", False
        selector = _spread_selector(constraint, pod)
        here = sum(
            namespace(other) == namespace(pod)
            and selector.matches(labels(other))
            and "deletionTimestamp" not in other["metadata"]
            for other in others
        )
        # The only domain is the emptiest too, unless there should be more of them.
        least = 0 if int(constraint.get("minDomains") or 1) > 1 else here
        if here + selector.matches(labels(pod)) - least > int(constraint["maxSkew"]):
            return _SPREAD, True
    return "", True


def _terms(pod: Obj, kind: str) -> list[Any]:
    found = (spec(pod).get("affinity") or {}).get(kind) or {}
    terms: list[Any] = found.get("requiredDuringSchedulingIgnoredDuringExecution") or []
    return terms


def _joins(
    pod: Obj, terms: Sequence[Any], others: Sequence[Obj], namespaces: NamespaceLabels
) -> bool:
    """Whether the pod meets those it wants to be with; the first of them may be itself."""
    if all(_any(term, pod, others, namespaces) for term in terms):
        return True
    nobody = not any(
        all(_matches(term, pod, other, namespaces) for term in terms) for other in others
    )
    return nobody and all(_matches(term, pod, pod, namespaces) for term in terms)


def _any(term: Any, owner: Obj, others: Iterable[Obj], namespaces: NamespaceLabels) -> bool:
    return any(_matches(term, owner, other, namespaces) for other in others)


def _matches(term: Any, owner: Obj, other: Obj, namespaces: NamespaceLabels) -> bool:
    """Whether a term of ``owner``'s finds another pod."""
    selector = _with_keys(term, owner)
    if selector is None or not selectors.from_object(selector).matches(labels(other)):
        return False
    listed, by_label = term.get("namespaces") or [], term.get("namespaceSelector")
    if by_label is None:
        return namespace(other) in (listed or [namespace(owner)])
    if namespace(other) in listed:
        return True
    return selectors.from_object(by_label).matches(namespaces(namespace(other)))


def _with_keys(term: Any, owner: Obj) -> Obj | None:
    """The term's selector, with those of the owner's labels that ``matchLabelKeys`` name."""
    given: Obj | None = term.get("labelSelector")
    if given is None:
        return None
    carried = labels(owner)
    more = [
        {"key": key, "operator": operator, "values": [carried[key]]}
        for field, operator in (("matchLabelKeys", "In"), ("mismatchLabelKeys", "NotIn"))
        for key in term.get(field) or ()
        if key in carried
    ]
    return {**given, "matchExpressions": [*(given.get("matchExpressions") or ()), *more]}


def _spread_selector(constraint: Any, pod: Obj) -> selectors.LabelSelector:
    return selectors.from_object(_with_keys(constraint, pod))
