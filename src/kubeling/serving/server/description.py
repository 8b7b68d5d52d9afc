"""The server's own description (OpenAPI), of the pages that it has for the models that it has.

Upstream's server, an application of FastAPI, shows one at ``/openapi.json`` and, where wanted, a
page for reading it at ``/docs`` (``--enable_docs_url``). It is made when somebody asks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from kubeling.serving.server.model import Model
from kubeling.serving.server.repository import ModelRepository
from kubeling.serving.server.tensors import DATATYPES

__all__ = ["PAGE", "described"]

Json = dict[str, Any]

_EVENTS: Final = "text/event-stream"
_TEXTS: Final = ("completions", "chat/completions")
_REFUSALS: Final[Mapping[int, str]] = {
    400: "The request cannot be understood, or does not fit the model",
    404: "There is no such model, version or page",
    413: "The request is too large",
    422: "A request for text that cannot be understood",
    424: "The model failed while it generated",
    429: "There is more to do than the model can",
    500: "The model failed",
    503: "The model is not ready",
}
_OBJECT: Final[Json] = {"type": "object"}
_TEXT: Final[Json] = {"type": "string"}
_ERROR: Final[Json] = {
    "type": "object",
    "required": ["error"],
    "properties": {"error": {"type": ["string", "object"]}},
}
_TENSOR: Final[Json] = {
    "type": "object",
    "required": ["name", "shape", "datatype"],
    "properties": {
        "name": _TEXT,
        "shape": {"type": "array", "items": {"type": "integer"}},
        "datatype": {"type": "string", "enum": [*DATATYPES]},
        "parameters": _OBJECT,
        "data": {"type": "array"},
    },
}
_READY: Final[Json] = {
    "type": "object",
    "required": ["ready"],
    "properties": {"name": _TEXT, "ready": {"type": "boolean"}},
}
_LISTED: Final[Json] = {
    "type": "object",
    "required": ["models"],
    "properties": {"models": {"type": "array", "items": _TEXT}},
}
_SCHEMAS: Final[Mapping[str, Json]] = {
    "Error": _ERROR,
    "Tensor": _TENSOR,
    "Ready": _READY,
    "Models": _LISTED,
    "PredictRequest": {
        "type": "object",
        "properties": {"instances": {"type": "array"}, "inputs": {}},
    },
    "PredictResponse": {"type": "object", "properties": {"predictions": {}}},
    "InferRequest": {
        "type": "object",
        "required": ["inputs"],
        "properties": {
            "id": _TEXT,
            "parameters": _OBJECT,
            "inputs": {
                "type": "array",
                "minItems": 1,
                "items": {"$ref": "#/components/schemas/Tensor"},
            },
            "outputs": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["name"],
                    "properties": {"name": _TEXT, "parameters": _OBJECT},
                },
            },
        },
    },
    "InferResponse": {
        "type": "object",
        "required": ["model_name", "outputs"],
        "properties": {
            "model_name": _TEXT,
            "model_version": _TEXT,
            "id": _TEXT,
            "parameters": _OBJECT,
            "outputs": {"type": "array", "items": {"$ref": "#/components/schemas/Tensor"}},
        },
    },
    "Metadata": {
        "type": "object",
        "required": ["name", "platform", "inputs", "outputs"],
        "properties": {
            "name": _TEXT,
            "versions": {"type": "array", "items": _TEXT},
            "platform": _TEXT,
            "inputs": {"type": "array", "items": _OBJECT},
            "outputs": {"type": "array", "items": _OBJECT},
            "parameters": _OBJECT,
        },
    },
    "Index": {
        "type": "array",
        "items": {
            "type": "object",
            "required": ["name", "state"],
            "properties": {"name": _TEXT, "version": _TEXT, "state": _TEXT, "reason": _TEXT},
        },
    },
    "GenerateRequest": {
        "type": "object",
        "required": ["text_input"],
        "properties": {"text_input": _TEXT, "id": _TEXT, "parameters": _OBJECT},
    },
    "GenerateResponse": {
        "type": "object",
        "required": ["text_output", "model_name"],
        "properties": {
            "text_output": _TEXT,
            "model_name": _TEXT,
            "model_version": _TEXT,
            "details": _OBJECT,
        },
    },
}

PAGE: Final = """<!DOCTYPE html>
<html lang="en">
<title>Model server</title>
<link rel="stylesheet" href="https://cdn.jsdelivr.net/npm/swagger-ui-dist@5/swagger-ui.css">
<p>The pages of this server are described in <a href="openapi.json">openapi.json</a>.</p>
<div id="pages"></div>
<script src="https://cdn.jsdelivr.net/npm/swagger-ui-dist@5/swagger-ui-bundle.js"></script>
<script>SwaggerUIBundle({url: "openapi.json", dom_id: "#pages"})</script>
</html>
"""
"""Reads the description with Swagger UI, which the browser fetches."""


def described(repository: ModelRepository, openai_prefix: str) -> Json:
    """The description of a server of these models."""
    from kubeling import __version__

    models = repository.get_models()
    paths: Json = {}
    for path, method, operation in _operations(repository, models, openai_prefix):
        operation["operationId"] = f"{method} {path}"
        paths.setdefault(path, {})[method] = operation
    return {
        "openapi": "3.1.0",
        "info": {"title": "Kubeling model server", "version": __version__},
        "paths": paths,
        "components": {"schemas": dict(_SCHEMAS)},
    }


def _operations(
    repository: ModelRepository, models: Mapping[str, Model], openai_prefix: str
) -> Iterator[tuple[str, str, Json]]:
    yield "/", "get", _operation("Whether the server is alive", _OBJECT)
    yield "/v2/health/live", "get", _operation("Whether the server is alive", _OBJECT)
    yield "/v2/health/ready", "get", _operation("Whether all models answer", "Ready", also=(503,))
    yield "/v2", "get", _operation("The server's name and extensions", _OBJECT)
    metrics = _operation("Metrics for Prometheus", {"text/plain": _TEXT})
    yield "/metrics", "get", metrics
    yield "/v1/models", "get", _operation("The models", "Models")
    yield "/v2/models", "get", _operation("The models", "Models")
    index = _operation(
        "The models and their states", "Index", {"ready": {"type": "boolean"}}, (400,)
    )
    yield "/v2/repository/index", "post", index
    if models:
        yield from _of_models(repository, models, openai_prefix)


def _of_models(
    repository: ModelRepository, models: Mapping[str, Model], openai_prefix: str
) -> Iterator[tuple[str, str, Json]]:
    name = _parameter("model_name", list(models))
    asked = (400, 404, 413, 500, 503)
    one = f"/v1/models/{{{name['name']}}}"
    yield one, "get", _operation("Whether a model answers", "Ready", None, (404, 503), (name,))
    predicted = _operation("Predicts", "PredictResponse", "PredictRequest", asked, (name,))
    yield f"{one}:predict", "post", predicted
    for action in ("load", "unload"):
        path = f"/v2/repository/models/{{model_name}}/{action}"
        yield (
            path,
            "post",
            _operation(f"{action.title()}s a model", _OBJECT, None, (404, 503), (name,)),
        )
    versions = sorted({v for title in models for v in repository.versions(title)})
    places: list[tuple[str, tuple[Json, ...]]] = [("/v2/models/{model_name}", (name,))]
    if versions:
        version = _parameter("model_version", versions)
        places.append(("/v2/models/{model_name}/versions/{model_version}", (name, version)))
    for place, given in places:
        yield place, "get", _operation("A model's tensors", "Metadata", None, (404,), given)
        ready = _operation("Whether a model answers", "Ready", None, (404, 503), given)
        yield f"{place}/ready", "get", ready
        inferred = _operation("Predicts", "InferResponse", "InferRequest", asked, given)
        binary = {"schema": {"type": "string", "format": "binary"}}
        inferred["responses"]["200"]["content"]["application/octet-stream"] = binary
        yield f"{place}/infer", "post", inferred
    speaking = [title for title, model in models.items() if model.speaks_openai]
    if speaking:
        yield from _of_texts(_parameter("model_name", speaking), openai_prefix)


def _of_texts(name: Json, openai_prefix: str) -> Iterator[tuple[str, str, Json]]:
    refusals = (400, 404, 413, 422, 424, 429, 503)
    for page, answer in (
        ("generate", {"application/json": _reference("GenerateResponse")}),
        ("generate_stream", {_EVENTS: _TEXT}),
    ):
        made = _operation("Goes on with a text", answer, "GenerateRequest", refusals, (name,))
        yield f"/v2/models/{{model_name}}/{page}", "post", made
    listed = {"model": {"type": "string", "enum": name["schema"]["enum"]}}
    for page in _TEXTS:
        body = {
            **listed,
            **({"prompt": _TEXT} if page == "completions" else {"messages": {"type": "array"}}),
        }
        answer = {"application/json": _OBJECT, _EVENTS: _TEXT}
        made = _operation("Goes on with a text, as OpenAI's API", answer, body, refusals)
        yield f"/{openai_prefix}/v1/{page}" if openai_prefix else f"/v1/{page}", "post", made


def _operation(
    summary: str,
    answer: str | Json,
    body: str | Json | None = None,
    also: Sequence[int] = (),
    parameters: Sequence[Json] = (),
) -> Json:
    """``answer`` is a schema, its name, or schemas by type of content; ``also`` are refusals."""
    contents = answer if isinstance(answer, dict) and any("/" in key for key in answer) else None
    found = contents or {"application/json": _reference(answer)}
    responses: Json = {"200": _response("The answer", found)}
    for status in also:
        refused = {
            "application/json": _reference(
                "Ready" if answer == "Ready" and status == 503 else "Error"
            )
        }
        responses[str(status)] = _response(_REFUSALS[status], refused)
    made: Json = {"summary": summary, "responses": responses}
    if parameters:
        made["parameters"] = list(parameters)
    if body is not None:
        schema = _reference(body) if isinstance(body, str) else {**_OBJECT, "properties": body}
        made["requestBody"] = {"content": {"application/json": {"schema": schema}}}
    return made


def _response(text: str, contents: Mapping[str, Json]) -> Json:
    return {"description": text, "content": {kind: {"schema": s} for kind, s in contents.items()}}


def _reference(schema: str | Json) -> Json:
    return {"$ref": f"#/components/schemas/{schema}"} if isinstance(schema, str) else schema


def _parameter(title: str, known: Sequence[str]) -> Json:
    return {
        "name": title,
        "in": "path",
        "required": True,
        "schema": {"type": "string", "enum": list(known)},
    }
