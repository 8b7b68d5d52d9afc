"""Whether there are traces, and where they go: by OpenTelemetry's variables.

Source: the SDK's environment variables (opentelemetry.io, specification/configuration). Traces are
on where somebody said where they go: an endpoint, or an exporter.
"""

from __future__ import annotations

import importlib.util
import logging
import os
from collections.abc import Mapping

import msgspec

from kubeling.monitoring.tracing.sampling import sampler_of
from kubeling.monitoring.tracing.sending import Outlet, Sending
from kubeling.monitoring.tracing.spans import Tracer

__all__ = ["TraceSettings", "open_tracer"]

log = logging.getLogger(__name__)

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_NEEDED = "opentelemetry.exporter.otlp.proto.http.trace_exporter"
_KNOWN = frozenset({"otlp", "console"})
_GRPC_PORT = ":4317"
_USUAL_OVER_GRPC = "http://localhost:4317"


class TraceSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What the variables say."""

    exporters: frozenset[str]
    endpoint: str = ""
    """As it was said for gRPC, or all of the URL for HTTP; empty is the SDK's usual one."""
    over_grpc: bool = False
    sampler: str = ""
    sampler_argument: str = ""
    queue: int = 2048
    batch: int = 512
    delay: float = 5.0
    """Seconds between two deliveries."""

    @classmethod
    def of(cls, variables: Mapping[str, str]) -> TraceSettings | None:
        """None where traces are off."""
        if variables.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
            return None
        endpoint = _first(variables, _ENDPOINTS)
        named = variables.get("OTEL_TRACES_EXPORTER") or ("otlp" if endpoint else "")
        exporters = frozenset(filter(None, (part.strip().lower() for part in named.split(","))))
        if unknown := exporters - _KNOWN - {"none"}:
            said = ", ".join(sorted(unknown))
            log.warning("OTEL_TRACES_EXPORTER: %s is none of otlp, console, none", said)
        if "none" in exporters or not exporters & _KNOWN:
            return None
        over_grpc = _speaks_grpc(endpoint, _first(variables, _PROTOCOLS))
        return cls(
            exporters=exporters & _KNOWN,
            endpoint=endpoint or _USUAL_OVER_GRPC if over_grpc else _posted_to(variables),
            over_grpc=over_grpc,
            sampler=variables.get("OTEL_TRACES_SAMPLER", ""),
            sampler_argument=variables.get("OTEL_TRACES_SAMPLER_ARG", ""),
            queue=_number(variables, "OTEL_BSP_MAX_QUEUE_SIZE", 2048),
            batch=_number(variables, "OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 512),
            delay=_number(variables, "OTEL_BSP_SCHEDULE_DELAY", 5000) / 1000,
        )


def open_tracer(service: str, variables: Mapping[str, str] = os.environ) -> Tracer | None:
    """Begins to record, under a service's name unless the variables have one; None if it is off.

    To be called in the process that records, after any fork.
    """
    settings = TraceSettings.of(variables)
    if settings is None:
        return None
    if not _is_there(_NEEDED):
        log.warning(
            "no traces are sent, as OpenTelemetry is missing: pip install kubeling[tracing]"
        )
        return None

    def open_outlet() -> Outlet:
        from kubeling.monitoring.tracing.exporting import SdkOutlet

        return SdkOutlet(
            settings.exporters, service, settings.endpoint, over_grpc=settings.over_grpc
        )

    sending = Sending(open_outlet, queue=settings.queue, batch=settings.batch, delay=settings.delay)
    sampler = sampler_of(settings.sampler, settings.sampler_argument)
    return Tracer(sampler, sending.add, sending.close)


def _is_there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def _speaks_grpc(endpoint: str, protocol: str) -> bool:
    """By what is said, else by the port: KServe's default names the port of gRPC and no more."""
    return protocol == "grpc" or (not protocol and endpoint.rstrip("/").endswith(_GRPC_PORT))


def _posted_to(variables: Mapping[str, str]) -> str:
    """The variable for traces alone names all of the URL, the other one where it begins."""
    whole, base = (variables.get(name, "").strip() for name in _ENDPOINTS)
    return whole or (f"{base.rstrip('/')}/v1/traces" if base else "")


def _first(variables: Mapping[str, str], names: tuple[str, ...]) -> str:
    return next((found for name in names if (found := variables.get(name, "").strip())), "")


def _number(variables: Mapping[str, str], name: str, usual: int) -> int:
    given = variables.get(name, "").strip()
    if given.isdecimal() and int(given):
        return int(given)
    if given:
        log.warning("%s: %s is no number above 0; %d is taken", name, given, usual)
    return usual
