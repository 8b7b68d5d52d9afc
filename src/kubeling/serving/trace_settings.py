"""Where the traces of serving go: for the gateway, and for the pods of services.

The gateway follows OpenTelemetry's variables of its process, before what ``serving.tracing`` says.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from kubeling.component import Settings
from kubeling.serving.settings import ServingSettings

__all__ = ["gateway_variables"]


def gateway_variables(
    settings: Settings, environment: Mapping[str, str] = os.environ
) -> dict[str, str]:
    """The variables that the inference gateway's traces go by."""
    set_ = ServingSettings.of(settings).tracing
    said = set_.variables() if set_ is not None else {}
    return {**said, **{k: v for k, v in environment.items() if k.startswith("OTEL_")}}
