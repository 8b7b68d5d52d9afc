"""Who may ask for, approve and sign certificates, and what each of them may change.

Upstream: the admission plugins ``CertificateApproval``, ``CertificateSigning`` and
``CertificateSubjectRestriction``, and the validation of the subresources.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from typing import Final

from kubeling.apiserver.certificates.request import CSR, conditions, groups_of, parse
from kubeling.apiserver.options import WriteOptions
from kubeling.apiserver.rbac import Attributes, Authorizer
from kubeling.apiserver.served import Served
from kubeling.apiserver.user import User
from kubeling.kube.clock import Clock
from kubeling.kube.errors import FieldError, Forbidden, Invalid
from kubeling.kube.objects import Obj, format_time

__all__ = ["CertificateCheck", "complete_request"]

_GROUP, _PLURAL = CSR.split("/")
_CLIENT: Final = "kubernetes.io/kube-apiserver-client"
_APPROVALS: Final = ("Approved", "Denied")
_FINAL: Final = (*_APPROVALS, "Failed")
_CONDITIONS: Final = "status.conditions"


def complete_request(obj: Obj, user: User) -> None:
    """Notes in a new request who makes it, whatever it says."""
    spec = obj.get("spec")
    if not isinstance(spec, dict):
        return
    for field in ("username", "uid", "groups", "extra"):
        spec.pop(field, None)
    spec.update(user.to_object())


class CertificateCheck:
    """Refuses what users may not do to certificate requests; completes conditions."""

    storages: Final = (CSR,)

    def __init__(self, authorizer: Authorizer, clock: Clock) -> None:
        self._authorizer = authorizer
        self._clock = clock

    def __call__(self, served: Served, new: Obj, old: Obj | None, options: WriteOptions) -> None:
        if old is None:
            self._check_subject(new)
        elif options.subresource in ("approval", "status"):
            name = new["metadata"]["name"]
            self._complete(new, old)
            if errors := list(_errors(new, old, options.subresource)):
                raise Invalid.of(_GROUP, served.resource.kind, name, errors)
            self._check_right(old, new, options)

    def _check_subject(self, request: Obj) -> None:
        spec = request["spec"]
        if spec["signerName"] == _CLIENT and "system:masters" in groups_of(parse(spec)):
            why = f"use of {_CLIENT} signer with system:masters group is not allowed"
            raise Forbidden.of(_GROUP, _PLURAL, request["metadata"]["name"], why)

    def _check_right(self, old: Obj, new: Obj, options: WriteOptions) -> None:
        verb = "approve" if options.subresource == "approval" else "sign"
        if verb == "sign" and all(
            (new.get("status") or {}).get(field) == (old.get("status") or {}).get(field)
            for field in ("certificate", "conditions")
        ):
            return
        signer = old["spec"]["signerName"]
        domain = signer.partition("/")[0]
        if not any(
            self._authorizer.allows(options.user, Attributes(verb, _GROUP, "signers", name=name))
            for name in (signer, f"{domain}/*")
        ):
            why = f'user not permitted to {verb} requests with signerName "{signer}"'
            raise Forbidden.of(_GROUP, _PLURAL, old["metadata"]["name"], why)

    def _complete(self, new: Obj, old: Obj) -> None:
        """Gives conditions the times that their writer left out."""
        now = format_time(self._clock.now())
        for condition in (new.get("status") or {}).get("conditions") or ():
            if not condition.get("lastUpdateTime"):
                condition["lastUpdateTime"] = now
            if not condition.get("lastTransitionTime"):
                same = [
                    before.get("lastTransitionTime")
                    for before in conditions(old, condition.get("type", ""))
                    if before.get("status") == condition.get("status")
                ]
                condition["lastTransitionTime"] = next(filter(None, same), now)


def _errors(new: Obj, old: Obj, subresource: str) -> Iterator[FieldError]:
    status, before = new.get("status") or {}, old.get("status") or {}
    yield from _condition_errors(status.get("conditions") or ())
    for kind in _FINAL:
        if len(conditions(new, kind)) < len(conditions(old, kind)):
            message = f'updates may not remove a condition of type "{kind}"'
            yield FieldError(_CONDITIONS, "Forbidden", message)
    if subresource == "status":
        for kind in _APPROVALS:
            if len(conditions(new, kind)) > len(conditions(old, kind)):
                message = f'updates may not add a condition of type "{kind}"'
                yield FieldError(_CONDITIONS, "Forbidden", message)
    if status.get("certificate") != before.get("certificate"):
        yield from _certificate_errors(status.get("certificate"), before.get("certificate"))


def _condition_errors(listed: Sequence[Obj]) -> Iterator[FieldError]:
    kinds = [condition.get("type") or "" for condition in listed]
    for index, condition in enumerate(listed):
        path, kind = f"{_CONDITIONS}[{index}]", kinds[index]
        value = condition.get("status") or ""
        if not kind:
            yield FieldError(f"{path}.type", "Required value", "")
        allowed = ("True",) if kind in _FINAL else ("False", "True", "Unknown")
        if not value:
            yield FieldError(f"{path}.status", "Required value", "")
        elif value not in allowed:
            supported = ", ".join(f'"{one}"' for one in allowed)
            message = f"supported values: {supported}"
            yield FieldError(f"{path}.status", "Unsupported value", message, value)
        if kind in kinds[:index]:
            yield FieldError(f"{path}.type", "Duplicate value", "", kind)
    if set(_APPROVALS) <= set(kinds):
        message = "Approved and Denied conditions are mutually exclusive"
        yield FieldError(_CONDITIONS, "Invalid value", message, kinds[-1])


def _certificate_errors(new: str | None, old: str | None) -> Iterator[FieldError]:
    from cryptography import x509

    path = "status.certificate"
    if old:
        message = "updates may not modify existing certificate content"
        yield FieldError(path, "Forbidden", message)
        return
    try:
        x509.load_pem_x509_certificates(base64.b64decode(new or "", validate=True))
    except ValueError:
        message = "must contain at least one CERTIFICATE PEM block"
        yield FieldError(path, "Invalid value", message, "<certificate data>")
