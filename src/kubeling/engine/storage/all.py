"""All that looks after volumes, and what it needs to exist."""

from __future__ import annotations

from kubeling.component import Context
from kubeling.engine.storage.binding import standard_class
from kubeling.engine.storage.claims import claim_controller
from kubeling.engine.storage.contents import content_controller
from kubeling.engine.storage.ephemeral import ephemeral_controller
from kubeling.engine.storage.populating import population_controller
from kubeling.engine.storage.reclaiming import volume_controller
from kubeling.engine.storage.snapshot_resources import (
    VOLUME_SNAPSHOT_CLASSES,
    standard_snapshot_class,
)
from kubeling.engine.storage.snapshots import snapshot_controller
from kubeling.kube.client import Client
from kubeling.kube.controller import Controller
from kubeling.kube.errors import AlreadyExists
from kubeling.kube.objects import Obj
from kubeling.kube.resources import STORAGE_CLASSES, Resource

__all__ = ["ensure_storage_classes", "storage_controllers"]


def storage_controllers(context: Context) -> list[Controller]:
    """The controllers of claims, volumes and snapshots."""
    binder = claim_controller(context)
    return [
        binder,
        volume_controller(context),
        population_controller(context, binder),
        ephemeral_controller(context),
        snapshot_controller(context),
        content_controller(context),
    ]


async def ensure_storage_classes(client: Client) -> None:
    """Creates the standard classes where there are none at all."""
    await _ensure(client, STORAGE_CLASSES, standard_class())
    await _ensure(client, VOLUME_SNAPSHOT_CLASSES, standard_snapshot_class())


async def _ensure(client: Client, resource: Resource, standard: Obj) -> None:
    if (await client.list(resource, limit=1)).items:
        return
    try:
        await client.create(resource, standard)
    except AlreadyExists:
        return
