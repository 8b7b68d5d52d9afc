"""The policies of one kind and their bindings, followed as they are written.

As long as no binding names a policy, a request costs one look at an empty table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, Generic, TypeVar

from kubeling.apiserver.catalog import Catalog
from kubeling.apiserver.policies.matching import Constraints
from kubeling.apiserver.policies.params import collect_params
from kubeling.apiserver.rbac import Authorizer
from kubeling.apiserver.records import Event, StoreKey
from kubeling.apiserver.served import Served
from kubeling.apiserver.storage import Store
from kubeling.apiserver.webhooks.attributes import Attributes
from kubeling.kube.objects import Obj, labels

__all__ = ["GROUP", "Applied", "Binding", "Policy", "PolicyIndex"]

GROUP: Final = "admissionregistration.k8s.io"
T = TypeVar("T")


class Policy(Generic[T]):
    """A policy, compiled when it first applies."""

    def __init__(self, name: str, spec: Obj, compile_: Callable[[Obj], T]) -> None:
        self.name = name
        self.spec = spec
        self.constraints = Constraints(spec.get("matchConstraints") or {})
        self._compile = compile_

    @property
    def fails_closed(self) -> bool:
        """Whether a request is refused where the policy cannot be evaluated."""
        return bool(self.spec.get("failurePolicy", "Fail") != "Ignore")

    @cached_property
    def compiled(self) -> T:
        """The policy, ready to be evaluated."""
        return self._compile(self.spec)


@dataclass(frozen=True, slots=True)
class Binding:
    """Where a policy holds."""

    name: str
    spec: Obj
    constraints: Constraints

    def acts(self, action: str) -> bool:
        """Whether a failed validation has this consequence."""
        return action in (self.spec.get("validationActions") or ())


@dataclass(frozen=True, slots=True)
class Applied(Generic[T]):
    """A policy that a binding brings to bear on a request."""

    policy: Policy[T]
    binding: Binding
    matched: Served
    """The version of the resource that the policy's rules name."""


class PolicyIndex(Generic[T]):
    """``plural`` names the policies; their bindings are called after them."""

    def __init__(
        self,
        store: Store,
        catalog: Catalog,
        authorizer: Authorizer,
        plural: tuple[str, str],
        compile_: Callable[[Obj], T],
    ) -> None:
        self._store = store
        self._catalog = catalog
        self._authorizer = authorizer
        self._compile = compile_
        self._policies: dict[str, Policy[T]] = {}
        self._bindings: dict[str, dict[str, Binding]] = {}
        policies, bindings = plural
        store.subscribe(f"{GROUP}/{policies}", self._on_policy)
        store.subscribe(f"{GROUP}/{bindings}", self._on_binding)

    def _on_policy(self, event: Event) -> None:
        name = event.record.key.name
        if event.type == "DELETED":
            self._policies.pop(name, None)
        else:
            self._policies[name] = Policy(name, event.record.obj["spec"], self._compile)

    def _on_binding(self, event: Event) -> None:
        name = event.record.key.name
        if event.previous is not None:
            del self._bindings[event.previous.obj["spec"]["policyName"]][name]
        if event.type != "DELETED":
            spec = event.record.obj["spec"]
            binding = Binding(name, spec, Constraints(spec.get("matchResources") or {}))
            self._bindings.setdefault(spec["policyName"], {})[name] = binding
        self._bindings = {policy: bound for policy, bound in self._bindings.items() if bound}

    def covers(self, served: Served) -> bool:
        """Whether any policy could be about this resource; those about policies never are."""
        return bool(self._bindings) and served.resource.group != GROUP

    def applied(self, attributes: Attributes) -> Iterator[Applied[T]]:
        """The policies that apply, by name, each once for every binding."""
        for name, bindings in sorted(self._bindings.items()):
            policy = self._policies.get(name)
            if policy is None or (matched := self._matched(policy.constraints, attributes)) is None:
                continue
            for _, binding in sorted(bindings.items()):
                if self._matched(binding.constraints, attributes) is not None:
                    yield Applied(policy, binding, matched)

    def _matched(self, constraints: Constraints, attributes: Attributes) -> Served | None:
        storage = attributes.served.storage
        versions = (served for served in self._catalog if served.storage == storage)
        return constraints.matched(
            attributes, versions, lambda name: labels(self._namespace(name) or {})
        )

    def values(self, applied: Applied[T], attributes: Attributes) -> list[Mapping[str, Any]]:
        """The variables of each evaluation that the binding's parameters ask for.

        Raises ``ParamsError`` where it asks for parameters that cannot be had.
        """
        from kubeling.apiserver.policies.variables import request_variables

        namespace = "" if attributes.served.storage == "/namespaces" else attributes.namespace
        every = collect_params(
            self._store,
            self._catalog,
            applied.policy.spec.get("paramKind"),
            applied.binding.spec.get("paramRef"),
            namespace,
        )
        values = request_variables(
            attributes, applied.matched, self._namespace(namespace), self._authorizer
        )
        return [{**values, "params": params} for params in every]

    def _namespace(self, name: str) -> Obj | None:
        record = self._store.get(StoreKey("/namespaces", "", name)) if name else None
        return record.obj if record else None
