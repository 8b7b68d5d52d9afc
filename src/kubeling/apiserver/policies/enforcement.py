"""What follows from the policies that apply to a request."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import msgspec

from kubeling.apiserver.audit.annotations import annotate
from kubeling.apiserver.catalog import Catalog
from kubeling.apiserver.policies.index import Applied, Binding, PolicyIndex
from kubeling.apiserver.policies.params import ParamsError
from kubeling.apiserver.rbac import Authorizer
from kubeling.apiserver.served import Served
from kubeling.apiserver.storage import Store
from kubeling.apiserver.webhooks.attributes import Attributes
from kubeling.kube.errors import ApiError, Forbidden, error_from_status
from kubeling.kube.objects import Obj

if TYPE_CHECKING:
    from kubeling.apiserver.policies.mutating import MutatingPolicy
    from kubeling.apiserver.policies.validating import Denial, ValidatingPolicy, Verdict

__all__ = ["Policies"]

_VALIDATING: Final = ("validatingadmissionpolicies", "validatingadmissionpolicybindings")
_MUTATING: Final = ("mutatingadmissionpolicies", "mutatingadmissionpolicybindings")
_FAILURE: Final = "validation.policy.admission.k8s.io/validation_failure"
_CODES: Final = {
    "Unauthorized": 401,
    "Forbidden": 403,
    "Invalid": 422,
    "RequestEntityTooLarge": 413,
}

Settle = Callable[[Obj], None]
"""Brings an object that a policy changed into its kind's shape."""


def _validating(spec: Obj) -> ValidatingPolicy:
    from kubeling.apiserver.policies.validating import ValidatingPolicy

    return ValidatingPolicy(spec)


def _mutating(spec: Obj) -> MutatingPolicy:
    from kubeling.apiserver.policies.mutating import MutatingPolicy

    return MutatingPolicy(spec)


class Policies:
    """The users' policies of one server."""

    def __init__(self, store: Store, catalog: Catalog, authorizer: Authorizer) -> None:
        self._validating = PolicyIndex(store, catalog, authorizer, _VALIDATING, _validating)
        self._mutating = PolicyIndex(store, catalog, authorizer, _MUTATING, _mutating)

    # Validating

    def validates(self, served: Served) -> bool:
        """Whether there may be anything to :meth:`check`."""
        return self._validating.covers(served)

    def check(self, attributes: Attributes) -> None:
        """Raises where a policy denies; what it warns of or notes is added to the request."""
        refused: list[ApiError] = []
        noted: dict[str, list[str]] = {}
        for applied in self._validating.applied(attributes):
            policy, binding = applied.policy.name, applied.binding
            verdict = self._verdict(applied, attributes)
            for key, value in verdict.annotations:
                values = noted.setdefault(f"{policy}/{key}", [])
                values += [value] * (value not in values)
            refused += [_denied(attributes, policy, binding, each) for each in verdict.failures]
            for denial in verdict.denials:
                if binding.acts("Deny"):
                    refused.append(_denied(attributes, policy, binding, denial))
                if binding.acts("Audit"):
                    _record(policy, binding, denial)
                if binding.acts("Warn"):
                    attributes.warnings.append(
                        f"Validation failed for ValidatingAdmissionPolicy '{policy}' with "
                        f"binding '{binding.name}': {denial.message}"
                    )
        for key, values in noted.items():
            annotate(key, ", ".join(values))
        if refused:
            raise refused[0]

    def _verdict(self, applied: Applied[ValidatingPolicy], attributes: Attributes) -> Verdict:
        """What a policy says for all the parameters that its binding brings."""
        from kubeling.apiserver.policies.validating import Denial, Verdict

        verdict = Verdict()
        try:
            every = self._validating.values(applied, attributes)
        except ParamsError as error:
            if applied.policy.fails_closed:
                verdict.denials.append(Denial(f"failed to configure binding: {error}"))
            return verdict
        for values in every:
            one = applied.policy.compiled.decide(values)
            verdict.denials += one.denials
            verdict.annotations += one.annotations
            verdict.failures += one.failures
        return verdict

    # Mutating

    def mutates(self, served: Served) -> bool:
        """Whether there may be anything to :meth:`mutate`."""
        return self._mutating.covers(served)

    def mutate(self, attributes: Attributes, settle: Settle) -> Attributes:
        """The request with the object as the policies want it; raises where one cannot tell.

        As with webhooks, a policy that asks for it is evaluated once more where another changed
        the object after it.
        """
        if attributes.object is None:
            return attributes
        earlier: list[Applied[MutatingPolicy]] = []
        again: list[Applied[MutatingPolicy]] = []
        for applied in self._mutating.applied(attributes):
            changed = self._mutated(applied, attributes, settle)
            if changed is not attributes:
                attributes, again, earlier = changed, [*again, *earlier], []
            if applied.policy.spec.get("reinvocationPolicy") == "IfNeeded":
                earlier.append(applied)
        for applied in again:
            attributes = self._mutated(applied, attributes, settle)
        return attributes

    def _mutated(
        self, applied: Applied[MutatingPolicy], attributes: Attributes, settle: Settle
    ) -> Attributes:
        from kubeling.apiserver.policies.mutating import MutationError

        try:
            for index, values in enumerate(self._mutating.values(applied, attributes)):
                if index:
                    values = {**values, "object": attributes.object}
                changed = applied.policy.compiled.change(values, applied.matched)
                if changed is not None and changed != attributes.object:
                    settle(changed)
                    attributes = attributes.with_object(changed)
        except (ParamsError, MutationError) as error:
            if applied.policy.fails_closed:
                message = (
                    f"policy '{applied.policy.name}' with binding '{applied.binding.name}' denied "
                    f"request: {error}"
                )
                raise _refusal(attributes, message, "Invalid") from None
        return attributes


def _record(policy: str, binding: Binding, denial: Denial) -> None:
    """Tells the audit log of a failed validation, in upstream's form."""
    failure = {
        "message": denial.message,
        "policy": policy,
        "binding": binding.name,
        "expressionIndex": denial.index,
        "validationActions": binding.spec.get("validationActions") or [],
    }
    annotate(_FAILURE, msgspec.json.encode([failure]).decode())


def _denied(attributes: Attributes, policy: str, binding: Binding, denial: Denial) -> ApiError:
    message = (
        f"ValidatingAdmissionPolicy '{policy}' with binding '{binding.name}' denied request: "
        f"{denial.message}"
    )
    return _refusal(attributes, message, denial.reason)


def _refusal(attributes: Attributes, message: str, reason: str) -> ApiError:
    """The refusal in upstream's words: forbidden in the message, typed by the reason."""
    resource = attributes.served.resource
    status = Forbidden.of(resource.group, resource.plural, attributes.name, message).status
    status["reason"] = reason
    status["code"] = _CODES.get(reason, 422)
    status["details"] = {**status["details"], "causes": [{"message": message}]}
    return error_from_status(status)
