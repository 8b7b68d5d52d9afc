"""The AdmissionReview: what a webhook is asked, and what its answer means."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from kubeling.apiserver.webhooks.attributes import Attributes
from kubeling.kube.errors import ApiError
from kubeling.kube.objects import Obj
from kubeling.kube.resources import Resource

__all__ = ["InvalidReview", "Verdict", "denial", "request_review", "verdict"]

_GROUP: Final = "admission.k8s.io"
_SCALE: Final = {"group": "autoscaling", "version": "v1", "kind": "Scale"}


class InvalidReview(Exception):
    """A webhook answered something that is no answer."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a webhook answered."""

    allowed: bool
    status: Obj = field(default_factory=dict)
    patch: Any = None
    warnings: tuple[str, ...] = ()


def request_review(seen: Attributes, asked: Attributes, uid: str, version: str) -> Obj:
    """The review to send: the request as the webhook knows it (``seen``), and as it was made."""
    request: Obj = {
        "uid": uid,
        "kind": _kind(seen),
        "resource": _resource(seen.served.resource),
        "requestKind": _kind(asked),
        "requestResource": _resource(asked.served.resource),
        "operation": asked.operation,
        "userInfo": asked.user.to_object(),
        "object": seen.object,
        "oldObject": seen.old,
        "dryRun": asked.dry_run,
        "options": asked.options,
    }
    optional = {
        "subResource": asked.subresource,
        "requestSubResource": asked.subresource,
        "name": asked.name,
        "namespace": asked.namespace,
    }
    request.update((key, value) for key, value in optional.items() if value)
    return {"kind": "AdmissionReview", "apiVersion": f"{_GROUP}/{version}", "request": request}


def _kind(attributes: Attributes) -> Obj:
    if attributes.subresource == "scale":
        return dict(_SCALE)
    shown = attributes.object or attributes.old or {}
    group, _, version = str(shown.get("apiVersion", "")).rpartition("/")
    return {"group": group, "version": version, "kind": shown.get("kind", "")}


def _resource(resource: Resource) -> Obj:
    return {"group": resource.group, "version": resource.version, "resource": resource.plural}


def verdict(answer: Any, uid: str, version: str, *, mutating: bool) -> Verdict:
    """Reads the webhook's answer; raises :class:`InvalidReview` in upstream's words."""
    found = answer if isinstance(answer, dict) else {}
    response = found.get("response")
    if version == "v1":
        _check_form(found, response, uid)
    if not isinstance(response, dict):
        raise InvalidReview("webhook response was absent")
    patch = _patch(response, strict=version == "v1", mutating=mutating)
    status, warnings = response.get("status"), response.get("warnings")
    return Verdict(
        response.get("allowed") is True,
        status if isinstance(status, dict) else {},
        patch,
        tuple(map(str, warnings)) if isinstance(warnings, list) else (),
    )


def _check_form(answer: Obj, response: Any, uid: str) -> None:
    kind, version = answer.get("kind", ""), answer.get("apiVersion", "")
    if (version, kind) != (f"{_GROUP}/v1", "AdmissionReview"):
        raise InvalidReview(
            f"expected webhook response of {_GROUP}/v1, Kind=AdmissionReview, got {version}, "
            f"Kind={kind}"
        )
    if isinstance(response, dict) and response.get("uid") != uid:
        raise InvalidReview(f'expected response.uid="{uid}", got "{response.get("uid") or ""}"')


def _patch(response: Obj, *, strict: bool, mutating: bool) -> Any:
    patch, kind = response.get("patch"), response.get("patchType")
    if not mutating:
        if strict and patch:
            raise InvalidReview("validating webhook may not return response.patch")
        if strict and kind is not None:
            raise InvalidReview("validating webhook may not return response.patchType")
        return None
    if strict and patch and kind is None:
        raise InvalidReview("webhook returned response.patch but not response.patchType")
    if strict and not patch and kind is not None:
        raise InvalidReview("webhook returned response.patchType but not response.patch")
    if not patch:
        return None
    if (kind or "JSONPatch") != "JSONPatch":
        raise InvalidReview(f'webhook returned invalid response.patchType of "{kind}"')
    try:
        return msgspec.json.decode(base64.b64decode(patch, validate=True))
    except (binascii.Error, ValueError, TypeError, msgspec.DecodeError) as error:
        raise InvalidReview(f"webhook returned an invalid response.patch: {error}") from None


def denial(name: str, status: Obj) -> ApiError:
    """The refusal by a webhook, as the client reads it."""
    code = status.get("code")
    denied = f'admission webhook "{name}" denied the request'
    explanation = status.get("message") or status.get("reason")
    details = status.get("details")
    return ApiError(
        f"{denied}: {explanation}" if explanation else f"{denied} without explanation",
        details=details if isinstance(details, dict) else None,
        code=code if isinstance(code, int) and 400 <= code < 600 else 400,
        reason=str(status.get("reason") or ""),
    )
