"""The rooms' admission as a cluster asks for it: AdmissionReviews answered, configurations made.

The functions of :mod:`kubeling.kube.admission` are the same that the embedded API server calls in
process. Everything here is pure; who listens, and where, is the business of the command that runs
the controllers.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal

import msgspec

from kubeling.kube.admission import Admission, AdmissionRequest
from kubeling.kube.errors import Invalid
from kubeling.kube.objects import Obj, deep_copy, new_object
from kubeling.kube.resources import Resource

__all__ = [
    "MUTATING_WEBHOOKS",
    "VALIDATING_WEBHOOKS",
    "Purpose",
    "answer_review",
    "webhook_configurations",
]

Purpose = Literal["default", "validate"]

_GROUP: Final = "admissionregistration.k8s.io"
MUTATING_WEBHOOKS: Final = Resource(
    _GROUP, "v1", "MutatingWebhookConfiguration", "mutatingwebhookconfigurations", False
)
VALIDATING_WEBHOOKS: Final = Resource(
    _GROUP, "v1", "ValidatingWebhookConfiguration", "validatingwebhookconfigurations", False
)


def answer_review(admission: Mapping[Resource, Admission], purpose: Purpose, review: Obj) -> Obj:
    """The AdmissionReview with its response: a patch with the defaults, or what is wrong."""
    request = review["request"]
    response: Obj = {"uid": request["uid"], "allowed": True}
    for resource, rules in admission.items():
        if _named(resource) == request["resource"] and request.get("object"):
            response.update(_response(resource, rules, purpose, request))
    return {"apiVersion": review["apiVersion"], "kind": review["kind"], "response": response}


def _response(resource: Resource, rules: Admission, purpose: Purpose, request: Obj) -> Obj:
    about = AdmissionRequest(
        resource,
        request["operation"],
        user=request["userInfo"].get("username", ""),
        groups=tuple(request["userInfo"].get("groups") or ()),
        dry_run=bool(request.get("dryRun")),
        old=request.get("oldObject"),
    )
    before: Obj = _with_name(request["object"])
    if purpose == "default":
        after = deep_copy(before)
        if rules.default is not None:
            rules.default(after, about)
        return _patch(before, after)
    found = list(rules.validate(before, request.get("oldObject"), about)) if rules.validate else []
    if not found:
        warnings = list(rules.warn(before, about)) if rules.warn else []
        return {"warnings": warnings} if warnings else {}
    error = Invalid.of(resource.group, resource.kind, request.get("name", ""), found)
    return {"allowed": False, "status": error.status}


def _with_name(obj: Obj) -> Obj:
    """The object, with a name where it is still to be given one: rules may read it."""
    metadata = obj["metadata"]
    if metadata.get("name"):
        return obj
    return {**obj, "metadata": {**metadata, "name": f"{metadata.get('generateName', '')}00000"}}


def _patch(before: Obj, after: Obj) -> Obj:
    operations = list(_changes(before, after, ""))
    if not operations:
        return {}
    encoded = base64.b64encode(msgspec.json.encode(operations)).decode()
    return {"patchType": "JSONPatch", "patch": encoded}


def _changes(before: Any, after: Any, path: str) -> Iterator[Obj]:
    """The operations of RFC 6902 that lead from one value to the other; lists change as a whole."""
    if before == after:
        return
    if not (isinstance(before, dict) and isinstance(after, dict)):
        yield {"op": "replace", "path": path, "value": after}
        return
    for key in before.keys() - after.keys():
        yield {"op": "remove", "path": f"{path}/{_escaped(key)}"}
    for key, value in after.items():
        where = f"{path}/{_escaped(key)}"
        if key in before:
            yield from _changes(before[key], value, where)
        else:
            yield {"op": "add", "path": where, "value": value}


def _escaped(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")


def _named(resource: Resource) -> Obj:
    return {"group": resource.group, "version": resource.version, "resource": resource.plural}


def webhook_configurations(
    admission: Mapping[Resource, Admission], url: str, authority: str
) -> list[tuple[Resource, Obj]]:
    """What makes a cluster ask at ``url``, trusting the ``authority``'s certificate (PEM)."""
    bundle = base64.b64encode(authority.encode()).decode()
    defaults = {resource: rules.labelled for resource, rules in admission.items() if rules.default}
    checks = {resource: rules.labelled for resource, rules in admission.items() if rules.validate}
    return [
        (
            kind,
            new_object(
                kind,
                "kubeling",
                webhooks=[
                    _webhook(
                        purpose,
                        [r for r, of in resources.items() if of == label],
                        label,
                        url,
                        bundle,
                    )
                    for label in sorted(set(resources.values()))
                ],
            ),
        )
        for kind, purpose, resources in (
            (MUTATING_WEBHOOKS, "default", defaults),
            (VALIDATING_WEBHOOKS, "validate", checks),
        )
    ]


def _webhook(purpose: str, resources: list[Resource], label: str, url: str, bundle: str) -> Obj:
    """One webhook; with a label it is about objects that have it."""
    having = {"matchExpressions": [{"key": label, "operator": "Exists"}]}
    return {
        "name": f"{purpose}.kubeling.io" if not label else f"labelled.{purpose}.kubeling.io",
        **({"objectSelector": having} if label else {}),
        "clientConfig": {"url": f"{url}/{purpose}", "caBundle": bundle},
        "rules": [
            {
                "operations": ["CREATE", "UPDATE"],
                "apiGroups": [resource.group],
                "apiVersions": [resource.version],
                "resources": [resource.plural],
            }
            for resource in resources
        ],
        "matchPolicy": "Exact",
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
    }
