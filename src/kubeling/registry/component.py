"""What the Model Registry offers the platform."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from kubeling.component import Component, Context

if TYPE_CHECKING:
    from aiohttp import web

__all__ = ["COMPONENT"]


def _routes(context: Context) -> Sequence[web.AbstractRouteDef]:
    from kubeling.registry.api import routes

    return routes(context)


COMPONENT = Component(name="registry", routes=_routes)
