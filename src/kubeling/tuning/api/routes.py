"""The addresses of tuning's REST faces; what answers is loaded when it is first asked."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from aiohttp import web

from kubeling.component import Context

__all__ = ["routes"]

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]

_OURS: Final = {
    "/api/tuning/algorithms": "algorithms",
    "/api/tuning/{namespace}/{experiment}/curves": "curves",
    "/api/tuning/{namespace}/{experiment}/revision": "revision",
}
_GET: Final = (
    "fetch_experiments",
    "fetch_experiment",
    "fetch_trial",
    "fetch_suggestion",
    "fetch_hp_job_info",
    "fetch_hp_job_trial_info",
    "fetch_nas_job_info",
    "fetch_trial_templates",
    "fetch_namespaces",
    "fetch_trial_logs",
)
_POST: Final = ("create_experiment", "add_template", "edit_template", "delete_template")
_DELETE: Final = ("delete_experiment",)


def routes(context: Context) -> Sequence[web.AbstractRouteDef]:
    """All of them; upstream's are asked with a slash at their end."""
    ours = _Loaded(context, "kubeling.tuning.api.experiments", "ExperimentApi")
    katib = _Loaded(context, "kubeling.tuning.api.katib_ui", "KatibUi")
    found = [web.get(path, ours.answer(name)) for path, name in _OURS.items()]
    for method, names in (("GET", _GET), ("POST", _POST), ("DELETE", _DELETE)):
        for name in names:
            for path in (f"/katib/{name}", f"/katib/{name}/"):
                found.append(web.route(method, path, katib.answer(name)))
    return found


class _Loaded:
    """Something that answers, made when it is first asked."""

    def __init__(self, context: Context, module: str, kind: str) -> None:
        self._context = context
        self._module = module
        self._kind = kind
        self._made: Any = None

    def answer(self, name: str) -> Answer:
        """One of its methods."""

        async def call(request: web.Request) -> web.StreamResponse:
            if self._made is None:
                module = await asyncio.to_thread(importlib.import_module, self._module)
                self._made = self._made or getattr(module, self._kind)(self._context)
            response: web.StreamResponse = await getattr(self._made, name)(request)
            return response

        return call
