"""Which webhooks a request is for. Rules depend on the kind of request only; selectors on objects.

The semantics are those of apiserver ``admission/plugin/webhook/predicates``: ``*`` as a resource
leaves subresources out, ``*/*`` takes them in, and a cluster's own objects pass any namespace
selector.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from kubeling.apiserver.served import Served
from kubeling.apiserver.webhooks.attributes import Attributes
from kubeling.apiserver.webhooks.configuration import Rule
from kubeling.kube.objects import Obj, labels
from kubeling.kube.selectors import LabelSelector

__all__ = ["Scoped", "matched_version", "selects"]


class Scoped(Protocol):
    """What says which requests it is for: a webhook, or a policy's constraints."""

    @property
    def rules(self) -> tuple[Rule, ...]: ...
    @property
    def equivalent(self) -> bool: ...
    @property
    def namespaces(self) -> LabelSelector: ...
    @property
    def objects(self) -> LabelSelector: ...


def matched_version(
    webhook: Scoped, served: Served, operation: str, subresource: str, versions: Iterable[Served]
) -> Served | None:
    """The version in which a webhook sees a request, if its rules are for it.

    ``versions`` are all the names under which the stored objects can be reached: with
    ``matchPolicy: Equivalent`` a rule for any of them will do.
    """
    if _any_rule(webhook.rules, served, operation, subresource):
        return served
    if webhook.equivalent:
        for other in versions:
            if other is not served and _any_rule(webhook.rules, other, operation, subresource):
                return other
    return None


def _any_rule(rules: Iterable[Rule], served: Served, operation: str, subresource: str) -> bool:
    return any(_matches(rule, served, operation, subresource) for rule in rules)


def _matches(rule: Rule, served: Served, operation: str, subresource: str) -> bool:
    resource = served.resource
    return (
        not rule.operations.isdisjoint((operation, "*"))
        and not rule.groups.isdisjoint((resource.group, "*"))
        and not rule.versions.isdisjoint((resource.version, "*"))
        and rule.scope in ("*", "Namespaced" if resource.namespaced else "Cluster")
        and any(
            plural in ("*", resource.plural) and part in ("*", subresource)
            for plural, part in rule.resources
        )
    )


def selects(
    webhook: Scoped, attributes: Attributes, namespace_labels: Callable[[str], dict[str, str]]
) -> bool:
    """Whether both selectors let the request through."""
    return _in_namespace(webhook.namespaces, attributes, namespace_labels) and _of_object(
        webhook.objects, attributes
    )


def _in_namespace(
    selector: LabelSelector,
    attributes: Attributes,
    namespace_labels: Callable[[str], dict[str, str]],
) -> bool:
    if not selector:
        return True
    if attributes.served.storage == "/namespaces":
        own = attributes.object if not attributes.subresource else None
        if own is not None:
            return selector.matches(labels(own))
    if not attributes.namespace:
        return True
    return selector.matches(namespace_labels(attributes.namespace))


def _of_object(selector: LabelSelector, attributes: Attributes) -> bool:
    if not selector:
        return True
    return any(_labelled(selector, obj) for obj in (attributes.object, attributes.old))


def _labelled(selector: LabelSelector, obj: Obj | None) -> bool:
    return obj is not None and "metadata" in obj and selector.matches(labels(obj))
