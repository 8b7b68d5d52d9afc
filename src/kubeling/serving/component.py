"""What model serving offers the platform."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from kubeling.component import Component, ConnectionTaker, Context, HostHandler
from kubeling.kube.admission import Admission
from kubeling.kube.controller import Controller
from kubeling.kube.objects import Obj
from kubeling.kube.resources import Resource

if TYPE_CHECKING:
    from aiohttp import web

__all__ = ["COMPONENT", "gateway_controllers", "gateway_routes", "gateway_synced"]


def _crds() -> Sequence[Obj]:
    from kubeling.serving.graph.resources import graph_definition
    from kubeling.serving.llm.resources import definitions
    from kubeling.serving.localmodel.resources import local_model_definitions
    from kubeling.serving.multimodel.resources import trained_model_definition
    from kubeling.serving.resources import crds
    from kubeling.serving.storage_containers import storage_container_definition

    return [
        *crds(),
        *definitions(),
        graph_definition(),
        storage_container_definition(),
        trained_model_definition(),
        *local_model_definitions(),
    ]


def _admission() -> Mapping[Resource, Admission]:
    from kubeling.kube.resources import CONFIG_MAPS
    from kubeling.serving.admission import ADMISSION
    from kubeling.serving.configuration import CONFIG_LABEL, validate_config, warn_of_config
    from kubeling.serving.graph.resources import INFERENCE_GRAPHS
    from kubeling.serving.graph.rules import validate_graph
    from kubeling.serving.graph.rules import warnings_of as graph_warnings
    from kubeling.serving.llm.obstacles import warnings_of
    from kubeling.serving.llm.resources import (
        LLM_CONFIGS,
        LLM_SERVICES,
        V1ALPHA1_CONFIGS,
        V1ALPHA1_SERVICES,
    )
    from kubeling.serving.llm.rules import (
        default_llm_service,
        validate_llm_config,
        validate_llm_service,
    )
    from kubeling.serving.localmodel.resources import (
        LOCAL_MODEL_CACHES,
        LOCAL_MODEL_NAMESPACE_CACHES,
    )
    from kubeling.serving.localmodel.rules import (
        keep_cache,
        validate_cache,
        validate_namespace_cache,
    )
    from kubeling.serving.multimodel.resources import TRAINED_MODELS, validate_trained_model

    llm = Admission(default_llm_service, validate_llm_service, warnings_of)
    llm_config = Admission(validate=validate_llm_config)
    return {
        **ADMISSION,
        CONFIG_MAPS: Admission(
            validate=validate_config, warn=warn_of_config, labelled=CONFIG_LABEL
        ),
        LLM_SERVICES: llm,
        V1ALPHA1_SERVICES: llm,
        LLM_CONFIGS: llm_config,
        V1ALPHA1_CONFIGS: llm_config,
        INFERENCE_GRAPHS: Admission(validate=validate_graph, warn=graph_warnings),
        TRAINED_MODELS: Admission(validate=validate_trained_model),
        LOCAL_MODEL_CACHES: Admission(validate=validate_cache, keep=keep_cache),
        LOCAL_MODEL_NAMESPACE_CACHES: Admission(validate=validate_namespace_cache, keep=keep_cache),
    }


def _objects() -> Sequence[Obj]:
    from kubeling.serving.configuration import config_objects
    from kubeling.serving.runtimes import builtin_runtimes

    return [*builtin_runtimes(), *config_objects()]


def _controllers(context: Context) -> Sequence[Controller]:
    from kubeling.serving.controller import InferenceServiceController
    from kubeling.serving.graph.controller import InferenceGraphController
    from kubeling.serving.legacy_controller import LegacyController
    from kubeling.serving.llm.configs import LLMConfigController
    from kubeling.serving.llm.controller import LLMInferenceServiceController
    from kubeling.serving.localmodel.caches import LocalModelController
    from kubeling.serving.localmodel.nodes import LocalModelNodeController
    from kubeling.serving.localmodel.resources import CACHES
    from kubeling.serving.multimodel.controller import TrainedModelController
    from kubeling.serving.routes.controller import RouteController
    from kubeling.serving.watching.controller import watcher_of

    return [
        InferenceServiceController(context).controller(),
        LegacyController(context).controller(),
        RouteController(context).controller(),
        *gateway_controllers(context),
        InferenceGraphController(context).controller(),
        TrainedModelController(context).controller(),
        LLMInferenceServiceController(context).controller(),
        LLMConfigController(context).controller(),
        watcher_of(context).controller(),
        *(LocalModelController(context, kind).controller() for kind in CACHES),
        LocalModelNodeController(context).controller(),
    ]


def gateway_controllers(context: Context) -> Sequence[Controller]:
    """Those that go by what the inference gateway counts, and do nothing where it is not."""
    from kubeling.serving.autoscaler import RequestAutoscaler
    from kubeling.serving.judgement import CanaryJudge

    return [RequestAutoscaler(context).controller(), CanaryJudge(context).controller()]


async def gateway_synced(context: Context) -> None:
    """Waits until the inference gateway knows what there is."""
    from kubeling.kube.resources import DEPLOYMENTS, PODS, SERVICES
    from kubeling.serving.graph.resources import INFERENCE_GRAPHS
    from kubeling.serving.llm.resources import LLM_SERVICES
    from kubeling.serving.resources import INFERENCE_SERVICES

    kinds = (INFERENCE_SERVICES, INFERENCE_GRAPHS, LLM_SERVICES, DEPLOYMENTS, PODS, SERVICES)
    await context.informers.synced(*kinds)


def _routes(context: Context) -> Sequence[web.AbstractRouteDef]:
    from kubeling.serving.gateway.entry import routes
    from kubeling.serving.llm.routing import routes as llm_routes
    from kubeling.serving.requestlog.api import routes as log_routes
    from kubeling.serving.watching.api import routes as watching_routes

    return [
        *routes(context),
        *llm_routes(context),
        *watching_routes(context),
        *log_routes(context),
    ]


def gateway_routes(context: Context) -> Sequence[web.AbstractRouteDef]:
    """The inference gateway's where it is alone, without the metadata database."""
    from kubeling.serving.gateway.entry import routes
    from kubeling.serving.gateway.unkept import routes as unkept_routes
    from kubeling.serving.llm.routing import routes as llm_routes

    return [*routes(context, alone=True), *llm_routes(context), *unkept_routes()]


def _host_handler(context: Context) -> HostHandler:
    from kubeling.serving.gateway.entry import host_handler

    return host_handler(context)


def _connection_taker(context: Context) -> ConnectionTaker:
    from kubeling.serving.gateway.entry import connection_taker

    return connection_taker(context)


COMPONENT = Component(
    name="serving",
    crds=_crds,
    admission=_admission,
    objects=_objects,
    controllers=_controllers,
    routes=_routes,
    host_handler=_host_handler,
    connection_taker=_connection_taker,
)
