"""What a model is to the server, and the base class for models of one's own.

It is source-compatible with ``kserve.Model`` (python/kserve, model.py): the same methods, arguments
and attributes, so that a model written for it runs here.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

from kubeling.serving.server.errors import InvalidInput, NotSupported
from kubeling.serving.server.predictor import PredictorConfig, current_predictor

__all__ = ["Model"]

Headers = dict[str, str]


class Model:
    """A model by name. Override :meth:`load` and :meth:`predict`; the rest has defaults.

    ``preprocess``, ``predict``, ``postprocess`` and ``explain`` take the body of a V1 request (the
    JSON, as plain values) or an :class:`~.infer_types.InferRequest` of V2 and gRPC, and the
    request's headers, by their names in lower case. They answer with plain values, or with an
    :class:`~.infer_types.InferResponse`. Each may be a coroutine. With ``return_response_headers``
    ``predict`` and ``postprocess`` are given a further dict, whose entries become headers of the
    answer. The server calls :meth:`load` before it is ready, in a thread, and never two at once;
    the other methods run on the event loop, so long work belongs in a thread; a ``predict`` that is
    no coroutine, and takes long, is called in one, one call at a time.

    A model that does not override ``predict`` is a transformer: what ``preprocess`` made is sent to
    the predictor at ``--predictor_host``.
    """

    platform = ""
    speaks_openai = False

    def __init__(self, name: str, return_response_headers: bool = False) -> None:
        self.name = name
        self.ready = False
        self.engine = False
        self.explainer_host: str | None = None
        self.enable_latency_logging = False
        self.required_response_headers = return_response_headers

    @property
    def predictor_config(self) -> PredictorConfig | None:
        """Where the predictor is, if this server has one to call."""
        return current_predictor()

    def load(self) -> bool | None:
        """Reads the model's files; raise ``ModelLoadError`` to say what is wrong with them."""
        self.ready = True
        return self.ready

    def start(self) -> None:
        """Called once before the server listens."""

    def stop(self) -> None:
        """Called when the model is unloaded and when the server ends."""
        self.ready = False

    async def start_engine(self) -> None:
        """Called on the event loop before the server listens, if ``engine`` is set."""

    def stop_engine(self) -> None:
        """Called when the server ends, if ``engine`` is set."""

    async def healthy(self) -> bool:
        """Whether it can answer now."""
        return self.ready

    def get_input_types(self) -> list[dict[str, Any]]:
        """The tensors it takes: name, datatype and shape of each; empty where unknown."""
        return []

    def get_output_types(self) -> list[dict[str, Any]]:
        """The tensors it gives: name, datatype and shape of each; empty where unknown."""
        return []

    def get_parameters(self) -> dict[str, Any]:
        """What else there is to say of it in its metadata."""
        return {}

    def preprocess(self, payload: Any, headers: Headers | None = None) -> Any | Awaitable[Any]:
        """Changes a request before it is predicted."""
        return payload

    def validate(self, payload: Any) -> Any:
        """Refuses what ``preprocess`` made if it is no body of the predictor's protocol."""
        if (config := self.predictor_config) is not None and isinstance(payload, dict):
            field = {"v1": "instances", "v2": "inputs"}.get(config.protocol, "")
            if not isinstance(payload.get(field, []), list):
                raise InvalidInput(f'Expected "{field}" to be a list')
        return payload

    def predict(
        self,
        payload: Any,
        headers: Headers | None = None,
        response_headers: Headers | None = None,
    ) -> Any | Awaitable[Any]:
        """Answers a request."""
        from kubeling.serving.server.predictor import predict_remotely

        config = self.predictor_config
        if config is None or not config.predictor_host:
            raise NotSupported(f"model {self.name} does not implement predict")
        return predict_remotely(config, self.name, payload, headers or {}, response_headers)

    def postprocess(
        self,
        result: Any,
        headers: Headers | None = None,
        response_headers: Headers | None = None,
    ) -> Any | Awaitable[Any]:
        """Changes an answer before it is sent."""
        return result

    def explain(self, payload: Any, headers: Headers | None = None) -> Any | Awaitable[Any]:
        """Explains a prediction."""
        from kubeling.serving.server.predictor import explain_remotely

        if not self.explainer_host:
            raise NotSupported(f"model {self.name} does not implement explain")
        return explain_remotely(self.explainer_host, self.name, payload, headers or {})
