"""Custom resources in other versions than they are stored in, where a webhook converts them.

Without a webhook a version differs from another by its name only, and nothing is asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from kubeling.apiserver.served import Served
from kubeling.apiserver.uids import new_uid
from kubeling.apiserver.webhooks.client import WebhookCallError, WebhookClient
from kubeling.apiserver.webhooks.configuration import REVIEW_VERSIONS, ClientConfig
from kubeling.kube.errors import ApiError
from kubeling.kube.objects import Obj

__all__ = ["Converter"]

_GROUP: Final = "apiextensions.k8s.io"
_TIMEOUT: Final = 30.0
_CHANGEABLE: Final = ("labels", "annotations")


class Converter:
    """Brings objects into the version they are wanted in."""

    def __init__(self, client: WebhookClient) -> None:
        self._client = client

    async def convert(self, served: Served, objects: Sequence[Obj]) -> Sequence[Obj]:
        """The objects in a version of their resource, all in one call.

        The results may share parts with what was given. Raises :class:`ApiError` where the webhook
        fails.
        """
        wanted = served.resource.api_version
        if served.definition is None or not served.by_webhook:
            return [served.present(served.accept(obj)) for obj in objects]
        other = [obj for obj in objects if obj["apiVersion"] != wanted]
        if not other:
            return objects
        converted = iter(await self._ask(served, served.definition, other))
        return [obj if obj["apiVersion"] == wanted else next(converted) for obj in objects]

    async def _ask(self, served: Served, definition: Obj, objects: Sequence[Obj]) -> list[Obj]:
        resource = served.resource
        webhook = definition["spec"]["conversion"]["webhook"]
        version = next((v for v in webhook["conversionReviewVersions"] if v in REVIEW_VERSIONS), "")
        uid = new_uid()
        request = {"uid": uid, "desiredAPIVersion": resource.api_version, "objects": objects}
        review = {
            "kind": "ConversionReview",
            "apiVersion": f"{_GROUP}/{version or REVIEW_VERSIONS[0]}",
            "request": request,
        }
        where = f"conversion webhook for {objects[0]['apiVersion']}, Kind={resource.kind}"
        try:
            answer = await self._client.post(
                ClientConfig.of(webhook["clientConfig"]), review, _TIMEOUT
            )
            found = _converted_objects(answer, uid, len(objects))
        except WebhookCallError as error:
            raise ApiError(f"{where} failed: {error}") from None
        converted = []
        for index, (obj, result) in enumerate(zip(objects, found, strict=True)):
            if wrong := _wrong(obj, result, resource.api_version):
                raise ApiError(
                    f"{where} returned invalid converted object at index {index}: {wrong}"
                )
            converted.append(_restored(obj, result))
            served.shape.settle(converted[-1], None)
        return converted


def _converted_objects(answer: Any, uid: str, expected: int) -> list[Any]:
    """What a ConversionReview brings back; raises :class:`WebhookCallError`."""
    response = answer.get("response") if isinstance(answer, dict) else None
    if not isinstance(response, dict):
        raise WebhookCallError("no response provided")
    if response.get("uid") != uid:
        raise WebhookCallError(f'expected response.uid="{uid}", got "{response.get("uid") or ""}"')
    result = response.get("result") or {}
    if result.get("status") != "Success":
        raise WebhookCallError(str(result.get("message") or "no error message was given"))
    found = response.get("convertedObjects")
    count = len(found) if isinstance(found, list) else 0
    if not isinstance(found, list) or count != expected:
        raise WebhookCallError(f"returned {count} objects, expected {expected}")
    return found


def _wrong(obj: Obj, converted: Any, api_version: str) -> str:
    """Why a converted object is not the one that was asked for."""
    if not isinstance(converted, dict) or not isinstance(converted.get("metadata"), dict):
        return "it is not an object with metadata"
    if converted.get("apiVersion") != api_version:
        return f"invalid groupVersion: {converted.get('apiVersion')} != {api_version}"
    if converted.get("kind") != obj["kind"]:
        return f"must have the same kind: {converted.get('kind')} != {obj['kind']}"
    for field in ("name", "namespace", "uid"):
        before, after = obj["metadata"].get(field), converted["metadata"].get(field)
        if before != after:
            return f"must have the same {field}: {before} != {after}"
    return ""


def _restored(obj: Obj, converted: Obj) -> Obj:
    """The converted object; of its metadata a webhook may change labels and annotations."""
    metadata = {key: value for key, value in obj["metadata"].items() if key not in _CHANGEABLE}
    for field in _CHANGEABLE:
        if field in converted["metadata"]:
            metadata[field] = converted["metadata"][field]
    return {**converted, "metadata": metadata}
