"""The V1 and V2 REST protocols over a repository of models."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec

from kubeling.serving.requestlog.folder import read_folder
from kubeling.serving.server import bodies, cloudevents
from kubeling.serving.server.batch_metrics import batch_metrics
from kubeling.serving.server.dataplane import DataPlane, Verb
from kubeling.serving.server.errors import ModelNotFound, ModelNotReady, NotSupported
from kubeling.serving.server.http import Request, Response, StreamedResponse, json_response
from kubeling.serving.server.lanes import Lanes
from kubeling.serving.server.openai.paths import page_of, route_prefix
from kubeling.serving.server.repository import IndexEntry, check_overrides

if TYPE_CHECKING:
    from kubeling.serving.server.openai.endpoints import OpenAIPages
    from kubeling.serving.server.repository import ModelRepository
    from kubeling.serving.server.sampling import Sampler

__all__ = ["EXTENSIONS", "ModelApp"]

EXTENSIONS: Final = ["model_repository", "model_repository_extension", "binary_tensor_data"]
"""What the server does beyond the protocol, as its metadata says."""

Page = Callable[[Request], Awaitable[Response]]
Answer = Response | StreamedResponse


class SampledPages:
    """What the platform fetches of a monitored model."""

    def __init__(self, sampler: Sampler, models: ModelRepository) -> None:
        self._sampler = sampler
        self._models = models

    async def samples(self, request: Request) -> Response:
        """What there is since the last look: others' requests, so gateways get none."""
        from kubeling.serving.server.sampling import came_through_a_gateway
        from kubeling.serving.server.tabular import TabularModel

        if came_through_a_gateway(request.headers):
            raise _no_page(request)
        wanted = bodies.plain(request.body or b"{}")
        listed = wanted.get("answers") if isinstance(wanted, dict) else None
        found = self._sampler.look(listed if isinstance(listed, list) else ())
        for model in self._models.get_models().values():
            if found.samples and isinstance(model, TabularModel):
                found.features = model.columns or []
        return Response(msgspec.json.encode(found))

    async def profile(self, request: Request) -> Response:
        """The reference profile that lies beside the model."""
        found = self._sampler.profile()
        if found is None:
            raise ModelNotFound("there is no reference profile beside the model")
        return Response(found)


