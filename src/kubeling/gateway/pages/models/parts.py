"""Parts of pages of models and graphs that are fetched when they are looked at: form and drift."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

from aiohttp import web

from kubeling.gateway.kinds import INFERENCE_GRAPHS, INFERENCE_SERVICES
from kubeling.gateway.models.graph import first_service
from kubeling.gateway.models.signature import Signature, path_of, signature_of
from kubeling.gateway.pages.models.source import drift_of, objects_of, signature_from
from kubeling.gateway.pages.view import Views
from kubeling.gateway.rest import Refused, RestClient
from kubeling.kube.objects import Key, Obj, key_of, name, namespace

__all__ = ["drift_part", "form_part", "graph_form_part", "try_graph", "try_model"]

_WAKE: Final = "wake"
_EXAMPLE: Final = '{"instances": [[5.1, 3.5, 1.4, 0.2]]}'
_LONGEST: Final = 20_000
"""Characters of an answer that are shown."""


async def form_part(views: Views, rest: RestClient, request: web.Request) -> web.Response:
    """The form made from what the model says it takes."""
    isvc = await views.object(INFERENCE_SERVICES, request)
    found = await objects_of(views, isvc)
    signature = await signature_from(rest, isvc, found)
    return _form(views, request, isvc, signature, {}, asleep=not found.ready())


async def try_model(views: Views, rest: RestClient, request: web.Request) -> web.Response:
    """Sends what was filled in, and shows the answer below it."""
    isvc = await views.object(INFERENCE_SERVICES, request)
    if (await request.post()).get("how") == _WAKE:
        return await _woken(views, rest, request, isvc)
    found = await objects_of(views, isvc)
    signature = await signature_from(rest, isvc, found)
    return await _tried(views, rest, request, isvc, signature, asleep=not found.ready())


async def _woken(views: Views, rest: RestClient, request: web.Request, isvc: Obj) -> web.Response:
    """Asks the model what it takes through the inference gateway, which wakes it for that."""
    model = quote(name(isvc))
    try:
        status, text, _ = await rest.answered(
            f"/serving/{namespace(isvc)}/{model}/v2/models/{model}"
        )
        signature = signature_of(json.loads(text)) if status == 200 else None
        wrong = "" if status == 200 else _pretty(text)
    except (ConnectionError, ValueError) as error:
        signature, wrong = None, str(error)
    return _form(views, request, isvc, signature, {}, wrong=wrong)


async def graph_form_part(views: Views, rest: RestClient, request: web.Request) -> web.Response:
    """The form made from what the first service takes that gets a graph's requests."""
    graph = await views.object(INFERENCE_GRAPHS, request)
    return _form(views, request, graph, await _signature_of_graph(views, rest, graph), {})


async def try_graph(views: Views, rest: RestClient, request: web.Request) -> web.Response:
    """Sends what was filled in through the graph."""
    graph = await views.object(INFERENCE_GRAPHS, request)
    signature = await _signature_of_graph(views, rest, graph)
    return await _tried(views, rest, request, graph, signature)


async def _signature_of_graph(views: Views, rest: RestClient, graph: Obj) -> Signature | None:
    first = Key(namespace(graph), first_service(graph))
    for isvc in await views.objects(INFERENCE_SERVICES):
        if key_of(isvc) == first:
            return await signature_from(rest, isvc, await objects_of(views, isvc))
    return None


async def _tried(
    views: Views,
    rest: RestClient,
    request: web.Request,
    obj: Obj,
    signature: Signature | None,
    *,
    asleep: bool = False,
) -> web.Response:
    sent = {key: str(value) for key, value in (await request.post()).items()}
    path, body, wrong = "", None, ""
    try:
        path, body = _request(name(obj), signature, sent)
    except ValueError as error:
        wrong = str(error)
    if body is None:
        return _form(views, request, obj, signature, sent, wrong=wrong, asleep=asleep)
    began = time.perf_counter()
    target = f"/serving/{namespace(obj)}/{quote(name(obj))}"
    try:
        whole = target if obj["kind"] == INFERENCE_GRAPHS.kind else target + path
        status, text, headers = await rest.answered(whole, body)
    except ConnectionError as error:
        return _form(views, request, obj, signature, sent, wrong=str(error))
    answer = {
        "status": status,
        "text": _pretty(text),
        "revision": headers.get("x-kubeling-revision", ""),
        "took": round(1000 * (time.perf_counter() - began), 1),
    }
    return _form(views, request, obj, signature, sent, answer=answer)


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
            "The model is at rest, or was replaced, and does not say what it takes. Wake it, or "
            "send it JSON below."
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
    obj: Obj,
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
        f"Try {name(obj)}",
        obj=obj,
        base=views.link(obj),
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
