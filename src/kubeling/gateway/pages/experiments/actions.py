"""What can be done to experiments and trials: buttons that post, and go back to a page."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from kubeling.gateway.kinds import EXPERIMENTS, TRIALS
from kubeling.gateway.pages.experiments.source import EXPERIMENT_LABEL, base_of, experiment_of
from kubeling.gateway.pages.view import Views
from kubeling.gateway.rest import RestClient
from kubeling.kube.objects import Obj, name, namespace
from kubeling.tuning.operations import BUDGET, stop

__all__ = ["act_on_experiment", "act_on_trial"]

_ACTIONS: Final = ("budget", "stop", "delete")


async def act_on_experiment(views: Views, _: RestClient, request: web.Request) -> web.Response:
    """Changes the budget, ends it with what it has, or deletes it."""
    found = await experiment_of(views, request)
    sent = await request.post()
    client, where = views.context.client, namespace(found.experiment)
    match str(sent.get("action", "")):
        case "delete":
            await client.delete(found.resource, name(found.experiment), where)
            raise web.HTTPSeeOther("/experiments")
        case other if not found.is_katib:
            raise web.HTTPBadRequest(text=f"action: Unsupported value: {other!r}: delete")
        case "budget":
            fields = {key: str(sent.get(key, "")) for key in BUDGET}
            patch = {"spec": _budget(fields)}
            await client.patch(EXPERIMENTS, name(found.experiment), patch, where)
        case "stop":
            await stop(client, found.experiment, found.trials)
            if not any(trial.final for trial in found.study.trials):
                raise web.HTTPSeeOther("/experiments")
        case other:
            known = ", ".join(_ACTIONS)
            raise web.HTTPBadRequest(text=f"action: Unsupported value: {other!r}: one of {known}")
    raise web.HTTPSeeOther(found.base)


def _budget(fields: dict[str, str]) -> Obj:
    """The fields of a spec; an empty one means no limit."""
    found: Obj = {}
    for key, text in fields.items():
        if text.strip() and not text.strip().isdecimal():
            raise web.HTTPBadRequest(text=f"{key}: Invalid value: {text!r}: must be a whole number")
        found[key] = int(text) if text.strip() else None
    return found


async def act_on_trial(views: Views, _: RestClient, request: web.Request) -> web.Response:
    """Deletes a trial."""
    trial = await views.object(TRIALS, request)
    action = str((await request.post()).get("action", ""))
    if action != "delete":
        raise web.HTTPBadRequest(text=f"action: Unsupported value: {action!r}: delete")
    await views.context.client.delete(TRIALS, name(trial), namespace(trial))
    wanted = (trial["metadata"].get("labels") or {}).get(EXPERIMENT_LABEL) or ""
    experiment = {"metadata": {"name": wanted, "namespace": namespace(trial)}}
    raise web.HTTPSeeOther(base_of(experiment) if wanted else "/experiments")
