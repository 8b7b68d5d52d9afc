"""What can be set about serving."""

from __future__ import annotations

import re
from typing import Annotated

import msgspec

from kubeling.component import Settings

__all__ = ["ServingSettings", "TracingSettings"]


class TracingSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Traces of requests to models, as ``spec.tracing`` of an InferenceService has them."""

    exporter_endpoint: str
    exporter: str = "otlp"
    sampler: str = "parentbased_always_on"
    sampler_arg: str = ""

    def variables(self) -> dict[str, str]:
        """The same in OpenTelemetry's variables."""
        found = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": self.exporter_endpoint,
            "OTEL_TRACES_EXPORTER": self.exporter,
            "OTEL_TRACES_SAMPLER": self.sampler,
            "OTEL_TRACES_SAMPLER_ARG": self.sampler_arg,
        }
        return {name: value for name, value in found.items() if value}


class ServingSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The settings that begin with ``serving.``."""

    propagated_headers: list[str] = []
    """Headers that the steps of InferenceGraphs get from the request, beside those of tracing:
    regular expressions for any part of a name, as upstream's ``router.headers.propagate``."""

    parent_gateway: str = "kserve/kserve-ingress-gateway"
    """The Gateway (``namespace/name``) that HTTPRoutes and GRPCRoutes are for, where the cluster
    has these kinds (upstream's ``ingress.kserveIngressGateway``); empty: none are written."""

    authentication: bool = False
    """Whether the inference gateway asks for a token, of somebody who may ``get`` the
    InferenceService, the LLMInferenceService or the InferenceGraph. The dashboard's form has none
    to send."""

    request_log_mib: Annotated[int, msgspec.Meta(ge=1)] = 256
    """Mebibytes of requests and answers of each service that the metadata database keeps for
    ``logger: {url: metadata://}``; the oldest go first."""

    tracing: TracingSettings | None = None
    """Where traces of requests go, those of the gateway and of services that do not say
    otherwise; OpenTelemetry's variables of the platform's own process come first."""

    @classmethod
    def of(cls, settings: Settings) -> ServingSettings:
        """Those of an installation."""
        return msgspec.convert(settings.rooms.get("serving", {}), cls)

    def propagates(self) -> re.Pattern[str]:
        """What is to be found in the name of a propagated header."""
        tracing = ("x-request-id", "traceparent", "tracestate", "baggage", "b3", "x-b3-.*")
        try:
            wanted = (f"^(?:{'|'.join(tracing)})$", *self.propagated_headers)
            return re.compile("|".join(f"(?:{p})" for p in wanted), re.I)
        except re.error as error:
            raise ValueError(f"serving.propagated_headers: {error}") from None