class ModelApp:
    """Finds the handler of a request. Everything it keeps of a request ends with the request."""

    def __init__(
        self, dataplane: DataPlane, log_folder: Path | None = None, *, docs: bool = False
    ) -> None:
        self._plane = dataplane
        self._repository = dataplane.repository
        self._log_folder = log_folder
        self._openai_prefix = route_prefix()
        self.immediately = Lanes(dataplane)
        self._pages: dict[str, tuple[str, Page]] = {
            "": ("GET", self._alive),
            "health": ("GET", self._ready),
            "metrics": ("GET", self._metrics),
            "openapi.json": ("GET", self._description),
            "v1/models": ("GET", self._v1_models),
            "v2": ("GET", self._server),
            "v2/health/live": ("GET", self._live),
            "v2/health/ready": ("GET", self._ready),
            "v2/models": ("GET", self._models),
            "v2/repository/index": ("POST", self._index),
        }
        if docs:
            self._pages["docs"] = ("GET", self._docs)
        if dataplane.sampler is not None:
            shown = SampledPages(dataplane.sampler, dataplane.repository)
            self._pages["monitor/samples"] = ("POST", shown.samples)
            self._pages["monitor/profile"] = ("GET", shown.profile)

    async def __call__(self, request: Request) -> Answer:
        """Answers a request; raises :class:`~.errors.ServingError`."""
        path = request.path.strip("/")
        if path.startswith("v1/models/"):
            return await self._v1(request, path[10:])
        if path.startswith("v2/models/"):
            return await self._v2(request, path[10:].split("/"))
        if path.startswith("v2/repository/models/"):
            return await self._repository_call(request, path[21:].split("/"))
        if (page := page_of(path, self._openai_prefix)) is not None:
            return await self._openai(request, page)
        if path not in self._pages:
            raise _no_page(request)
        method, answer = self._pages[path]
        return await answer(request) if _allows(request, method) else _not_allowed(request, method)

    @functools.cached_property
    def _openai(self) -> OpenAIPages:
        """OpenAI's pages, read only where they are asked for: most servers have none."""
        from kubeling.serving.server.openai.endpoints import OpenAIPages

        return OpenAIPages(self._plane)

    async def _alive(self, _: Request) -> Response:
        return json_response({"status": "alive"})

    async def _description(self, _: Request) -> Response:
        from kubeling.serving.server.description import described

        return json_response(described(self._repository, self._openai_prefix))

    async def _docs(self, _: Request) -> Response:
        from kubeling.serving.server.description import PAGE

        return Response(PAGE.encode(), content_type="text/html; charset=utf-8")

    async def _server(self, _: Request) -> Response:
        from kubeling import __version__

        return json_response({"name": "kubeling", "version": __version__, "extensions": EXTENSIONS})

    async def _live(self, _: Request) -> Response:
        return json_response({"live": True})

    async def _ready(self, _: Request) -> Response:
        return _readiness({}, await self._plane.ready())

    async def _models(self, _: Request) -> Response:
        return json_response({"models": list(self._repository.get_models())})

    async def _v1_models(self, _: Request) -> Response:
        """The models by name and, where some speak OpenAI's API, as that one lists them."""
        models = self._repository.get_models()
        found: dict[str, Any] = {"models": list(models)}
        if any(model.speaks_openai for model in models.values()):
            found |= {"object": "list", "data": self._openai.models}
        return json_response(found)

    async def _metrics(self, _: Request) -> Response:
        models = self._repository.get_models()
        pacing = self._plane.pacing.text(models)
        text = self._plane.metrics.text() + batch_metrics(models) + pacing
        if any(model.speaks_openai for model in models.values()):
            from kubeling.serving.server.generation.metrics import generation_metrics

            text += generation_metrics(models)
        return Response(text.encode(), content_type="text/plain; version=0.0.4; charset=utf-8")

    async def _index(self, request: Request) -> Response:
        asked = bodies.plain(request.body) if request.body else {}
        ready_only = isinstance(asked, dict) and asked.get("ready") is True
        entries = self._repository.index()
        return json_response([_entry(e) for e in entries if not ready_only or e.state == "READY"])

    async def _v1(self, request: Request, rest: str) -> Answer:
        name, colon, verb = rest.rpartition(":")
        if colon:
            if verb not in ("predict", "explain", "feedback"):
                raise ModelNotFound(f'unknown verb "{verb}"; known: predict, explain, feedback')
            if not _allows(request, "POST"):
                return _not_allowed(request, "POST")
            if verb == "feedback":
                return self._feedback(request, name)
            return await self._v1_call(request, name, cast(Verb, verb))
        if not _allows(request, "GET"):
            return _not_allowed(request, "GET")
        name, slash, page = rest.partition("/")
        if slash and page != "requests":
            raise _no_page(request)
        self._repository.model(name)
        if page == "requests":
            return await self._requests()
        return _readiness({"name": name}, await self._plane.model_ready(name))

    async def _v1_call(self, request: Request, name: str, verb: Verb) -> Answer:
        event: cloudevents.Event | None = None

        def decode() -> Any:
            nonlocal event
            event = cloudevents.event_of_bytes(request.body, request.headers)
            if event is not None:
                return event.data
            body = bodies.from_v1(request)
            event = cloudevents.event_of(body, request.headers)
            return body if event is None else event.data

        answer, given = await self._plane.v1(name, verb, decode, request.headers)
        if isinstance(answer, str | bytes | AsyncIterator):
            return bodies.of_own_words(answer, given)
        if event is None:
            return json_response(answer, headers=given)
        body, content_type, headers = event.answer(name, answer)
        return Response(msgspec.json.encode(body), 200, content_type, {**given, **headers})

    def _feedback(self, request: Request, name: str) -> Response:
        """What was true of earlier requests."""
        self._repository.model(name)
        if self._plane.sampler is None:
            raise NotSupported(
                "feedback is for monitored models; annotate the service with "
                'serving.kubeling.io/monitoring: "true"'
            )
        told = bodies.plain(request.body)
        return json_response({"accepted": self._plane.sampler.told(told)}, 202)

    async def _requests(self) -> Response:
        """What this pod recorded, as JSON lines."""
        if self._log_folder is None:
            raise ModelNotFound("requests are not recorded; set spec.predictor.logger")
        body = await asyncio.to_thread(b"".join, read_folder(self._log_folder))
        return Response(body, 200, "application/x-ndjson")

    async def _v2(self, request: Request, parts: list[str]) -> Answer:
        name, version, action = _address(request, parts)
        posted = ("infer", "generate", "generate_stream", "feedback")
        method = "POST" if action in posted else "GET"
        if not _allows(request, method):
            return _not_allowed(request, method)
        match action:
            case "":
                return self._metadata(name, version)
            case "ready":
                ready = await self._plane.model_ready(name, version)
                return _readiness({"name": name}, ready)
            case "infer":
                return await self._infer(request, name, version)
            case "generate" | "generate_stream":
                from kubeling.serving.server.generation.pages import generate

                streamed = action == "generate_stream"
                return await generate(self._plane, request, name, version, streamed=streamed)
            case "feedback":
                return self._feedback(request, name)
            case _:
                raise _no_page(request)

    def _metadata(self, name: str, version: str) -> Response:
        model = self._repository.model(name, version)
        found: dict[str, Any] = {
            "name": name,
            "versions": self._repository.versions(name),
            "platform": model.platform,
            "inputs": model.get_input_types() if model.ready else [],
            "outputs": model.get_output_types() if model.ready else [],
        }
        if parameters := model.get_parameters() if model.ready else None:
            found["parameters"] = parameters
        return json_response(found)

    async def _infer(self, request: Request, name: str, version: str) -> Response:
        answer, given = await self._plane.v2(
            name, version, lambda: bodies.from_v2(request, name), request.headers
        )
        return bodies.of_tensors(answer, given)

    async def _repository_call(self, request: Request, parts: list[str]) -> Response:
        if len(parts) != 2 or parts[1] not in ("load", "unload"):
            raise _no_page(request)
        if not _allows(request, "POST"):
            return _not_allowed(request, "POST")
        name, action = parts
        if action == "load" and request.body:
            asked = bodies.plain(request.body)
            given = asked.get("parameters") if isinstance(asked, dict) else None
            check_overrides(given if isinstance(given, dict) else ())
        # A repository of a model's author may answer at once, and say by False that it did not.
        call = self._repository.load if action == "load" else self._repository.unload
        done: Any = call(name)
        if inspect.isawaitable(done):
            done = await done
        if done is False:
            raise ModelNotReady(f"Model with name {name} is not ready.")
        return json_response({"name": name, action: True})


def _allows(request: Request, method: str) -> bool:
    return request.method == method or (request.method == "HEAD" and method == "GET")


def _not_allowed(request: Request, method: str) -> Response:
    text = f"{request.path} takes {method}, not {request.method}"
    return json_response({"error": text}, 405, {"allow": method})


def _no_page(request: Request) -> ModelNotFound:
    return ModelNotFound(f"there is nothing at {request.path}")


def _address(request: Request, parts: list[str]) -> tuple[str, str, str]:
    """Model, version and what is wanted of it."""
    match parts:
        case [name]:
            return name, "", ""
        case [name, "versions", version]:
            return name, version, ""
        case [name, "versions", version, action] if action:
            return name, version, action
        case [name, action] if action != "versions":
            return name, "", action
        case _:
            raise _no_page(request)


def _readiness(about: dict[str, Any], ready: bool) -> Response:
    return json_response({**about, "ready": ready}, 200 if ready else 503)


def _entry(entry: IndexEntry) -> dict[str, str]:
    return {
        "name": entry.name,
        "version": entry.version,
        "state": entry.state,
        "reason": entry.reason,
        **({"source": entry.source} if entry.source else {}),
    }
