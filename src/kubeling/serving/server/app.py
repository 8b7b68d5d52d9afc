"""The V1 and V2 REST protocols over a set of models."""

from __future__ import annotations

import inspect
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
from aiohttp import web

from kubeling.serving.server.errors import (
    InferenceError,
    InvalidInput,
    ModelNotFound,
    ModelNotReady,
    NotSupported,
)
from kubeling.serving.server.metrics import Metrics
from kubeling.serving.server.model import Model
from kubeling.serving.server.requestlog import RequestLog, new_record, read_folder

__all__ = ["ModelApp", "create_app"]

log = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_MAX_BODY: Final = 256 * 1024 * 1024
_V1_VERBS: Final = {"predict": "predict", "explain": "explain"}


class ModelApp:
    """Answers for its models. Everything it keeps about a request ends with the request."""

    def __init__(
        self,
        models: Sequence[Model],
        metrics: Metrics | None = None,
        request_log: RequestLog | None = None,
        log_folder: Path | None = None,
    ) -> None:
        self._models = {model.name: model for model in models}
        self.metrics = metrics or Metrics()
        self.request_log = request_log
        self._log_folder = log_folder

    async def alive(self, _: web.Request) -> web.Response:
        return _json({"status": "alive"})

    async def server_metadata(self, _: web.Request) -> web.Response:
        from kubeling import __version__

        return _json({"name": "kubeling", "version": __version__, "extensions": []})

    async def live(self, _: web.Request) -> web.Response:
        return _json({"live": True})

    async def ready(self, _: web.Request) -> web.Response:
        ready = all(model.ready for model in self._models.values())
        return _json({"ready": ready}, 200 if ready else 503)

    async def v1_models(self, _: web.Request) -> web.Response:
        return _json({"models": list(self._models)})

    async def v1_model(self, request: web.Request) -> web.Response:
        model = self._model(request)
        return _json({"name": model.name, "ready": model.ready}, 200 if model.ready else 503)

    async def v1_call(self, request: web.Request) -> web.Response:
        verb = request.match_info["verb"]
        if verb not in _V1_VERBS:
            raise ModelNotFound(f'unknown verb "{verb}"; known: {", ".join(_V1_VERBS)}')
        return await self._answer(request, verb, _whole)

    async def v2_model(self, request: web.Request) -> web.Response:
        model = self._model(request)
        inputs, outputs = model.metadata() if model.ready else ([], [])
        return _json(
            {"name": model.name, "platform": model.platform, "inputs": inputs, "outputs": outputs}
        )

    async def v2_ready(self, request: web.Request) -> web.Response:
        model = self._model(request)
        return _json({"name": model.name, "ready": model.ready}, 200 if model.ready else 503)

    async def v2_infer(self, request: web.Request) -> web.Response:
        return await self._answer(request, "infer", _check_v2)

    async def versions(self, _: web.Request) -> web.Response:
        raise NotSupported("model versions are not supported; leave /versions/… out")

    async def metrics_text(self, _: web.Request) -> web.Response:
        return web.Response(text=self.metrics.text(), content_type="text/plain")

    async def requests(self, request: web.Request) -> web.Response:
        """What this pod recorded, as JSON lines."""
        self._model(request)
        if self._log_folder is None:
            raise ModelNotFound("requests are not recorded; set spec.predictor.logger")
        body = b"".join(read_folder(self._log_folder))
        return web.Response(body=body, content_type="application/x-ndjson")

    def _model(self, request: web.Request) -> Model:
        name = request.match_info["model"]
        model = self._models.get(name)
        if model is None:
            raise ModelNotFound(f"Model with name {name} does not exist.")
        return model

    async def _answer(
        self, request: web.Request, verb: str, check: Callable[[Any], Any]
    ) -> web.Response:
        model = self._model(request)
        started = time.perf_counter()
        body: Any = None
        status, answer = 200, None
        try:
            if not model.ready:
                raise ModelNotReady(f"Model with name {model.name} is not ready.")
            body = check(_decode(await request.read()))
            answer = await _call(model, verb, body, request.headers)
        except InferenceError as error:
            status, answer = error.status, {"error": str(error)}
        except Exception as error:
            # A model of one's own may raise anything; the server has to outlive it.
            log.exception("%s of model %s failed", verb, model.name)
            status, answer = 500, {"error": f"{type(error).__name__}: {error}"}
        self.metrics.request(model.name, status, time.perf_counter() - started)
        if verb == "infer" and status == 200:
            answer = _v2_answer(model, body, answer)
        if self.request_log is not None:
            headers = request.headers
            given = headers.get("ce-id") or headers.get("x-request-id") or ""
            self.request_log.add(new_record(model.name, status, body, answer, given))
        return _json(answer, status)


async def _call(model: Model, verb: str, body: Any, headers: Mapping[str, str]) -> Any:
    prepared = await _value(model.preprocess(body, headers))
    call = model.explain if verb == "explain" else model.predict
    return await _value(model.postprocess(await _value(call(prepared, headers)), headers))


async def _value(result: Any) -> Any:
    return await result if inspect.isawaitable(result) else result


def _decode(raw: bytes) -> Any:
    try:
        return msgspec.json.decode(raw)
    except msgspec.DecodeError as error:
        raise InvalidInput(f"the body is not valid JSON: {error}") from None


def _whole(body: Any) -> Any:
    return body


def _check_v2(body: Any) -> Any:
    if not isinstance(body, dict) or not isinstance(body.get("inputs"), list) or not body["inputs"]:
        raise InvalidInput(
            'expected {"inputs": [{"name": …, "shape": […], "datatype": …, "data": […]}]}'
        )
    return body


def _v2_answer(model: Model, body: Any, answer: Any) -> Any:
    if not isinstance(answer, dict) or "outputs" not in answer:
        return answer
    head = {"model_name": model.name}
    if body.get("id"):
        head["id"] = body["id"]
    return {**head, **answer}


def _json(value: Any, status: int = 200) -> web.Response:
    return web.Response(
        body=msgspec.json.encode(value), status=status, content_type="application/json"
    )


@web.middleware
async def _errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except InferenceError as error:
        return _json({"error": str(error)}, error.status)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        return _json({"error": error.text or error.reason}, error.status)


def create_app(app: ModelApp) -> web.Application:
    """The routes of both protocols."""
    found = web.Application(middlewares=[_errors], client_max_size=_MAX_BODY)
    found.add_routes(
        [
            web.get("/", app.alive),
            web.get("/metrics", app.metrics_text),
            web.get("/v1/models", app.v1_models),
            web.get("/v1/models/{model}", app.v1_model),
            web.get("/v1/models/{model}/requests", app.requests),
            web.post("/v1/models/{model}:{verb}", app.v1_call),
            web.get("/v2", app.server_metadata),
            web.get("/v2/health/live", app.live),
            web.get("/v2/health/ready", app.ready),
            web.get("/v2/models", app.v1_models),
            web.get("/v2/models/{model}", app.v2_model),
            web.get("/v2/models/{model}/ready", app.v2_ready),
            web.post("/v2/models/{model}/infer", app.v2_infer),
            web.route("*", "/v2/models/{model}/versions/{version:.*}", app.versions),
        ]
    )
    return found
