"""Parts of a model's page that are fetched when they are looked at: the form, and drift."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

from aiohttp import web

from kubeling.gateway.kinds import INFERENCE_SERVICES
from kubeling.gateway.models.signature import Signature, path_of
from kubeling.gateway.pages.models.source import drift_of, objects_of, signature_from
from kubeling.gateway.pages.view import Views
from kubeling.gateway.rest import Refused, RestClient
from kubeling.kube.objects import Obj, name, namespace

__all__ = ["drift_part", "form_part", "try_model"]

_EXAMPLE: Final = '{"instances": [[5.1, 3.5, 1.4, 0.2]]}'
_LONGEST: Final = 20_000
"""Characters of an answer that are shown."""


async def form_part(views: Views, rest: RestClient, request: web.Request) -> web.Response:
    """The form made from what the model says it takes."""
    isvc = await views.object(INFERENCE_SERVICES, request)
    signature = await signature_from(rest, isvc, await objects_of(views, isvc))
    return _form(views, request, isvc, signature, {})


async def try_model(views: Views, rest: RestClient, request: web.Request) -> web.Response:
    """Sends what was filled in, and shows the answer below it."""
    isvc = await views.object(INFERENCE_SERVICES, request)
    sent = {key: str(value) for key, value in (await request.post()).items()}
    signature = await signature_from(rest, isvc, await objects_of(views, isvc))
    path, body, wrong = "", None, ""
    try:
        path, body = _request(name(isvc), signature, sent)
    except ValueError as error:
        wrong = str(error)
    if body is None:
        return _form(views, request, isvc, signature, sent, wrong=wrong)
    began = time.perf_counter()
    target = f"/serving/{namespace(isvc)}/{quote(name(isvc))}{path}"
    try:
        status, text, headers = await rest.answered(target, body)
    except ConnectionError as error:
        return _form(views, request, isvc, signature, sent, wrong=str(error))
    answer = {
        "status": status,
        "text": _pretty(text),
        "revision": headers.get("x-kubeling-revision", ""),
        "took": round(1000 * (time.perf_counter() - began), 1),
    }
    return _form(views, request, isvc, signature, sent, answer=answer)


async def drift_part(views: Views, rest: RestClient, request: web.Request) -> web.Response:
    """How the requests compare with the training data, and what monitoring knows besides."""
    isvc = await views.object(INFERENCE_SERVICES, request)
    found: Mapping[str, Any] = {}
    refused = ""
    try:
        found = await drift_of(rest, isvc)
    except Refused as error:
        refused = str(error)
    text = views.templates.get_template("model_drift.html").render(
        refused=refused, said=found.get("condition"), revisions=found.get("revisions") or {}
    )
    return web.Response(text=text, content_type="text/html")


def _request(
    model: str, signature: Signature | None, sent: Mapping[str, str]
) -> tuple[str, dict[str, Any]]:
    """Where the request goes and its body; raises :class:`ValueError` that says what is wrong."""
    if sent.get("how") == "fields" and signature is not None:
        return signature.path(model), signature.request(
            [sent.get(f"v{number}", "") for number in range(len(signature.fields))]
        )
    if sent.get("how") == "row" and signature is not None and signature.wide_row:
        return signature.path(model), signature.row_request(sent.get("row", ""))
    if sent.get("how") in ("fields", "row"):
        raise ValueError(
            "The model is at rest, or was replaced, and does not say what it takes. Send it JSON "
            "below, which wakes it, and come back to the fields."
        )
    try:
        body = json.loads(sent.get("body", ""))
    except json.JSONDecodeError as error:
        raise ValueError(
            f"This is not JSON: {error.msg} at line {error.lineno}, column {error.colno}."
        ) from None
    if not isinstance(body, dict):
        raise ValueError('This is no JSON object such as {"instances": [[1.0, 2.0]]}.')
    return path_of(model, body), body


def _form(
    views: Views,
    request: web.Request,
    isvc: Obj,
    signature: Signature | None,
    sent: Mapping[str, str],
    **values: Any,
) -> web.Response:
    fields = signature.fields if signature else ()
    sample = _EXAMPLE
    if signature:
        sample = "" if signature.is_large else signature.sample_text()
    return views.page(
        request,
        "model_try.html",
        "/models",
        f"Try {name(isvc)}",
        obj=isvc,
        base=views.link(isvc),
        signature=signature,
        fields=fields,
        sent=sent,
        picture=signature.picture if signature else None,
        wide_row=signature.wide_row if signature else 0,
        body=sent.get("body") or sample,
        **values,
    )


def _pretty(text: str) -> str:
    """JSON with indentation, if it is short enough to be read."""
    try:
        found = json.dumps(json.loads(text), indent=1) if len(text) < _LONGEST else text
    except ValueError:
        found = text
    return found[:_LONGEST] + ("…" if len(found) > _LONGEST else "")
