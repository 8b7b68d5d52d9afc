"""What stands around served models: graphs, models of a shared server, and runtimes."""

from __future__ import annotations

from collections import Counter
from typing import Any

from aiohttp import web

from kubeling.gateway.drawing.graph import draw_graph
from kubeling.gateway.kinds import (
    INFERENCE_GRAPHS,
    INFERENCE_SERVICES,
    LLM_SERVICES,
    MODEL_CACHES,
    SERVING_RUNTIMES,
    TRAINED_MODELS,
    link_to,
)
from kubeling.gateway.models.graph import details_of, service_at, steps_of
from kubeling.gateway.pages.objects import object_values
from kubeling.gateway.pages.view import Views
from kubeling.gateway.states import state_of
from kubeling.gateway.steps.model import StepTree
from kubeling.gateway.steps.visible import View, shown
from kubeling.kube.objects import Obj, name, namespace
from kubeling.kube.resources import PODS
from kubeling.serving.localmodel.failures import failed_nodes, failure_of

__all__ = ["cache_list", "graph_list", "graph_page", "llm_list", "runtime_list", "trained_list"]


async def graph_list(views: Views, request: web.Request) -> web.Response:
    """All graphs."""
    found = await views.objects(INFERENCE_GRAPHS)
    return _list(
        views, request, "model_graphs.html", "Inference graphs", (INFERENCE_GRAPHS,), found
    )


async def trained_list(views: Views, request: web.Request) -> web.Response:
    """All models that a server loads beside others."""
    found = await views.objects(TRAINED_MODELS)
    return _list(views, request, "model_trained.html", "Trained models", (TRAINED_MODELS,), found)


async def llm_list(views: Views, request: web.Request) -> web.Response:
    """All language models."""
    found = await views.objects(LLM_SERVICES)
    return _list(views, request, "model_llms.html", "Language models", (LLM_SERVICES,), found)


async def cache_list(views: Views, request: web.Request) -> web.Response:
    """All models that nodes keep, and why nodes lack them."""
    found, pods = await views.objects(*MODEL_CACHES), await views.objects(PODS)
    rows = [
        (cache, [(node, failure_of(cache, node, pods)) for node in failed_nodes(cache)])
        for cache in found
    ]
    return _list(views, request, "model_caches.html", "Models on nodes", MODEL_CACHES, rows)


async def runtime_list(views: Views, request: web.Request) -> web.Response:
    """All serving runtimes, those of the whole cluster first, each with who uses it."""
    used = Counter(_runtime_of(isvc) for isvc in await views.objects(INFERENCE_SERVICES))
    found = await views.objects(*SERVING_RUNTIMES)
    found.sort(key=lambda obj: (namespace(obj), name(obj)))
    rows = [(obj, used[_key(obj)]) for obj in found]
    watching = (*SERVING_RUNTIMES, INFERENCE_SERVICES)
    return _list(views, request, "model_runtimes.html", "Serving runtimes", watching, rows)


async def graph_page(views: Views, request: web.Request) -> web.Response:
    """One graph, drawn."""
    graph = await views.object(INFERENCE_GRAPHS, request)
    services = {
        name(isvc): isvc
        for isvc in await views.objects(INFERENCE_SERVICES)
        if namespace(isvc) == namespace(graph)
    }

    def state(service: str) -> str:
        return state_of(services[service]) if service in services else "failed"

    def link(step: str) -> str:
        service = service_at(graph, step)
        kind = INFERENCE_SERVICES
        where = namespace(graph)
        return link_to(kind.api_version, kind.kind, where, service) if service else "#graph"

    steps = steps_of(graph, state)
    view = View(open=frozenset(step.id for step in steps if step.is_group))
    picture = draw_graph(
        shown(StepTree(steps), view), frozenset(), link, "#graph".format, details_of(graph)
    )
    place = f"/serving/{namespace(graph)}/{name(graph)}"
    return views.page(
        request,
        "model_graph.html",
        "/models",
        name(graph),
        (INFERENCE_GRAPHS, INFERENCE_SERVICES),
        graph=picture.draw("picture graph", f"Graph of {len(steps)} nodes and steps"),
        base=views.link(graph),
        address=f"{views.context.settings.gateway_url}{place}",
        **await object_values(views, graph),
    )


def _list(
    views: Views, request: web.Request, template: str, title: str, watching: Any, found: list[Any]
) -> web.Response:
    return views.page(request, template, "/models", title, watching, found=found)


def _key(runtime: Obj) -> tuple[str, str]:
    return namespace(runtime), name(runtime)


def _runtime_of(isvc: Obj) -> tuple[str, str]:
    """The runtime that serves a model: its namespace, empty for one of the cluster, and name."""
    status = isvc.get("status") or {}
    if own := status.get("servingRuntimeName"):
        return namespace(isvc), str(own)
    return "", str(status.get("clusterServingRuntimeName") or "")
