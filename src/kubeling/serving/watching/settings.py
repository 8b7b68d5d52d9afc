"""What a service's annotations say about watching it.

``serving.kubeling.io/monitoring: "true"`` turns everything on; instead of ``true`` it may say
``psi=0.25,p-value=0.001,window=2000`` for other limits than the usual ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from kubeling.kube import objects
from kubeling.kube.errors import FieldError
from kubeling.kube.objects import Obj, mapping, mappings
from kubeling.serving.names import MONITORING, RETRAIN, ROLLBACK_DRIFT
from kubeling.serving.watching.triggers import KINDS, is_trigger

__all__ = [
    "MonitoringSettings",
    "has_monitor",
    "is_monitored",
    "settings_of",
    "validate_monitoring",
]

_OFF: Final = ("", "false")
_MONITOR_IMAGE: Final = "model-monitor"


@dataclass(frozen=True, slots=True)
class MonitoringSettings:
    """Limits of the verdict, and how many rows it is made from."""

    psi: float = 0.2
    p_value: float = 0.01
    window: int = 5000

    @classmethod
    def of(cls, text: str) -> MonitoringSettings:
        """Reads the annotation; raises :class:`ValueError`."""
        if text in ("true", *_OFF):
            return cls()
        found: dict[str, str] = {}
        for part in text.split(","):
            key, equals, value = part.strip().partition("=")
            if not equals or key not in ("psi", "p-value", "window"):
                raise ValueError(text)
            found[key] = value
        usual = cls()
        settings = cls(
            float(found.get("psi", usual.psi)),
            float(found.get("p-value", usual.p_value)),
            int(found.get("window", usual.window)),
        )
        if settings.psi <= 0 or not 0 < settings.p_value < 1 or settings.window < 100:
            raise ValueError(text)
        return settings


def has_monitor(isvc: Obj) -> bool:
    """Whether the monitoring transformer stands in front of the model."""
    containers = mappings(mapping(isvc["spec"].get("transformer")).get("containers"))
    images = (str(container.get("image", "")) for container in containers)
    return any(image.rpartition("/")[2].partition(":")[0] == _MONITOR_IMAGE for image in images)


def is_monitored(isvc: Obj) -> bool:
    """Whether a service is to be watched, for its own sake or to judge its canaries."""
    found = objects.annotations(isvc)
    return found.get(MONITORING, "") not in _OFF or ROLLBACK_DRIFT in found or has_monitor(isvc)


def settings_of(isvc: Obj) -> MonitoringSettings:
    """The settings of a service, which were read when it was applied."""
    return MonitoringSettings.of(objects.annotations(isvc).get(MONITORING, ""))


def validate_monitoring(found: Mapping[str, Any]) -> Iterator[FieldError]:
    """Names the annotations that cannot be read."""
    if MONITORING in found:
        try:
            MonitoringSettings.of(str(found[MONITORING]))
        except ValueError:
            yield FieldError(
                f"metadata.annotations[{MONITORING}]",
                "Invalid value",
                "true, false, or e.g. psi=0.2,p-value=0.01,window=5000 (at least 100 rows)",
                found[MONITORING],
            )
    if RETRAIN in found and not is_trigger(str(found[RETRAIN])):
        yield FieldError(
            f"metadata.annotations[{RETRAIN}]",
            "Invalid value",
            f"KIND/NAME, where KIND is {', '.join(KINDS)}",
            found[RETRAIN],
        )
