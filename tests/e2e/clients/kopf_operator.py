"""An operator as ``kopf`` users write one: it grows what it is given, and says goodbye."""

from __future__ import annotations

from typing import Any

import kopf


@kopf.on.startup()
def configured(settings: kopf.OperatorSettings, **_: Any) -> None:
    settings.persistence.finalizer = "kopf.example.com/farewell"


@kopf.on.create("plants")
def planted(spec: kopf.Spec, body: kopf.Body, **_: Any) -> dict[str, int]:
    kopf.event(body, type="Normal", reason="Planted", message=f"{spec['height']} cm high")
    return {"height": spec["height"]}


@kopf.on.create("plants")
def labelled(spec: kopf.Spec, patch: kopf.Patch, **_: Any) -> None:
    patch.metadata.labels["tall"] = "yes" if spec["height"] > 100 else "no"


@kopf.on.field("plants", field="spec.height")
def grown(old: int | None, new: int | None, patch: kopf.Patch, **_: Any) -> None:
    patch.status["grown"] = (new or 0) - (old or 0)


@kopf.on.update("plants")
def refused_at_first(spec: kopf.Spec, retry: int, **_: Any) -> dict[str, int]:
    if retry < 1:
        raise kopf.TemporaryError("not yet", delay=0.1)
    return {"tries": retry + 1}


@kopf.timer("plants", interval=0.2)
def watered(status: kopf.Status, patch: kopf.Patch, **_: Any) -> None:
    if (waterings := status.get("waterings", 0)) < 3:
        patch.status["waterings"] = waterings + 1


@kopf.on.delete("plants")
def uprooted(body: kopf.Body, **_: Any) -> None:
    kopf.event(body, type="Warning", reason="Uprooted", message="farewell")
