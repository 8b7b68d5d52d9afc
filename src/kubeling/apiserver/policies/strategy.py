"""How policies and bindings are written: checked by compiling every expression."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, Literal

from kubeling.apiserver.strategy import GenerationStrategy, Strategy
from kubeling.kube.errors import FieldError
from kubeling.kube.objects import Obj

__all__ = ["POLICY_STRATEGIES"]

Kind = Literal["mutating", "validating"]


class PolicyStrategy(GenerationStrategy):
    """A policy that cannot be compiled is refused; one that did not change stays accepted."""

    def __init__(self, kind: Kind) -> None:
        self._kind = kind

    def validate(self, new: Obj, old: Obj | None) -> Iterable[FieldError]:
        spec = new.get("spec") or {}
        if old is not None and spec == old["spec"]:
            return ()
        from kubeling.apiserver.policies.definition import (
            mutating_policy_errors,
            validating_policy_errors,
        )

        if self._kind == "mutating":
            return mutating_policy_errors(spec)
        return validating_policy_errors(spec)


class PolicyBindingStrategy(Strategy):
    """A binding may name a policy that does not exist yet."""

    def __init__(self, kind: Kind) -> None:
        self._kind = kind

    def validate(self, new: Obj, old: Obj | None) -> Iterable[FieldError]:
        from kubeling.apiserver.policies.definition import binding_errors

        return binding_errors(new.get("spec") or {}, acts=self._kind == "validating")


_GROUP: Final = "admissionregistration.k8s.io"
POLICY_STRATEGIES: Final[Mapping[str, Strategy]] = {
    f"{_GROUP}/mutatingadmissionpolicies": PolicyStrategy("mutating"),
    f"{_GROUP}/mutatingadmissionpolicybindings": PolicyBindingStrategy("mutating"),
    f"{_GROUP}/validatingadmissionpolicies": PolicyStrategy("validating"),
    f"{_GROUP}/validatingadmissionpolicybindings": PolicyBindingStrategy("validating"),
}
