"""``ModelServer`` and its command line, as ``kserve.model_server`` has them.

All of upstream's flags are taken. Those about what this server does not have (Uvicorn's workers and
logs, FastAPI's documentation, threads of grpcio) change nothing, and it says so.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any, Final

from kubeling.serving.kserve import logging
from kubeling.serving.kserve.cors import App
from kubeling.serving.kserve.errors import NoModelReady
from kubeling.serving.kserve.utils.utils import strtobool
from kubeling.serving.server.flags import say_what_has_no_effect
from kubeling.serving.server.model import Model
from kubeling.serving.server.predictor import PredictorConfig, set_predictor
from kubeling.serving.server.repository import ModelRepository
from kubeling.serving.server.run import ServerSettings, run

__all__ = ["ModelServer", "app", "parser"]

_GRPC_PORT: Final = 8081
_PROTOCOLS: Final = ("v1", "v2", "grpc-v2")


def _parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(add_help=False)
    made.add_argument("--http_port", type=int, default=8080)
    made.add_argument("--grpc_port", type=int, default=_GRPC_PORT)
    made.add_argument("--enable_grpc", type=strtobool, default=True)
    made.add_argument("--workers", type=int, default=1, help="no effect: one process")
    made.add_argument("--max_threads", type=int, default=4, help="no effect")
    made.add_argument("--max_asyncio_workers", type=int, help="no effect")
    made.add_argument("--enable_docs_url", type=strtobool, default=False)
    made.add_argument("--enable_latency_logging", type=strtobool, default=False)
    made.add_argument("--configure_logging", type=strtobool, default=True)
    made.add_argument("--log_config_file")
    made.add_argument("--access_log_format", help="no effect: there is no access log")
    made.add_argument(
        "--event-loop",
        dest="event_loop",
        default="auto",
        choices=("auto", "asyncio", "uvloop"),
        help="no effect: uvloop where there is one",
    )
    made.add_argument("--timeout-keep-alive", dest="timeout_keep_alive", type=int, default=65)
    made.add_argument("--model_name", default="model", help="name in the URLs")
    made.add_argument("--predictor_host")
    made.add_argument("--protocol", choices=_PROTOCOLS, help="old for --predictor_protocol")
    made.add_argument("--predictor_protocol", choices=_PROTOCOLS)
    made.add_argument("--predictor_use_ssl", type=strtobool, default=False)
    made.add_argument("--predictor_request_timeout_seconds", type=int, default=600)
    made.add_argument("--predictor_request_retries", type=int, default=0)
    made.add_argument("--enable_predictor_health_check", action="store_true")
    made.add_argument("--grpc_max_send_message_length", type=int)
    made.add_argument("--grpc_max_receive_message_length", type=int)
    return made


parser: Final = _parser()
"""To build a parser of one's own on: ``ArgumentParser(parents=[model_server.parser])``."""

app: Final = App()
"""Takes Starlette's ``CORSMiddleware``."""


class ModelServer:
    """Serves models that are loaded; the arguments stand before the command line's."""

    def __init__(
        self,
        http_port: int | None = None,
        grpc_port: int | None = None,
        registered_models: ModelRepository | None = None,
        enable_grpc: bool | None = None,
        enable_latency_logging: bool | None = None,
        timeout_keep_alive: int | None = None,
        predictor_config: PredictorConfig | None = None,
        enable_docs_url: bool | None = None,
        **without_effect: Any,
    ) -> None:
        given, _ = parser.parse_known_args()
        self.registered_models = registered_models or ModelRepository()
        self.enable_latency_logging = _first(enable_latency_logging, given.enable_latency_logging)
        self._settings = ServerSettings(
            port=_first(http_port, given.http_port),
            grpc_port=_first(grpc_port, given.grpc_port)
            if _first(enable_grpc, given.enable_grpc)
            else None,
            grpc_required=grpc_port is not None or given.grpc_port != _GRPC_PORT,
            keep_alive=_first(timeout_keep_alive, given.timeout_keep_alive),
            grpc_max_receive=given.grpc_max_receive_message_length,
            grpc_max_send=given.grpc_max_send_message_length,
            docs=_first(enable_docs_url, given.enable_docs_url),
        )
        set_predictor(predictor_config or _predictor(given))
        if given.configure_logging:
            logging.configure_logging(given.log_config_file)
        say_what_has_no_effect(vars(given) | without_effect, logging.logger.warning)

    def register_model(self, model: Model, name: str | None = None) -> None:
        """Adds a model."""
        self.registered_models.update(model, name)

    def start(self, models: Sequence[Model]) -> None:
        """Answers for the models that are ready until SIGTERM or SIGINT."""
        if not models or not any(model.ready for model in models):
            raise NoModelReady(list(models))
        around = None if app.cors is None else app.cors.around
        run(lambda: self._prepared(models), self._settings, around)

    async def _prepared(self, models: Sequence[Model]) -> ModelRepository:
        for model in models:
            model.enable_latency_logging = self.enable_latency_logging
            model.start()
            if model.engine:
                await model.start_engine()
            self.register_model(model)
        return self.registered_models


def _predictor(given: argparse.Namespace) -> PredictorConfig | None:
    if not given.predictor_host:
        return PredictorConfig(None, given.predictor_protocol or given.protocol or "v1")
    return PredictorConfig(
        given.predictor_host,
        given.predictor_protocol or given.protocol or "v1",
        given.predictor_use_ssl,
        given.predictor_request_timeout_seconds,
        given.predictor_request_retries,
        given.enable_predictor_health_check,
    )


def _first(given: Any, otherwise: Any) -> Any:
    return otherwise if given is None else given
